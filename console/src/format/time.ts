import { NONE } from "./number";

/** Time of day here, to the second; with the date if it was not today. */
export function clock(us: number | null | undefined): string {
  if (typeof us !== "number") return NONE;
  const at = new Date(us / 1000);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return at.toDateString() === new Date().toDateString() ? time : `${day(at)} ${time}`;
}

/** A time in full, in UTC, for tooltips and copies. */
export function utc(us: number | null | undefined): string {
  return typeof us === "number" ? new Date(us / 1000).toISOString().replace("T", " ").replace("Z", " UTC") : NONE;
}

/** A span in the unit that fits: 12 ms, 3.4 s, 5 min, 2 h, 3 d. */
export function span(ms: number | null | undefined): string {
  if (typeof ms !== "number" || !Number.isFinite(ms)) return NONE;
  const size = Math.abs(ms);
  if (size < 1) return `${ms.toFixed(ms === 0 ? 0 : 1)} ms`;
  if (size < 1000) return `${Math.round(ms)} ms`;
  if (size < 60_000) return `${(ms / 1000).toFixed(size < 10_000 ? 1 : 0)} s`;
  if (size < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (size < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** How long before `nowUs` something was: "12 s ago". */
export function ago(us: number | null | undefined, nowUs: number): string {
  if (typeof us !== "number") return NONE;
  const ms = Math.max(0, (nowUs - us) / 1000);
  return ms < 1000 ? "just now" : `${span(ms)} ago`;
}

function day(at: Date): string {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
