/** What the Tables page asks the server. */
import { get, post } from "../api/client";
import type { Column, Rows } from "../rows/values";

/** A table of the lake; `feeds` is what it is of: "stream:orders", "model:revenue". */
export interface TableInfo {
  name: string;
  kind: string;
  feeds: string;
  rows: number;
  epoch: number;
  files: number | null;
  bytes: number | null;
}

/** One table snapshot. Ids are text: they have more digits than a number of JavaScript. */
export interface Snapshot {
  id: string;
  at_us: number;
  epoch: number | null;
  operation: string;
  maintenance: boolean;
  current: boolean;
  rows: number | null;
  added: number | null;
  deleted: number | null;
  files: number | null;
  bytes: number | null;
  named: string[];
}

/** A task of maintenance that was carried out. */
export interface Run {
  kind: string;
  reason: string;
  at_us: number;
  took_s: number;
  done: boolean;
  note: string;
  files_removed: number;
  files_added: number;
  bytes_read: number;
  bytes_written: number;
}

/** A file of the current table snapshot. */
export interface DataFile {
  path: string;
  kind: string;
  rows: number;
  bytes: number;
  partition: string;
}

/** A table whole; `snapshots` are the newest, newest first. */
export interface TableDetail extends TableInfo {
  key: string[];
  columns: Column[];
  held: string | null;
  location: string;
  snapshots: Snapshot[];
  snapshots_total: number;
  files_listed: DataFile[];
  files_total: number;
  layout: { partition: string[]; sort: string[]; bloom: string[] };
  maintenance: Run[];
  snippets: Record<string, string>;
}

/** What changed between two table snapshots; each row with its weight first. */
export interface Diff extends Rows {
  added: number;
  removed: number;
  updated: number;
  truncated: boolean;
}

const of = (name: string) => `/v1/tables/${encodeURIComponent(name)}`;

/** All tables. */
export async function tables(signal: AbortSignal): Promise<TableInfo[]> {
  return (await get<{ tables: TableInfo[] }>("/v1/tables", {}, signal)).tables;
}

/** One table. */
export function table(name: string, signal: AbortSignal): Promise<TableDetail> {
  return get(of(name), {}, signal);
}

/** The first rows as of a table snapshot, or now. */
export function rowsAt(
  name: string,
  snapshot: string | null,
  signal: AbortSignal,
): Promise<Rows & { truncated?: boolean }> {
  return get(`${of(name)}/rows`, { snapshot, limit: 200 }, signal);
}

/** What changed between two table snapshots. */
export function diff(name: string, from: string, to: string, signal: AbortSignal): Promise<Diff> {
  return get(`${of(name)}/diff`, { from, to, limit: 500 }, signal);
}

/** What became of what was asked for. */
export interface Maintained {
  state: "waiting" | "done" | "failed";
  error: string | null;
  runs: { done?: boolean }[];
}

const LOOK_EVERY_MS = 400;
const LOOKS = 150;

/** Has a table's files put in order now, and waits for the end of it. */
export async function maintain(name: string): Promise<Maintained> {
  const { id } = await post<{ id: string }>(`${of(name)}/maintain`, { confirm: true });
  for (let look = 0; look < LOOKS; look += 1) {
    const now = await get<Maintained>(`/v1/maintenance/${encodeURIComponent(id)}`);
    if (now.state !== "waiting") return now;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return { state: "waiting", error: null, runs: [] };
}
