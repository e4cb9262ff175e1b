/** What the Streams page asks the server. */
import { get, getText } from "../api/client";
import { stream } from "../api/sse";
import type { Column, Value } from "../rows/values";

/** A stream and how far it goes. */
export interface StreamInfo {
  name: string;
  source: string;
  source_type?: string;
  key: string[];
  columns: Column[];
  changelog?: string;
  first_offset: number | null;
  next_offset: number | null;
  first_at_us?: number | null;
  last_at_us?: number | null;
  read?: number | null;
  rows_per_s?: number | null;
  watermark_us?: number | null;
}

/** One change in the log. */
export interface LogRecord {
  offset: number;
  at_us: number | null;
  position?: string | number | null;
  op: string;
  weight: number;
  values: Value[];
  raw?: string | null;
}

/** Changes in order of their offsets. */
export interface Records {
  columns: Column[];
  records: LogRecord[];
  first_offset: number | null;
  next_offset: number | null;
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

/** Changes as they come, from now on. */
export function tail(
  name: string,
  filter: string,
  signal: AbortSignal,
  on: (event: string, data: unknown) => void,
  state: (connected: boolean, problem?: Error) => void,
): Promise<void> {
  const query = filter ? `?filter=${encodeURIComponent(filter)}` : "";
  return stream(`${of(name)}/tail${query}`, { signal, on, state });
}

/** A range of changes as the rows of a model's test, in YAML. */
export function fixture(name: string, from: number, to: number): Promise<string> {
  return getText(`${of(name)}/fixture`, { from, to });
}
