// Holds what is shown still, so that it can be read: what is told meanwhile is kept and shown afterwards.
import { effect, signal } from "@preact/signals";
import type { Listener } from "./sse";

/** Whether the view is held. The project itself goes on. */
export const held = signal(false);

const KEPT = 900;

/** Hands events on; while the view is held it keeps them, of each kind the last 900, but the very first, without which
 *  there is no view. `whole` names those of which one says all that those before it said. */
export function holding(on: Listener["on"], signal: AbortSignal, whole: readonly string[] = []): Listener["on"] {
  const kept = new Map<string, unknown[]>();
  const seen = new Set<string>();
  const stop = effect(() => {
    if (held.value) return;
    for (const [event, all] of kept) for (const data of all) on(event, data);
    kept.clear();
  });
  signal.addEventListener("abort", stop, { once: true });
  return (event, data) => {
    if (!held.peek() || !seen.has(event)) on(event, data);
    else if (whole.includes(event)) kept.set(event, [data]);
    else kept.set(event, [...(kept.get(event) ?? []), data].slice(-KEPT));
    seen.add(event);
  };
}
