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

/** A change of a table's definition that was met. */
export interface SchemaChange {
  at_us: number;
  table?: string;
  stream?: string;
  kind?: string;
  what: string;
}

/** Something that goes well still and will not for ever. */
export interface Alarm {
  code: string;
  message: string;
  hint: string;
}

/** A source: where it stands, what its server keeps for it, what is read. */
export interface Capture {
  name: string;
  type: string;
  state: string;
  error: string | { message: string; hint?: string } | null;
  position: number | string | null;
  position_at_us?: number | null;
  lag_bytes: number | null;
  rows_per_s: number | null;
  figures: Record<string, number | string | boolean | null>;
  kept_bytes?: number | null;
  budget_bytes?: number | null;
  alarms: Alarm[];
  gaps: number;
  snapshots: TableSnapshotting[];
  changes: SchemaChange[];
}

/** What can be asked of the reading of tables. */
export type Action = "start" | "pause" | "resume" | "stop";

/** All sources. */
export async function sources(signal: AbortSignal): Promise<Capture[]> {
  return (await get<{ sources: Capture[] }>("/v1/capture", {}, signal)).sources;
}

/** Asks for it; the source takes it up within a second or so. */
export function steer(source: string, action: Action, tables: string[]): Promise<{ taken?: boolean; note?: string }> {
  return post(`/v1/capture/${encodeURIComponent(source)}/snapshots`, { action, tables });
}
