/** What the Tables page asks the server. */
import { get, post } from "../api/client";
import type { Column, Rows } from "../rows/values";

/** A table of the lake. */
export interface TableInfo {
  name: string;
  kind?: string;
  rows: number | null;
  epoch: number | null;
  files: number | null;
  bytes: number | null;
  snapshots?: number | null;
  at_us?: number | null;
  key?: string[];
}

/** One table snapshot. Ids are text: they have more digits than a number of JavaScript. */
export interface Snapshot {
  id: string;
  at_us: number;
  epoch: number | null;
  operation: string;
  rows: number | null;
  added: number | null;
  deleted: number | null;
  files: number | null;
  bytes?: number | null;
  maintenance?: boolean;
  refs?: string[];
}

/** A task of maintenance that was carried out. */
export interface Run {
  kind: string;
  reason: string;
  began_us: number;
  took_s: number;
  done: boolean;
  note?: string;
  files_removed: number;
  files_added: number;
  bytes_read: number;
  bytes_written: number;
}

/** A file of the current table snapshot. */
export interface DataFile {
  path: string;
  kind?: string;
  rows: number | null;
  bytes: number | null;
}

/** A table whole. */
export interface TableDetail {
  name: string;
  kind: string;
  key: string[];
  columns: Column[];
  rows?: number | null;
  bytes?: number | null;
  epoch?: number | null;
  held?: string | null;
  snapshots: Snapshot[];
  files: DataFile[];
  files_total?: number | null;
  layout: Record<string, unknown> | string | null;
  maintenance: Run[];
  snippets: Record<string, string>;
}

/** What changed between two table snapshots. */
export interface Diff extends Rows {
  weights: number[];
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
  return get(`${of(name)}/diff`, { from: `snapshot ${from}`, to: `snapshot ${to}`, limit: 500 }, signal);
}

/** Has a table's files put in order now. */
export function maintain(name: string): Promise<{ runs?: Run[]; note?: string }> {
  return post(`${of(name)}/maintain`, {});
}
