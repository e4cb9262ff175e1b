import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { held } from "../api/hold";
import { asProblem, type Problem } from "../api/problem";
import { tokenGiven } from "../api/token";

export interface Resource<T> {
  data: T | null;
  problem: Problem | null;
  loading: boolean;
  reload: () => void;
}

/** What `load` answers; loaded again when `inputs` change or `reload` is called, keeping the old answer meanwhile.
 *  With `everyMs` also again and again, as long as the page is looked at and not held still. */
export function useResource<T>(
  load: (signal: AbortSignal) => Promise<T>,
  inputs: unknown[],
  everyMs?: number,
): Resource<T> {
  const [state, setState] = useState<Omit<Resource<T>, "reload">>({ data: null, problem: null, loading: true });
  const [round, setRound] = useState(0);
  const loader = useRef(load);
  loader.current = load;
  const reload = useCallback(() => setRound((before) => before + 1), []);
  const given = tokenGiven.value;

  useEffect(() => {
    const stop = new AbortController();
    setState((before) => ({ ...before, loading: true }));
    loader.current(stop.signal).then(
      (data) => !stop.signal.aborted && setState({ data, problem: null, loading: false }),
      (error) =>
        !stop.signal.aborted && setState((before) => ({ ...before, problem: asProblem(error), loading: false })),
    );
    return () => stop.abort();
  }, [...inputs, round, given]);

  useEffect(() => {
    if (!everyMs) return;
    const timer = setInterval(() => document.visibilityState === "visible" && !held.peek() && reload(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);

  return { ...state, reload };
}
