/** What the Rejects page asks the server. */
import { get, post } from "../api/client";

/** Rejects that failed alike. */
export interface Cause {
  stream: string;
  stage: string;
  reason: string;
  state: string;
  count: number;
  first_seen_us: number;
  last_seen_us: number;
  example: number;
  message: string;
}

/** One record that a stage could not take. */
export interface Reject {
  id: number;
  stream: string;
  stage: string;
  reason: string;
  message: string;
  position: string;
  key: string;
  state: string;
  attempts: number;
  first_seen_us: number;
  last_seen_us: number;
}

/** The same with its record. */
export interface RejectDetail extends Reject {
  raw_text: string | null;
  raw_base64: string;
  bytes?: number;
  decoded: Record<string, unknown>[];
}

/** Which rejects are meant: by number, or all of a cause. */
export type Choice = { ids: number[] } | { cause: Pick<Cause, "stream" | "stage" | "reason"> };

/** What can be decided about a reject. */
export type Decision = "replay" | "discard";

/** What waits for a decision, or all there is. */
export type Which = "open" | "settled";

/** By cause, the most frequent first. */
export async function causes(which: Which, signal: AbortSignal): Promise<Cause[]> {
  return (await get<{ causes: Cause[] }>("/v1/rejects/causes", { state: which }, signal)).causes;
}

/** Entries of a cause. */
export function rejects(cause: Cause, after: number | null, signal?: AbortSignal) {
  const { stream, stage, reason, state } = cause;
  const query = { stream, stage, reason, state, after, limit: 100 };
  return get<{ rejects: Reject[]; count: number; next: number | null }>("/v1/rejects", query, signal);
}

/** One entry whole. */
export function reject(id: number, signal?: AbortSignal): Promise<RejectDetail> {
  return get(`/v1/rejects/${id}`, {}, signal);
}

/** Decides; the answer says how many it was done to. */
export function decide(decision: Decision, choice: Choice): Promise<{ moved: number; asked?: number | null }> {
  return post(`/v1/rejects/${decision}`, { ...choice, confirm: true });
}
