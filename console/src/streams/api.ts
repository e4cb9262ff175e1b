/** What the Streams page asks the server. */
import { get, getText, withQuery } from "../api/client";
import type { Problem } from "../api/problem";
import { stream } from "../api/sse";
import type { Column, Value } from "../rows/values";

/** A stream. Offsets are of its source's log, which other streams share: `base` is the first that is kept. */
export interface StreamInfo {
  name: string;
  source: string;
  type: string;
  key: string[];
  columns: Column[];
  changelog: string;
  base: number;
  head: number;
  changes: number;
  rejects: number;
  rows_per_s: number;
  timed: boolean;
}

/** One change in the log; `row` in the order of the columns. */
export interface LogRecord {
  offset: number;
  at_us: number | null;
  position: string;
  op: string;
  weight: number;
  row: Value[];
}

/** Changes, as far as they were looked for; `done` when the end was reached. */
export interface Records {
  columns: Column[];
  records: LogRecord[];
  base: number;
  head: number;
  next_offset: number;
  done: boolean;
}

/** Changes that have come. */
export interface Tailed {
  columns: Column[];
  records: LogRecord[];
  skipped: number;
}

/** Where to begin to read. */
export interface Seek {
  from?: "latest" | "earliest";
  offset?: number;
  at_us?: number;
  reverse?: boolean;
}

const PAGE = 100;

const of = (name: string) => `/v1/streams/${encodeURIComponent(name)}`;

/** All streams. */
export async function streams(signal: AbortSignal): Promise<StreamInfo[]> {
  return (await get<{ streams: StreamInfo[] }>("/v1/streams", {}, signal)).streams;
}

/** A page of changes. */
export function records(name: string, seek: Seek, filter: string, signal: AbortSignal): Promise<Records> {
  return get<Records>(`${of(name)}/records`, { ...seek, filter, limit: PAGE }, signal);
}

/** The last changes, then others as they come. */
export function tail(
  name: string,
  filter: string,
  signal: AbortSignal,
  on: (event: string, data: unknown) => void,
  state: (connected: boolean, problem?: Problem) => void,
): Promise<void> {
  return stream(withQuery(`${of(name)}/tail`, { filter, last: 50 }), { signal, on, state });
}

/** A range of changes as the rows of a model's test, in YAML. */
export function fixture(name: string, from: number, to: number): Promise<string> {
  return getText(`${of(name)}/fixture`, { from, to: to + 1, limit: 1000 });
}
