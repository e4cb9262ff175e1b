/** What the Tables page asks the server. */
import { get, post } from "../api/client";
import type { Asking, Maintained, TableDetail, TableDiff, TableEntry, TableRows, Tables } from "../api/schema";

const of = (name: string) => `/v1/tables/${encodeURIComponent(name)}`;

/** All tables. */
export async function tables(signal: AbortSignal): Promise<TableEntry[]> {
  return (await get<Tables>("/v1/tables", {}, signal)).tables;
}

/** One table. */
export function table(name: string, signal: AbortSignal): Promise<TableDetail> {
  return get(of(name), {}, signal);
}

/** The first rows as of a table snapshot, or now. */
export function rowsAt(name: string, snapshot: string | null, signal: AbortSignal): Promise<TableRows> {
  return get(`${of(name)}/rows`, { snapshot, limit: 200 }, signal);
}

/** What changed between two table snapshots. */
export function diff(name: string, from: string, to: string, signal: AbortSignal): Promise<TableDiff> {
  return get(`${of(name)}/diff`, { from, to, limit: 500 }, signal);
}

const LOOK_EVERY_MS = 400;
const LOOKS = 150;

/** Has a table's files put in order now, and waits for the end of it. */
export async function maintain(name: string): Promise<Maintained> {
  const { id } = await post<Asking>(`${of(name)}/maintain`, { confirm: true });
  for (let look = 0; look < LOOKS; look += 1) {
    const now = await get<Maintained>(`/v1/maintenance/${encodeURIComponent(id)}`);
    if (now.state !== "waiting") return now;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  return { id, state: "waiting", error: null, runs: [] };
}
