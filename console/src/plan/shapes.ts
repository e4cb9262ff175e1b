// What the routes of plan and apply answer.

export interface PlanItem {
  kind: string;
  name: string;
  state: string;
  consequence: string;
  reason: string;
}

export interface Plan {
  digest: string;
  items: PlanItem[];
  needs: { model: string; inputs: { name: string; rows: number | null; bytes: number | null; where: string }[] }[];
  kept: { model: string; bytes: number | null }[];
  can_apply: boolean;
  restart: string[];
  mistakes: { message: string; hint: string; file: string; line: number; column: number }[];
  versions: Record<string, number>;
}

export interface Difference {
  model: string;
  before: number;
  after: number;
  gone: number;
  came: number;
  changed: number;
  share: number;
}

export interface Change {
  id: string | null;
  state: string;
  over: boolean;
  models: Record<string, string>;
  leave: string[];
  steps: { name: string; state: string }[];
  progress: { rows: number; rows_total: number; behind_rows: number };
  epoch: number | null;
  compared: Difference[];
  pause_ms: number;
  error: string;
  hint: string;
}
