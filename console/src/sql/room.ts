/** The state of the SQL page: what stands in the editor, what runs, what came of it. */
import { useEffect, useRef, useState } from "preact/hooks";
import { asProblem } from "../api/problem";
import type { ModelPreview, Names, SqlAnswer, SqlPlan } from "../api/schema";
import type { SqlEditor } from "../editor/sql_editor";
import { explain, names, preview, readModel, run } from "./api";
import { draft, type Entry, entries, forget, keepDraft, remember } from "./history";

/** What came of a statement. */
export type Outcome =
  | { kind: "answer"; answer: SqlAnswer }
  | { kind: "plan"; plan: SqlPlan }
  | { kind: "preview"; preview: ModelPreview; sql: string }
  | { kind: "error"; message: string; hint: string; place: string };

/** What can be done with the text in the editor. */
export type Deed = "run" | "explain" | "preview";

/** A model that is being changed. */
export interface Opened {
  name: string;
  digest: string;
  path: string;
}

/** See above; the page calls it once. */
export function useRoom(modelName: string | null, asked: string | null) {
  const editor = useRef<SqlEditor | null>(null);
  const stop = useRef<AbortController | null>(null);
  const [known, setKnown] = useState<Names | null>(null);
  const [busy, setBusy] = useState<Deed | null>(null);
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [past, setPast] = useState<Entry[]>(entries);
  const [at, setAt] = useState("");
  const [model, setModel] = useState<Opened | null>(null);

  useEffect(() => {
    const left = new AbortController();
    void namesAtLast(left.signal).then(setKnown);
    return () => {
      left.abort();
      stop.current?.abort();
    };
  }, []);
  useEffect(() => {
    if (!modelName) return;
    readModel(modelName).then(
      (file) => {
        setModel({ name: modelName, digest: file.digest, path: file.path });
        editor.current?.setText(file.sql);
      },
      (failed) => setOutcome(problemOf(failed)),
    );
  }, [modelName]);

  const act = async (deed: Deed) => {
    const sql = editor.current?.text() ?? "";
    if (!sql.trim()) return;
    stop.current?.abort();
    const mine = new AbortController();
    stop.current = mine;
    setBusy(deed);
    editor.current?.mark(null);
    const came = await outcomeOf(deed, sql, at, model?.name ?? null, mine.signal);
    if (mine.signal.aborted) return;
    const said = came.kind === "error" ? came.message : (came.said ?? "");
    if (came.at) editor.current?.mark({ ...came.at, message: said });
    if (deed === "run") setPast(remember(entryOf(sql, came)));
    setOutcome(came);
    setBusy(null);
  };

  return {
    editor,
    known,
    busy,
    outcome,
    past,
    at,
    setAt,
    model,
    setModel,
    act,
    first: asked ?? draft() ?? "",
    keep: keepDraft,
    cancel: () => {
      stop.current?.abort();
      setBusy(null);
    },
    forget: () => {
      forget();
      setPast([]);
    },
  };
}

/** The names; asked for again where the server was busy. */
async function namesAtLast(left: AbortSignal): Promise<Names | null> {
  for (let tries = 0; tries < 10 && !left.aborted; tries += 1) {
    try {
      return await names();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
  return null;
}

type Came = Outcome & { at?: { line: number; column: number } | undefined; said?: string | undefined };

async function outcomeOf(
  deed: Deed,
  sql: string,
  at: string,
  model: string | null,
  signal: AbortSignal,
): Promise<Came> {
  try {
    if (deed === "explain") return { kind: "plan", plan: await explain(sql, signal) };
    if (deed === "preview") return previewed(await preview(sql, model, signal), sql);
    return { kind: "answer", answer: await run(sql, at, signal) };
  } catch (failed) {
    return problemOf(failed);
  }
}

/** A preview; its first mistake is shown at its place. */
function previewed(made: ModelPreview, sql: string): Came {
  const first = made.problems.find(({ level }) => level === "fail");
  const at = first?.line ? { line: first.line, column: first.column || 1 } : undefined;
  return { kind: "preview", preview: made, sql, at, said: first?.message };
}

function problemOf(failed: unknown): Came & { kind: "error" } {
  const { line, column, detail, hint } = asProblem(failed);
  const at = line ? { line, column: column ?? 1 } : undefined;
  const place = at ? `line ${at.line}, column ${at.column}` : "";
  return { kind: "error", message: detail, hint, place, at };
}

function entryOf(sql: string, came: Outcome): Entry {
  const told = { sql, at_ms: Date.now() };
  return came.kind === "answer" ? { ...told, ok: true, rows: came.answer.rows.length } : { ...told, ok: false };
}
