/** What the Streams page asks the server. */
import { get, getText, withQuery } from "../api/client";
import type { Problem } from "../api/problem";
import type { Column, Record as LogRecord, Records, Stream, Streams } from "../api/schema";
import { stream } from "../api/sse";

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
export async function streams(signal: AbortSignal): Promise<Stream[]> {
  return (await get<Streams>("/v1/streams", {}, signal)).streams;
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
