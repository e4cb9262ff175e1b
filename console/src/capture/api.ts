/** What the Capture page asks the server. */
import { get, post } from "../api/client";
import type { AskSnapshots, Capture, Took } from "../api/schema";

/** What can be asked of the reading of tables. */
export type Action = AskSnapshots["action"];

/** All of it. */
export function captured(signal: AbortSignal): Promise<Capture> {
  return get("/v1/capture", {}, signal);
}

/** Asks for it; says whether the source has taken note. */
export function steer(source: string, action: Action, tables: string[]) {
  const path = `/v1/capture/${encodeURIComponent(source)}/snapshots`;
  return post<Took>(path, { action, tables });
}
