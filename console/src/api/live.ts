// What the running project tells by itself: one connection for the whole page, kept in signals that pages read.
import { effect, signal } from "@preact/signals";
import { get } from "./client";
import { holding } from "./hold";
import type { Problem } from "./problem";
import { stream } from "./sse";
import { tokenGiven } from "./token";
import type { History, JournalEntry, Overview } from "./schema";

export type Connection = "connecting" | "connected" | "lost";

/** How the connection stands. While it is lost, what is shown is old: `heardAt` says of when. */
export const connection = signal<Connection>("connecting");
export const heardAt = signal<number | null>(null);
export const overview = signal<Overview | null>(null);
export const journal = signal<JournalEntry[]>([]);

/** Figures of the last 15 minutes, one a second: `series[name][i]` was at `at[i]` (seconds since 1970). */
export interface Figures {
  at: number[];
  series: Record<string, (number | null)[]>;
}
export const figures = signal<Figures>({ at: [], series: {} });

const KEPT = 900;
const JOURNAL_KEPT = 300;

/** Listens from now on, as long as the page is there. */
export function listen(): void {
  effect(() => {
    void tokenGiven.value;
    const stop = new AbortController();
    void load(stop.signal);
    const shown = holding(on, stop.signal, ["overview"]);
    const heard = (event: string, data: unknown) => {
      heardAt.value = Date.now();
      shown(event, data);
    };
    void stream("/v1/events", { signal: stop.signal, on: heard, state });
    return () => stop.abort();
  });
}

async function load(signal: AbortSignal): Promise<void> {
  try {
    const history = await get<History>("/v1/history", {}, signal);
    figures.value = { at: history.at_us.map((at) => at / 1e6), series: history.series };
  } catch {
    // The stream tells how the connection stands; without history the charts begin now.
  }
}

function state(connected: boolean, problem?: Problem): void {
  connection.value = connected ? "connected" : problem?.status === 401 ? "connecting" : "lost";
}

function on(event: string, data: unknown): void {
  if (event === "overview") overview.value = data as Overview;
  else if (event === "journal") journal.value = [...journal.peek(), data as JournalEntry].slice(-JOURNAL_KEPT);
  else if (event === "history") extend(data as { at_us: number; values: Record<string, number> });
}

function extend({ at_us, values }: { at_us: number; values: Record<string, number> }): void {
  const { at, series } = figures.peek();
  if (at.length && at[at.length - 1]! >= at_us / 1e6) return;
  const names = new Set([...Object.keys(series), ...Object.keys(values)]);
  const grown: Figures["series"] = {};
  for (const name of names) {
    const before = series[name] ?? new Array<null>(at.length).fill(null);
    grown[name] = [...before, values[name] ?? null].slice(-KEPT);
  }
  figures.value = { at: [...at, at_us / 1e6].slice(-KEPT), series: grown };
}
