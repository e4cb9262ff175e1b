/** What the Capture page asks the server. */
import { get, post } from "../api/client";

/** How far the first reading of a table is. */
export interface TableSnapshotting {
  table: string;
  state: "waiting" | "running" | "paused" | "done" | "stopped" | string;
  rows: number;
  expected: number | null;
  message: string;
}

/** A stream had other columns from an epoch on. */
export interface SchemaChange {
  at_us: number;
  epoch: number;
  source: string;
  stream: string;
  changes: { what: "added" | "removed" | "renamed" | "retyped" | "key"; column: string; was: string; now: string }[];
}

/** Something that goes well still and will not for ever. */
export interface Alarm {
  code: string;
  message: string;
  hint: string;
}

/** A source: where it stands, what its server keeps for it, what is read. */
export interface Source {
  name: string;
  type: string;
  state: string;
  error: string | null;
  hint: string | null;
  position: string | null;
  lag_bytes: number | null;
  lag_unit: string;
  retained_bytes: number | null;
  figures: { [name: string]: unknown };
  alarms: Alarm[];
  gaps: number;
  snapshots: TableSnapshotting[];
  can_snapshot: boolean;
  asked: { id: string; action: string; tables: string[]; at_us: number }[];
  log: { base: number; head: number; segments: number; bytes: number };
  streams: string[];
}

/** All sources, and the newest changes of their columns, newest first. */
export interface Capture {
  sources: Source[];
  schema_changes: SchemaChange[];
}

/** What can be asked of the reading of tables. */
export type Action = "start" | "pause" | "resume" | "stop";

/** All of it. */
export function captured(signal: AbortSignal): Promise<Capture> {
  return get("/v1/capture", {}, signal);
}

/** Asks for it; says whether the source has taken note. */
export function steer(source: string, action: Action, tables: string[]) {
  const path = `/v1/capture/${encodeURIComponent(source)}/snapshots`;
  return post<{ state: "taken" | "refused" | "waiting"; why: string | null }>(path, { action, tables });
}
