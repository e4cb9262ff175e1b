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
  /** Trying again can help. */
  replays: boolean;
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
  bytes: number;
  raw_text: string | null;
  raw_base64: string;
  truncated: boolean;
  /** What it would have been. */
  rows: Record<string, unknown>[];
  /** Why that cannot be said. */
  undecodable: string | null;
}

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
  const found = (await get<{ causes: Cause[] }>("/v1/rejects/causes", { settled }, signal)).causes;
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
  return get<{ rejects: Reject[]; next_after: number | null }>("/v1/rejects", query, signal);
}

/** One entry whole. */
export function reject(id: number, signal?: AbortSignal): Promise<RejectDetail> {
  return get(`/v1/rejects/${id}`, {}, signal);
}

/** Decides; the answer says how many it was done to. */
export function decide(decision: Decision, choice: Choice): Promise<{ moved: number }> {
  return post(`/v1/rejects/${decision}`, { ...choice, confirm: true });
}
