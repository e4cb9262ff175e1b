import type { ComponentChildren } from "preact";

export type Tone = "ok" | "warn" | "fail" | "info" | "idle";

// biome-ignore format: a table
const TONES: Record<string, Tone> = {
  running: "ok",
  ok: "ok",
  done: "ok",
  pass: "ok",
  passed: "ok",
  connected: "ok",
  delivered: "ok",
  replayed: "ok",
  applied: "ok",
  succeeded: "ok",
  unchanged: "idle",
  live: "ok",
  snapshotting: "info",
  starting: "info",
  recovering: "info",
  building: "info",
  catching_up: "info",
  opening: "info",
  info: "info",
  comparing: "info",
  swapping: "info",
  new: "info",
  rebuild: "info",
  waiting: "warn",
  retrying: "warn",
  paused: "warn",
  warn: "warn",
  warning: "warn",
  late: "warn",
  open: "warn",
  changed: "warn",
  stopping: "warn",
  parked: "warn",
  stopped: "fail",
  failed: "fail",
  fail: "fail",
  error: "fail",
  killed: "fail",
  lost: "fail",
  stop: "fail",
  broken: "fail",
  reject: "fail",
};

/** What a state means to the reader: fine, look at it, wrong, under way, nothing. */
export function toneOf(state: string | null | undefined): Tone {
  return TONES[(state ?? "").toLowerCase().replace(/[ -]/g, "_")] ?? "idle";
}

/** A state in a word, with its colour and (for those who see no colours) its own mark. */
export function Badge({ state, tone, children }: { state?: string | null; tone?: Tone; children?: ComponentChildren }) {
  return <span class={`badge ${tone ?? toneOf(state)}`}>{children ?? (state || "unknown").replaceAll("_", " ")}</span>;
}
