// Line icons on a grid of 16, drawn for this console.
const PATHS: Record<string, string> = {
  overview: "M2.5 2.5h4.5v5H2.5zM9 2.5h4.5v3H9zM9 7.5h4.5v6H9zM2.5 9.5h4.5v4H2.5z",
  graph: "M2 6h3.5v4H2zM10.5 2H14v4h-3.5zM10.5 10H14v4h-3.5zM5.5 8H8M10.5 4H8v8h2.5",
  streams: "M2 4.5c2-1.8 4 1.8 6 0s4 1.8 6 0M2 8c2-1.8 4 1.8 6 0s4 1.8 6 0M2 11.5c2-1.8 4 1.8 6 0s4 1.8 6 0",
  sql: "M2.5 4.5 6 8l-3.5 3.5M8 12h5.5",
  tables: "M2.5 3h11v10h-11zM2.5 6.3h11M2.5 9.6h11M6.5 6.3V13",
  capture: "M8 2v7M5 6.5 8 9.5l3-3M2.5 10v3.5h11V10",
  rejects: "M3 3h10v10H3zM6 6l4 4M10 6l-4 4",
  checks: "M2.5 8.5 6 12l7.5-8",
  accounting: "M8 2v11.5M4 13.5h8M2.5 4.5h11M4.2 4.5 2.3 9h3.8zM11.8 4.5 9.9 9h3.8z",
  checkpoints: "M4 14V2.5h8l-2 3 2 3H4",
  plan: "M3.5 3a1.5 1.5 0 1 0 .01 0M3.5 10a1.5 1.5 0 1 0 .01 0M12.5 3a1.5 1.5 0 1 0 .01 0M3.5 6v4M12.5 6c0 3.5-3 5-7.5 5.3",
  search: "M7 2.5a4.5 4.5 0 1 0 .01 0M10.4 10.4 14 14",
  menu: "M2 4.5h12M2 8h12M2 11.5h12",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  check: "M3 8.5 6.5 12 13 4.5",
  sun: "M8 5a3 3 0 1 0 .01 0M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1.1 1.1M11.9 11.9 13 13M13 3l-1.1 1.1M4.1 11.9 3 13",
  moon: "M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7z",
  system: "M2 3h12v8H2zM5.5 13.5h5M8 11v2.5",
  warn: "M8 2 14.5 13.5h-13zM8 6.5v3.2M8 11.6v.2",
  fail: "M5.2 2h5.6L14 5.2v5.6L10.8 14H5.2L2 10.8V5.2zM8 5v3.6M8 10.8v.2",
  info: "M8 2a6 6 0 1 0 .01 0M8 7.5V11M8 5.1v.2",
  ok: "M8 2a6 6 0 1 0 .01 0M5.3 8.2 7.2 10l3.5-3.8",
  right: "M6 3.5 10.5 8 6 12.5",
  left: "M10 3.5 5.5 8l4.5 4.5",
  down: "M3.5 6 8 10.5 12.5 6",
  up: "M3.5 10 8 5.5l4.5 4.5",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
  play: "M5 3v10l8-5z",
  pause: "M5.5 3v10M10.5 3v10",
  stop: "M4 4h8v8H4z",
  reload: "M13 5.5A5.5 5.5 0 1 0 13.5 8M13.5 2.5v3h-3",
  source:
    "M2.5 4c0-1 2.5-1.7 5.5-1.7s5.5.7 5.5 1.7-2.5 1.7-5.5 1.7S2.5 5 2.5 4zM2.5 4v8c0 1 2.5 1.7 5.5 1.7s5.5-.7 5.5-1.7V4M2.5 8c0 1 2.5 1.7 5.5 1.7s5.5-.7 5.5-1.7",
  stream: "M2 6c2-1.8 4 1.8 6 0s4 1.8 6 0M2 10c2-1.8 4 1.8 6 0s4 1.8 6 0",
  model: "M9.5 2.5c-2 0-2 1.2-2.3 3L6 12c-.3 1.4-1 1.8-2.5 1.5M4 6.5h6M10 9l3.5 4M13.5 9 10 13",
  table: "M2.5 3h11v10h-11zM2.5 6.3h11M6.5 6.3V13",
  sync: "M2.5 8h9M8 4l4 4-4 4M14 3v10",
  external: "M9 2.5h4.5V7M13.5 2.5 7.5 8.5M11.5 9.5v4h-9v-9h4",
  download: "M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
  filter: "M2 3h12L9.5 8.5V13l-3-1.5v-3z",
  clock: "M8 2a6 6 0 1 0 .01 0M8 4.8V8l2.3 1.6",
};

export type IconName = keyof typeof PATHS;

/** The path of an icon, for those who draw it themselves. */
export function iconPath(name: string): string {
  return PATHS[name] ?? PATHS.info!;
}

/** An icon; it says nothing to a screen reader, so something beside it must. */
export function Icon({ name, size = 16 }: { name: string; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      stroke-width="1.4"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d={iconPath(name)} />
    </svg>
  );
}
