/** What the Rejects page asks the server. */
import { get, post } from "../api/client";
import type { Cause, Causes, Decided, RejectDetail, Rejects } from "../api/schema";

/** Which rejects are meant: by number, or all of a cause. */
export type Choice = { ids: number[] } | { cause: Pick<Cause, "stream" | "stage" | "reason"> };

/** What can be decided about a reject. */
export type Decision = "replay" | "discard";

/** What waits for a decision, or all there is. */
export type Which = "open" | "settled";

const WAITING = ["open", "requested"];

/** By cause, the most frequent first. */
export async function causes(which: Which, signal: AbortSignal): Promise<Cause[]> {
  const settled = which === "settled";
  const found = (await get<Causes>("/v1/rejects/causes", { settled }, signal)).causes;
  return settled ? found.filter(({ state }) => !WAITING.includes(state)) : found;
}

/** Entries of a cause. */
export function rejects(
  cause: Pick<Cause, "stream" | "stage" | "reason" | "state">,
  after: number | null,
  signal?: AbortSignal,
) {
  const { stream, stage, reason, state } = cause;
  const query = { stream, stage, reason, state, after, limit: 1000 };
  return get<Rejects>("/v1/rejects", query, signal);
}

/** One entry whole. */
export function reject(id: number, signal?: AbortSignal): Promise<RejectDetail> {
  return get(`/v1/rejects/${id}`, {}, signal);
}

/** Decides; the answer says how many it was done to. */
export function decide(decision: Decision, choice: Choice): Promise<Decided> {
  return post(`/v1/rejects/${decision}`, { ...choice, confirm: true });
}
