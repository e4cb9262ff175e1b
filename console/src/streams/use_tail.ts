/** What is shown of a stream: a page of its past, or what comes now. */
import { useEffect, useRef, useState } from "preact/hooks";
import { holding } from "../api/hold";
import { Problem, asProblem } from "../api/problem";
import type { Column, Record as LogRecord } from "../api/schema";
import { type Seek, type Tailed, records, tail } from "./api";

/** Records that are kept on the page while a stream is followed. */
export const KEPT = 500;

/** The records on the page, newest first, and how they came there. */
export interface Shown {
  columns: Column[];
  records: LogRecord[];
  loading: boolean;
  problem: Problem | null;
  /** Offsets of the log that were passed over, because more came than can be read. */
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
  const first = useRef(true);
  const place = live ? "live" : JSON.stringify(seek);

  useEffect(() => {
    const stop = new AbortController();
    first.current = true;
    setShown((before) => ({ ...NOTHING, columns: before.columns, records: before.records }));
    if (live) follow(stop.signal);
    else void look(stop.signal);
    return () => stop.abort();
  }, [name, place, filter]);

  const look = async (signal: AbortSignal) => {
    try {
      const page = await records(name, seek, filter, signal);
      setShown({ ...NOTHING, columns: page.columns, records: newestFirst(page.records), loading: false });
    } catch (error) {
      if (!signal.aborted) setShown({ ...NOTHING, problem: asProblem(error), loading: false });
    }
  };

  const follow = (signal: AbortSignal) => {
    const on = (event: string, data: unknown) => {
      if (event === "problem") {
        const { status, ...body } = data as Record<string, unknown>;
        setShown({ ...NOTHING, problem: new Problem(Number(status), body), loading: false });
      } else if (event === "records") {
        const begins = first.current;
        first.current = false;
        setShown((before) => grown(begins ? { ...before, records: [] } : before, data as Tailed, begins));
      }
    };
    const state = (connected: boolean, problem?: Problem) =>
      setShown((before) => ({
        ...before,
        connected,
        loading: before.loading && !connected,
        ...(problem && problem.status >= 400 ? { problem } : {}),
      }));
    void tail(name, filter, signal, holding(on, signal), state);
  };

  return shown.columns.length ? shown : { ...shown, columns };
}

function newestFirst(page: LogRecord[]): LogRecord[] {
  return [...page].sort((one, other) => other.offset - one.offset || other.weight - one.weight);
}

/** What has come goes on top; what the page had already of it is not shown twice. */
function grown(before: Shown, { columns, records, skipped }: Tailed, begins: boolean): Shown {
  const top = before.records[0]?.offset ?? -1;
  const come = newestFirst(records.filter(({ offset }) => offset > top));
  return {
    ...before,
    columns: columns.length ? columns : before.columns,
    records: [...come, ...before.records].slice(0, KEPT),
    skipped: before.skipped + (begins ? 0 : skipped),
    came: before.came + (begins ? 0 : come.length),
    loading: false,
    problem: null,
  };
}
