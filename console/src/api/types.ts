// Answers of the JSON API, as /v1/openapi.json says them. Times are microseconds since 1970 (UTC).

export interface Account {
  read: number;
  landed: number;
  rejected: number;
  filtered: number;
  late: number;
  in_flight: number;
}

export interface StreamState extends Partial<Account> {
  name: string;
}

export interface SourceState {
  name: string;
  type?: string;
  state: string;
  error: string | { message: string; hint?: string } | null;
  lag_bytes: number | null;
  rows_per_s: number;
  alarms: { [name: string]: unknown }[];
  snapshots: { [name: string]: unknown }[];
  streams: StreamState[];
}

export interface ModelState extends Partial<Account> {
  name: string;
  state?: string;
  error?: string | null;
  rows?: number;
  rows_per_s?: number;
  watermark_us?: number | null;
  checks?: { ok: number; warn: number; fail: number };
}

export interface TableState {
  name: string;
  rows: number;
  epoch: number;
  files?: number | null;
  bytes?: number | null;
}

export interface SyncState {
  name: string;
  model: string;
  type: string;
  state: string;
  error: { message: string; hint?: string } | null;
  handed: number;
  delivered: number;
  waiting?: number;
  parked?: number;
  rows_per_s?: number;
  [more: string]: unknown;
}

export interface ProblemItem {
  level: "fail" | "warn" | "info";
  kind: string;
  name: string;
  what: string;
  mend: string;
  page: string;
}

export interface Overview {
  project: string;
  version: string;
  state: string;
  since_us: number | null;
  now_us: number;
  epoch: number;
  checkpoint: { epoch: number | null; at_us?: number | null; age_s?: number | null };
  freshness_ms: { [name: string]: number | null };
  sources: SourceState[];
  models: ModelState[];
  tables: TableState[];
  syncs: SyncState[];
  rejects: { open: number; causes?: number };
  accounting: { holds: boolean };
  problems: ProblemItem[];
}

export interface JournalEntry {
  at_us?: number;
  [name: string]: unknown;
}

export interface History {
  at_us: number[];
  series: Record<string, (number | null)[]>;
}

export interface GraphNode {
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
}

export interface GraphEdge {
  from: string;
  to: string;
  rows_per_s: number | null;
}

export interface Graph {
  nodes: GraphNode[];
  edges: GraphEdge[];
}

export interface Column {
  name: string;
  type: string;
}

export interface NodeDetail {
  columns: Column[];
  sql?: string | null;
  settings?: { [name: string]: unknown } | null;
  operators?: { [name: string]: unknown }[] | null;
  lineage?: { column: string; from: { node: string; column: string; how?: string }[] }[] | null;
  sample?: { columns: (Column | string)[]; rows: unknown[][] } | null;
  metrics?: { [name: string]: unknown } | null;
  upstream?: string[];
  downstream?: string[];
}
