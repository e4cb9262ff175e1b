/** What the SQL page asks the server. */
import { get, post, put } from "../api/client";
import type { Names } from "../editor/completion";
import type { Rows } from "../rows/values";

/** The answer to a query. */
export interface Answer extends Rows {
  note?: string | null;
  truncated: boolean;
  elapsed_ms: number;
}

/** A query's plan: operators, each feeding the one that it points to. */
export interface Plan {
  nodes: { id: string; name: string; detail: string; rows?: number | null }[];
  edges: { from: string; to: string }[];
  text: string;
}

/** What a SELECT would be as a model. */
export interface Preview extends Rows {
  reads: string[];
  key: string[];
  incremental: { operator: string; way: string; detail: string; reads: string[]; last_resort: string }[];
  notes: string[];
  problems: { level: "fail" | "warn"; message: string; hint: string; line: number; column: number }[];
  elapsed_ms: number;
}

/** A model's file. */
export interface ModelFile {
  sql: string;
  digest: string;
  path: string;
}

/** Rows that are asked for at most. */
export const MOST_ROWS = 1000;

/** Runs a query; `at` is a moment in the lake's past, as `headwater query --at` takes it. */
export function run(sql: string, at: string, signal: AbortSignal): Promise<Answer> {
  return post("/v1/sql", { sql, limit: MOST_ROWS, ...(at ? { at } : {}) }, signal);
}

/** The plan of a query. */
export function explain(sql: string, signal: AbortSignal): Promise<Plan> {
  return post("/v1/sql/explain", { sql }, signal);
}

/** Runs a SELECT as a model would, on what is there now; nothing is kept. */
export function preview(sql: string, name: string | null, signal: AbortSignal): Promise<Preview> {
  return post("/v1/models/preview", { sql, limit: 50, ...(name ? { name } : {}) }, signal);
}

/** Tables, functions and keywords. */
export function names(): Promise<Names> {
  return get("/v1/sql/names");
}

/** A model's file as it stands. */
export function readModel(name: string): Promise<ModelFile> {
  return get(`/v1/models/${encodeURIComponent(name)}`);
}

/** Writes a model's file; refused if it is not any more what `digest` was of. */
export function saveModel(name: string, sql: string, digest?: string): Promise<Omit<ModelFile, "sql">> {
  return put(`/v1/models/${encodeURIComponent(name)}`, { sql, ...(digest ? { digest } : {}) });
}
