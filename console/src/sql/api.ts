/** What the SQL page asks the server. */
import { get, post, put } from "../api/client";
import type { ModelPreview, ModelText, Names, SqlAnswer, SqlPlan } from "../api/schema";

/** Rows that are asked for at most. */
export const MOST_ROWS = 1000;

/** Runs a query; `at` is a moment in the lake's past, as `headwater query --at` takes it. */
export function run(sql: string, at: string, signal: AbortSignal): Promise<SqlAnswer> {
  return post("/v1/sql", { sql, limit: MOST_ROWS, ...(at ? { at } : {}) }, signal);
}

/** The plan of a query. */
export function explain(sql: string, signal: AbortSignal): Promise<SqlPlan> {
  return post("/v1/sql/explain", { sql }, signal);
}

/** Runs a SELECT as a model would, on what is there now; nothing is kept. */
export function preview(sql: string, name: string | null, signal: AbortSignal): Promise<ModelPreview> {
  return post("/v1/models/preview", { sql, limit: 50, ...(name ? { name } : {}) }, signal);
}

/** Tables, functions and keywords. */
export function names(): Promise<Names> {
  return get("/v1/sql/names");
}

/** A model's file as it stands. */
export function readModel(name: string): Promise<ModelText> {
  return get(`/v1/models/${encodeURIComponent(name)}`);
}

/** Writes a model's file; refused if it is not any more what `digest` was of. */
export function saveModel(name: string, sql: string, digest?: string): Promise<Omit<ModelText, "sql">> {
  return put(`/v1/models/${encodeURIComponent(name)}`, { sql, ...(digest ? { digest } : {}) });
}
