/** What is shown of a stream: a page of its past, or what comes now. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asProblem, type Problem } from "../api/problem";
import type { Column } from "../rows/values";
import { type LogRecord, records, type Seek, tail } from "./api";

/** Records that are kept on the page while a stream is followed. */
export const KEPT = 500;

/** The records on the page, newest first, and how they came there. */
export interface Shown {
  columns: Column[];
  records: LogRecord[];
  loading: boolean;
  problem: Problem | null;
  /** Changes that came and were not sent, because they were too many to be read. */
  skipped: number;
  /** Changes that have come since the stream is followed. */
  came: number;
  connected: boolean;
}

const NOTHING: Shown = {
  columns: [],
  records: [],
  loading: true,
  problem: null,
  skipped: 0,
  came: 0,
  connected: false,
};

/** Follows `name` while `live`, else shows the page at `seek`. */
export function useRecords(name: string, live: boolean, seek: Seek, filter: string, columns: Column[]): Shown {
  const [shown, setShown] = useState<Shown>(NOTHING);
  const waiting = useRef<LogRecord[]>([]);
  const place = JSON.stringify(seek);

  const show = useCallback((change: Partial<Shown>) => setShown((before) => ({ ...before, ...change })), []);

  useEffect(() => {
    const stop = new AbortController();
    const begin = live ? { from: "latest" as const, reverse: true } : seek;
    show({ loading: true, problem: null, skipped: 0, came: 0 });
    records(name, begin, filter, stop.signal).then(
      (page) => show({ columns: page.columns, records: newestFirst(page.records), loading: false }),
      (error) => !stop.signal.aborted && show({ problem: asProblem(error), loading: false, records: [] }),
    );
    return () => stop.abort();
  }, [name, live, place, filter]);

  useEffect(() => {
    if (!live) return;
    const stop = new AbortController();
    const on = (event: string, data: unknown) => {
      if (event === "records") waiting.current.push(...(data as { records: LogRecord[] }).records);
      else if (event === "skipped") setShown((b) => ({ ...b, skipped: b.skipped + (data as { count: number }).count }));
    };
    const state = (connected: boolean, problem?: Problem) =>
      show(problem && problem.status >= 400 ? { connected, problem } : { connected });
    void tail(name, filter, stop.signal, on, state as (connected: boolean, problem?: Error) => void);
    const beat = setInterval(() => {
      const fresh = waiting.current.splice(0);
      if (fresh.length) setShown((before) => grown(before, fresh));
    }, 200);
    return () => {
      stop.abort();
      clearInterval(beat);
      waiting.current = [];
    };
  }, [name, live, filter]);

  return shown.columns.length ? shown : { ...shown, columns };
}

function newestFirst(page: LogRecord[]): LogRecord[] {
  return [...page].sort((one, other) => other.offset - one.offset);
}

/** What has come goes on top; what the page had already of it is not shown twice. */
function grown(before: Shown, fresh: LogRecord[]): Shown {
  const top = before.records[0]?.offset ?? -1;
  const come = newestFirst(fresh.filter(({ offset }) => offset > top));
  return { ...before, records: [...come, ...before.records].slice(0, KEPT), came: before.came + come.length };
}
