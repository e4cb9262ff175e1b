// One node closely, as GET /v1/graph/{kind}/{name} answers it.
import type { Column } from "../api/schema";

export interface NodeDetail {
  id: string;
  state: string;
  error: string | null;
  columns: Column[];
  key: string[];
  sql: string;
  settings: Record<string, unknown>;
  operators: { id: string; title: string; detail: string; keeps: string; reads: string[] }[];
  explain: string;
  lineage: { column: string; from: { node: string; column: string; how: string }[] }[];
  sample: { columns: Column[]; rows: unknown[][]; truncated: boolean };
  metrics: Record<string, number | null>;
  upstream: string[];
  downstream: string[];
}
