// Made by `make docs` from the API's OpenAPI document; not to be edited.

/** All accounts. `holds` is whether every one adds up. `epoch` is the last whole one that they are of. */
export type Accounting = {
  epoch: number;
  holds: boolean;
  streams: (StreamLine)[];
  models: (Line)[];
  syncs: (SyncLine)[];
  aside: (AsideLine)[];
};

/** What goes well still and will not for ever. */
export type Alarm = {
  code: string;
  message: string;
  hint: string;
};

/** How the change under way, or the last one, stands. Attributes: state: none, asked, building, following, canary, differs, swapping, done, failed, cancelled or refused. models: what is built, with why. pause_ms: how long epochs waited for it at most. */
export type Apply = {
  id: string | null;
  state: string;
  over: boolean;
  models: { [name: string]: string };
  leave: (string)[];
  steps: (Step)[];
  progress: Progress;
  epoch: number | null;
  compared: (Difference)[];
  pause_ms: number;
  error: string;
  hint: string;
};

/** Of a stream or model of which checks set rows aside: what became of the rows that it offered. */
export type AsideLine = {
  name: string;
  counts: { [name: string]: number };
  holds: boolean;
};

/** Asks for the project's files to be applied. */
export type AskApply = {
  canary_s?: number | null;
  tolerance?: number | null;
  digest?: string | null;
  confirm?: boolean;
};

/** Which entries are counted. */
export type AskCauses = {
  settled?: boolean;
};

/** Which checks. */
export type AskChecks = {
  model?: string | null;
  history?: number;
};

/** Decides about the change under way. */
export type AskDecision = {
  id?: string | null;
};

/** Between which moments. */
export type AskDiff = {
  from: string;
  to?: string | null;
  limit?: number;
};

/** Which events. */
export type AskEvents = {
  topics?: string;
  after?: number | null;
};

/** Which part of the stream. */
export type AskFixture = {
  from?: number | null;
  to?: number | null;
  limit?: number;
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

/** That a table is kept now. */
export type AskMaintain = {
  confirm?: true;
};

/** Asks for the plan of the project's files as they are. */
export type AskPlan = { [name: string]: unknown };

/** Where to begin, and which records. */
export type AskRecords = {
  offset?: number | null;
  at_us?: number | null;
  from?: "earliest" | "latest" | null;
  limit?: number;
  filter?: string;
  reverse?: boolean;
};

/** Which entries. */
export type AskRejects = {
  stream?: string | null;
  stage?: string | null;
  reason?: string | null;
  state?: "open" | "requested" | "replayed" | "superseded" | "discarded" | null;
  after?: number;
  limit?: number;
};

/** Asks for the version of a model that ran before. */
export type AskRollback = {
  model: string;
  force?: boolean;
  confirm?: boolean;
};

/** As of when, and how many. */
export type AskRows = {
  at?: string | null;
  snapshot?: string | null;
  limit?: number;
};

/** What is to become of readings of tables. start reads tables again while their changes are followed; pause, resume and stop are of those asked for so far, all of them if no table is named. */
export type AskSnapshots = {
  action: "start" | "pause" | "resume" | "stop";
  tables?: (string)[];
};

/** Which records. */
export type AskTail = {
  filter?: string;
  last?: number;
};

/** What was asked for; /v1/maintenance/{id} says what became of it. */
export type Asking = {
  id: string;
};

/** A change that was asked for. */
export type Begun = {
  id: string;
};

/** All sources, and the newest 200 changes of columns, newest first. */
export type Capture = {
  sources: (CapturedSource)[];
  schema_changes: (SchemaChange)[];
};

/** A source closely. `position` is as the source writes it where that is known, else a number as text. `figures` are those of its type, named with units: of PostgreSQL slot, wal_kept_bytes, wal_budget_bytes, wal_safe_bytes; of MySQL the binary log's. `retained_bytes` is what the server keeps for us, null where that is not known. */
export type CapturedSource = {
  name: string;
  type: string;
  state: string;
  error: string | null;
  hint: string | null;
  lag_bytes: number | null;
  lag_unit: string;
  retained_bytes: number | null;
  position: string | null;
  figures: { [name: string]: unknown };
  alarms: (Alarm)[];
  gaps: number;
  snapshots: (Snapshot)[];
  can_snapshot: boolean;
  asked: (Waiting)[];
  log: LogPart;
  streams: (string)[];
};

/** Entries that failed alike. `example` is the number of the newest, `message` what it says. `replays` is false where trying again makes no sense (an accepted gap). */
export type Cause = {
  stream: string;
  stage: string;
  reason: string;
  state: "open" | "requested" | "replayed" | "superseded" | "discarded";
  count: number;
  first_seen_us: number;
  last_seen_us: number;
  example: number;
  message: string;
  replays: boolean;
};

/** What entries have in common. */
export type CauseOf = {
  stream: string;
  stage?: string | null;
  reason?: string | null;
};

/** All causes, the most frequent first. */
export type Causes = {
  causes: (Cause)[];
};

/** Checks of a model by their outcome. */
export type CheckCounts = {
  ok: number;
  warn: number;
  fail: number;
};

/** How a check stands now, and before (`history`, the newest first). `says` is what must be true, `message` how it stands, `example` one of the rows that fail. */
export type CheckLine = {
  at_us: number;
  epoch: number;
  state: "ok" | "warn" | "fail" | "unknown";
  failing: number | null;
  value: number | null;
  score: number | null;
  model: string;
  name: string;
  kind: string;
  severity: "warn" | "reject" | "stop";
  message: string;
  example: string;
  says: string;
  history: (Outcome)[];
};

/** One checkpoint. `new_bytes` were written for it, the rest is shared with the one before; `kind` is full or incremental; `parts` are bytes by "stream:NAME" and "model:NAME". `kept`: it is there, and can be gone back to. */
export type Checkpoint = {
  epoch: number;
  at_us: number;
  duration_ms: number;
  bytes: number;
  new_bytes: number;
  files: number;
  kind: string;
  parts: { [name: string]: number };
  kept: boolean;
};

/** The newest checkpoints, newest first, and the current one, null before the first, with its age. `restore` says how to go back to one that is kept, and what that means. */
export type Checkpoints = {
  current: Checkpoint | null;
  age_s: number | null;
  interval_s: number;
  epochs_since: number;
  history: (Checkpoint)[];
  restore: string;
};

/** All checks. */
export type Checks = {
  checks: (CheckLine)[];
};

/** A column: its name, and its type as DuckDB writes it. */
export type Column = {
  name: string;
  type: string;
};

/** What became of a column: added, removed, renamed, retyped; `key`: the stream has another key. */
export type ColumnChange = {
  what: "added" | "removed" | "renamed" | "retyped" | "key";
  column: string;
  was: string;
  now: string;
};

/** A column and where it comes from. */
export type ColumnLineage = {
  column: string;
  from: (Origin)[];
};

/** How many entries it was about. */
export type Decided = {
  moved: number;
};

/** Which entries, by number or by what they failed of; and that it is meant. */
export type Decision = {
  ids?: (number)[];
  cause?: CauseOf | null;
  confirm: true;
};

/** What differs between two versions of a model, as of the same epoch. */
export type Difference = {
  model: string;
  before: number;
  after: number;
  gone: number;
  came: number;
  changed: number;
  share: number;
  columns_gone: (string)[];
  columns_came: (string)[];
  sample: ({ [name: string]: unknown })[];
};

/** The text of a model, front matter and all. `name` is its name, if it has one. */
export type Draft = {
  sql: string;
  name?: string | null;
  limit?: number | null;
};

/** From one node to the one that reads it; `rows_per_s` is what its beginning gives. */
export type Edge = {
  from: string;
  to: string;
  rows_per_s: number | null;
};

/** A SELECT that is not to be run. */
export type Explained = {
  sql: string;
};

/** The dataflow from sources to tables and syncs. */
export type Graph = {
  nodes: (Node)[];
  edges: (Edge)[];
};

/** Figures of the last quarter of an hour, a sample a second: `series` by `kind:name:figure`, null where there was none. */
export type History = {
  at_us: (number)[];
  series: { [name: string]: (number | null)[] };
};

/** Whether every account adds up. */
export type Holds = {
  holds: boolean;
};

/** A stream or model that a model is built from; null where nobody knows yet. */
export type Input = {
  name: string;
  rows: number | null;
  bytes: number | null;
  where: string;
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
  fields: { [name: string]: unknown };
};

/** A model whose state goes on. */
export type Kept = {
  model: string;
  bytes: number | null;
};

/** How new files are written: columns that they are partitioned by, sorted by, and have Bloom filters of. */
export type Layout = {
  partition: (string)[];
  sort: (string)[];
  bloom: (string)[];
};

/** An account; `difference` is what it lacks: positive if records are unaccounted for, negative if counted twice. */
export type Line = {
  name: string;
  read: number;
  landed: number;
  rejected: number;
  filtered: number;
  late: number;
  in_flight: number;
  holds: boolean;
  difference: number;
};

/** The lineage of all models; `unknown` says why some are not there. */
export type Lineage = {
  models: (ModelLineage)[];
  streams: { [name: string]: (string)[] };
  unknown: { [name: string]: string };
};

/** What our own log keeps of a source. */
export type LogPart = {
  base: number;
  head: number;
  segments: number;
  bytes: number;
};

/** What became of it: `waiting`, `done`, or `failed` with the error. */
export type Maintained = {
  id: string;
  state: "waiting" | "done" | "failed";
  error: string | null;
  runs: ({ [name: string]: unknown })[];
};

/** One task of maintenance that was carried out, or failed (`note` says why). */
export type MaintenanceRun = {
  kind: string;
  reason: string;
  at_us: number;
  took_s: number;
  cpu_s: number;
  done: boolean;
  note: string;
  files_removed: number;
  files_added: number;
  bytes_read: number;
  bytes_written: number;
  rows: number;
};

/** A mistake in the project's files. */
export type Mistake = {
  message: string;
  hint: string;
  file: string;
  line: number;
  column: number;
};

/** A model. `rows_per_s` is what it reads, `given_per_s` what it gives; `busy` the share of the time in which it was computed, 0 to 1; `rows` those of its table; `state_bytes` its state in the last checkpoint. */
export type ModelGlance = {
  name: string;
  state: string;
  error: string | null;
  rows: number;
  rows_per_s: number;
  given_per_s: number;
  watermark_us: number | null;
  busy: number | null;
  state_bytes: number | null;
  holds: boolean;
  checks: CheckCounts;
};

/** A model's columns with what they are made of, and what decides which rows there are. */
export type ModelLineage = {
  model: string;
  columns: (ColumnLineage)[];
  rows: (Origin)[];
  reads: (string)[];
};

/** A model before it runs, with its first rows. */
export type ModelPreview = {
  columns: (Column)[];
  rows: ((unknown)[])[];
  truncated: boolean;
  reads: (string)[];
  key: (string)[];
  incremental: (Way)[];
  notes: (string)[];
  problems: (ModelProblem)[];
  note: string;
  elapsed_ms: number;
};

/** What is wrong with a model, and where: lines and columns count from 1. */
export type ModelProblem = {
  level: "fail" | "warn";
  message: string;
  hint: string;
  file: string;
  line: number;
  column: number;
};

/** The text of a model as it lies in the project. */
export type ModelText = {
  sql: string;
  digest: string;
  path: string;
};

/** What can be written: tables with their columns, streams that have no table, functions, keywords. */
export type Names = {
  tables: { [name: string]: (Column)[] };
  streams: { [name: string]: (Column)[] };
  functions: (string)[];
  keywords: (string)[];
  elapsed_ms: number;
};

/** What building one model takes. */
export type Need = {
  model: string;
  inputs: (Input)[];
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

/** One node closely. What a node of its kind has not is empty. */
export type NodeDetail = {
  id: string;
  kind: "source" | "stream" | "model" | "table" | "sync";
  name: string;
  state: string;
  error: string | null;
  columns: (Column)[];
  key: (string)[];
  sql: string;
  settings: { [name: string]: unknown };
  operators: (Operator)[];
  explain: string;
  lineage: (ColumnLineage)[];
  sample: Rows;
  metrics: { [name: string]: number | null };
  upstream: (string)[];
  downstream: (string)[];
};

/** One operator of a model. `reads` are ids of others; `keeps` says what state it has. */
export type Operator = {
  id: string;
  title: string;
  detail: string;
  keeps: string;
  reads: (string)[];
};

/** Where a column's values come from. `how`: as it is, computed, aggregated, or only filtered or joined by. */
export type Origin = {
  node: string;
  column: string;
  how: string;
};

/** How a check stood after an epoch. */
export type Outcome = {
  at_us: number;
  epoch: number;
  state: "ok" | "warn" | "fail" | "unknown";
  failing: number | null;
  value: number | null;
  score: number | null;
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
  freshness_ms: { [name: string]: number | null };
  sources: (SourceGlance)[];
  models: (ModelGlance)[];
  tables: (TableGlance)[];
  syncs: (SyncGlance)[];
  rejects: RejectsGlance;
  accounting: Holds;
  problems: (Trouble)[];
};

/** What applying the project's files would do. With mistakes nothing is known and nothing can be applied. Attributes: digest: of the models' files; give it to `POST /v1/apply` to apply just these. restart: sources whose settings changed, which takes a restart of `headwater run`. versions: by model, how many versions have run, so that one can be rolled back to. */
export type Plan = {
  digest: string;
  items: (PlanItem)[];
  needs: (Need)[];
  kept: (Kept)[];
  can_apply: boolean;
  restart: (string)[];
  mistakes: (Mistake)[];
  versions: { [name: string]: number };
};

/** From what is read to what reads it. */
export type PlanEdge = {
  from: string;
  to: string;
};

/** One thing of the project, and what becomes of it; the words are those of `headwater plan --json`. */
export type PlanItem = {
  kind: string;
  name: string;
  state: string;
  consequence: string;
  reason: string;
};

/** A step of DuckDB's plan. `rows` is its estimate. */
export type PlanNode = {
  id: string;
  name: string;
  detail: string;
  rows: number | null;
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

/** How far the new versions are. */
export type Progress = {
  rows: number;
  rows_total: number;
  bytes_total: number;
  behind_rows: number;
};

/** One change as it lies in the log. `position` is the source's, "commit:ordinal"; `at_us` its commit time there, null if unknown; `row` has the values in the order of the columns. */
export type Record = {
  offset: number;
  op: "read" | "insert" | "update" | "delete" | "truncate" | "snapshot_begin" | "snapshot_end";
  weight: number;
  position: string;
  at_us: number | null;
  row: (unknown)[];
};

/** Records of a stream. `next_offset` is where to ask next, in the same direction; `done` is true when the end (or with `reverse` the beginning) of the log was reached; neither full nor done means that the time for looking ran out: ask on. `scanned` counts the log's records that were looked at. */
export type Records = {
  stream: string;
  columns: (Column)[];
  records: (Record)[];
  base: number;
  head: number;
  next_offset: number;
  done: boolean;
  scanned: number;
};

/** One entry; `bytes` is the size of its record. */
export type Reject = {
  id: number;
  epoch: number;
  stream: string;
  stage: string;
  reason: string;
  message: string;
  position: string;
  key: string;
  weight: number;
  state: "open" | "requested" | "replayed" | "superseded" | "discarded";
  attempts: number;
  first_seen_us: number;
  last_seen_us: number;
  bytes: number;
};

/** One entry whole. `raw_base64` are its bytes as they came, `raw_text` the same where they are text; both end early if `truncated`. `rows` is what it would have been; `undecodable` why that cannot be said. */
export type RejectDetail = {
  id: number;
  epoch: number;
  stream: string;
  stage: string;
  reason: string;
  message: string;
  position: string;
  key: string;
  weight: number;
  state: "open" | "requested" | "replayed" | "superseded" | "discarded";
  attempts: number;
  first_seen_us: number;
  last_seen_us: number;
  bytes: number;
  raw_base64: string;
  raw_text: string | null;
  truncated: boolean;
  rows: ({ [name: string]: unknown })[];
  undecodable: string | null;
};

/** Entries, oldest first; `next_after` asks for those that follow, null if there are none. */
export type Rejects = {
  rejects: (Reject)[];
  next_after: number | null;
};

/** Rejects that wait for a decision, and of how many kinds (stream and stage) they are. */
export type RejectsGlance = {
  open: number;
  causes: number;
};

/** Rows as a table. */
export type Rows = {
  columns: (Column)[];
  rows: ((unknown)[])[];
  truncated: boolean;
};

/** Where the text was written. Nothing runs it until it is applied. */
export type Saved = {
  path: string;
  digest: string;
};

/** The text that a model is to have. `digest` is that of the text that was read; without one the model is new. */
export type SavedText = {
  sql: string;
  digest?: string | null;
};

/** A stream had other columns from an epoch on. */
export type SchemaChange = {
  at_us: number;
  epoch: number;
  source: string;
  stream: string;
  changes: (ColumnChange)[];
};

/** How far the reading of a table is. States: waiting, running, paused, done, stopped. */
export type Snapshot = {
  table: string;
  state: string;
  rows: number;
  expected: number | null;
  message: string;
};

/** How far the first reading of a table is; `expected` rows by the source's statistics, null if unknown. */
export type SnapshotGlance = {
  table: string;
  state: string;
  rows: number;
  expected: number | null;
  message: string;
};

/** How other programs read the table; references such as $S3_KEY stand where credentials go. */
export type Snippets = {
  duckdb: string;
  spark: string;
  pyiceberg: string;
  polars: string;
  headwater: string;
};

/** A source: how it fares. `health` holds figures of its type, named with their units. */
export type SourceGlance = {
  name: string;
  type: string;
  state: string;
  error: string | null;
  hint: string | null;
  lag_bytes: number | null;
  lag_unit: string;
  rows_per_s: number;
  position: number | null;
  gaps: number;
  health: { [name: string]: unknown };
  alarms: (Alarm)[];
  snapshots: (SnapshotGlance)[];
  streams: (StreamGlance)[];
};

/** Rows; `note` says which moment they are of, `truncated` that there are more. */
export type SqlAnswer = {
  columns: (Column)[];
  rows: ((unknown)[])[];
  truncated: boolean;
  note: string;
  elapsed_ms: number;
};

/** How a SELECT would be answered. */
export type SqlPlan = {
  nodes: (PlanNode)[];
  edges: (PlanEdge)[];
  text: string;
  note: string;
  elapsed_ms: number;
};

/** The last checkpoint; nulls before the first. */
export type Standing = {
  epoch: number | null;
  at_us: number | null;
  age_s: number | null;
};

/** A SELECT. Without `fresh` mirrors alone are read to the last durable change, and all else as of the last epoch; `at` is a moment ("2 hours ago", "epoch 17"). */
export type Statement = {
  sql: string;
  at?: string | null;
  fresh?: boolean | null;
  limit?: number | null;
};

/** A step of a change. */
export type Step = {
  name: string;
  state: string;
};

/** A stream. Offsets are those of its source's log, which its records share with those of other streams: `base` is the first that is kept, `head` the next to be written. `changes` counts all since the beginning. `changelog` says how much a change holds: append, upsert (deletes are keys only), full. `timed`: it can be sought by time. */
export type Stream = {
  name: string;
  source: string;
  type: string;
  key: (string)[];
  changelog: string;
  columns: (Column)[];
  base: number;
  head: number;
  changes: number;
  rejects: number;
  rows_per_s: number;
  timed: boolean;
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

/** Of a stream, with its source. */
export type StreamLine = {
  name: string;
  read: number;
  landed: number;
  rejected: number;
  filtered: number;
  late: number;
  in_flight: number;
  holds: boolean;
  difference: number;
  source: string;
};

/** All streams that are known. */
export type Streams = {
  streams: (Stream)[];
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

/** Of a sync: handed = delivered + superseded + parked + pending + failed + discarded, if it holds. */
export type SyncLine = {
  name: string;
  model: string;
  handed: number;
  delivered: number;
  superseded: number;
  parked: number;
  pending: number;
  failed: number;
  discarded: number;
  holds: boolean;
};

/** A table closely. `snapshots` are the newest 200, newest first; `files` the largest 200 of `files_total`; `health` holds the figures that maintenance goes by; `held` says why it was rolled back and is left alone. */
export type TableDetail = {
  name: string;
  rows: number;
  epoch: number;
  files: number | null;
  bytes: number | null;
  kind: string;
  feeds: string;
  columns: (Column)[];
  held: string | null;
  key: (string)[];
  location: string;
  snapshots: (TableSnapshot)[];
  snapshots_total: number;
  files_listed: (TableFile)[];
  files_total: number;
  layout: Layout;
  health: { [name: string]: number };
  maintenance: (MaintenanceRun)[];
  snippets: Snippets;
};

/** What changed between two moments; rows that only moved to other files are left out. `rows` are those that went and came, each with its weight first: -1 gone, +1 come. An update of a key is both, and counted as `updated`. */
export type TableDiff = {
  columns: (Column)[];
  rows: ((unknown)[])[];
  truncated: boolean;
  added: number;
  removed: number;
  updated: number;
};

/** A table. `kind` says what it keeps (mirror, changelog, history, append), `feeds` the stream or model that it is of: "stream:orders", "model:revenue", or "" for a table of another writer. */
export type TableEntry = {
  name: string;
  rows: number;
  epoch: number;
  files: number | null;
  bytes: number | null;
  kind: string;
  feeds: string;
};

/** One file: data, or deletes (rows of data files that are gone). */
export type TableFile = {
  path: string;
  kind: string;
  rows: number;
  bytes: number;
  partition: string;
};

/** A lake table; files and bytes are of its data files, null until they were looked at. */
export type TableGlance = {
  name: string;
  rows: number;
  epoch: number;
  files: number | null;
  bytes: number | null;
};

/** Rows of a table, in no order. `note` says which moment they are of. */
export type TableRows = {
  columns: (Column)[];
  rows: ((unknown)[])[];
  truncated: boolean;
  note: string;
  elapsed_ms: number;
};

/** One table snapshot. `id` is text, for it may be beyond 2^53; it is what `snapshot=`, `from=` and `to=` take. Nulls are what the commit does not say. `named` are tags and branches. */
export type TableSnapshot = {
  id: string;
  at_us: number;
  epoch: number | null;
  operation: string;
  maintenance: boolean;
  current: boolean;
  rows: number | null;
  added: number | null;
  deleted: number | null;
  files: number | null;
  bytes: number | null;
  named: (string)[];
};

/** All tables of the lake. */
export type Tables = {
  format: string;
  tables: (TableEntry)[];
};

/** Whether the source has taken note of it: `taken`, `refused` with why, or `waiting` for it to look. */
export type Took = {
  id: string;
  state: "taken" | "refused" | "waiting";
  why: string | null;
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

/** Something that was asked for and not taken up yet. */
export type Waiting = {
  id: string;
  action: string;
  tables: (string)[];
  at_us: number;
};

/** How one operator of a model is kept up to date. `last_resort` says what each change costs, if there is no key to work by. */
export type Way = {
  operator: string;
  way: string;
  detail: string;
  reads: (string)[];
  last_resort: string;
};
