/** What was run on this browser, newest first, in localStorage. */

/** One statement that was run. */
export interface Entry {
  sql: string;
  at_ms: number;
  ok: boolean;
  rows?: number;
}

const HISTORY = "headwater.sql.history";
const DRAFT = "headwater.sql.draft";
const KEPT = 100;

/** The entries. */
export function entries(): Entry[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(HISTORY) ?? "[]");
    return Array.isArray(kept) ? (kept as Entry[]) : [];
  } catch {
    return [];
  }
}

/** Adds a statement; one that was run before moves to the front. */
export function remember(entry: Entry): Entry[] {
  const kept = [entry, ...entries().filter(({ sql }) => sql !== entry.sql)].slice(0, KEPT);
  keep(HISTORY, JSON.stringify(kept));
  return kept;
}

/** Forgets them all. */
export function forget(): void {
  localStorage.removeItem(HISTORY);
}

/** What stood in the editor last. */
export function draft(): string | null {
  return localStorage.getItem(DRAFT);
}

/** Keeps what stands in the editor. */
export function keepDraft(text: string): void {
  keep(DRAFT, text);
}

function keep(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A browser without room or in private mode: the history is a convenience.
  }
}
