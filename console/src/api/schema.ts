// Made by `make docs` from the API's OpenAPI document; not to be edited.

/** What goes well still and will not for ever. */
export type Alarm = {
  code: string;
  message: string;
  hint: string;
};

/** Which events. */
export type AskEvents = {
  topics?: string;
  after?: number | null;
};

/** Which samples. */
export type AskHistory = {
  since_us?: number;
};

/** Which entries. */
export type AskJournal = {
  after?: number;
  limit?: number;
};

/** Checks of a model by their outcome. */
export type CheckCounts = {
  ok: number;
  warn: number;
  fail: number;
};

/** From one node to the one that reads it; `rows_per_s` is what its beginning gives. */
export type Edge = {
  from: string;
  to: string;
  rows_per_s: number | null;
};

/** The dataflow from sources to tables and syncs. */
export type Graph = {
  nodes: (Node)[];
  edges: (Edge)[];
};

/** Figures of the last quarter of an hour, a sample a second: `series` by `kind:name:figure`, null where there was none. */
export type History = {
  at_us: (number)[];
  series: Record<string, (number | null)[]>;
};

/** Whether every account adds up. */
export type Holds = {
  holds: boolean;
};

/** The last changes of state, oldest first. */
export type Journal = {
  entries: (JournalEntry)[];
};

/** One change of state. `number` counts from 1 since the project was started; fields are those of the event. */
export type JournalEntry = {
  number: number;
  at_us: number;
  level: string;
  event: string;
  fields: Record<string, unknown>;
};

/** A model. `busy` is the share of the time in which it was computed, 0 to 1; `rows` those of its table. */
export type ModelGlance = {
  name: string;
  state: string;
  error: string | null;
  rows: number;
  rows_per_s: number;
  watermark_us: number | null;
  busy: number | null;
  state_bytes: number | null;
  holds: boolean;
  checks: CheckCounts;
};

/** One node; `id` is "kind:name". `busy` is the share of the time in which it worked, 0 to 1; null where that is not measured. `problem` is the sentence of the worst that is wrong with it. */
export type Node = {
  id: string;
  kind: "source" | "stream" | "model" | "table" | "sync";
  name: string;
  state: string;
  busy: number | null;
  rows_per_s: number | null;
  rows: number | null;
  state_bytes: number | null;
  watermark_us: number | null;
  problem: string | null;
};

/** A project at a glance. `state` is that of the epochs: starting, running, waiting, stopped. */
export type Overview = {
  project: string;
  version: string;
  state: string;
  error: string | null;
  since_us: number;
  now_us: number;
  epoch: number;
  checkpoint: Standing;
  freshness_ms: Record<string, number | null>;
  sources: (SourceGlance)[];
  models: (ModelGlance)[];
  tables: (TableGlance)[];
  syncs: (SyncGlance)[];
  rejects: RejectsGlance;
  accounting: Holds;
  problems: (Trouble)[];
};

/** RFC 9457. `hint` is the command or edit that mends it; `file`, `line` and `column` say where a mistake stands. */
export type ProblemAnswer = {
  title: string;
  status: number;
  detail: string;
  hint: string;
  file: string;
  line: number;
  column: number;
};

/** Rejects that wait for a decision, and of how many kinds (stream and stage) they are. */
export type RejectsGlance = {
  open: number;
  causes: number;
};

/** How far the first reading of a table is; `expected` rows by the source's statistics, null if unknown. */
export type SnapshotGlance = {
  table: string;
  state: string;
  rows: number;
  expected: number | null;
  message: string;
};

/** A source: how it fares. `health` holds figures of its type, named with their units. */
export type SourceGlance = {
  name: string;
  type: string;
  state: string;
  error: string | null;
  hint: string | null;
  lag_bytes: number | null;
  rows_per_s: number;
  position: number | null;
  gaps: number;
  health: Record<string, unknown>;
  alarms: (Alarm)[];
  snapshots: (SnapshotGlance)[];
  streams: (StreamGlance)[];
};

/** The last checkpoint; nulls before the first. */
export type Standing = {
  epoch: number | null;
  at_us: number | null;
  age_s: number | null;
};

/** A stream: its account and its rate. */
export type StreamGlance = {
  name: string;
  read: number;
  landed: number;
  rejected: number;
  filtered: number;
  late: number;
  in_flight: number;
  holds: boolean;
  rows_per_s: number;
};

/** A sync: what was handed to it and what became of that; `oldest_s` is the age of what waits longest. */
export type SyncGlance = {
  name: string;
  model: string;
  type: string;
  state: string;
  error: string | null;
  hint: string | null;
  handed: number;
  delivered: number;
  superseded: number;
  parked: number;
  pending: number;
  failed: number;
  discarded: number;
  oldest_s: number | null;
  holds: boolean;
};

/** A lake table; files and bytes are of its data files, null until they were looked at. */
export type TableGlance = {
  name: string;
  rows: number;
  epoch: number;
  files: number | null;
  bytes: number | null;
};

/** Something that is wrong, and how to mend it. `kind` and `name` say what it is about, `what` is a sentence, `mend` a command or a sentence, `page` the path in the console that shows more. */
export type Trouble = {
  level: "fail" | "warn" | "info";
  kind: string;
  name: string;
  what: string;
  mend: string;
  page: string;
};
