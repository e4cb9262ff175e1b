import { post } from "../api/client";
import { Badge, type Tone } from "../components/badge";
import { confirm } from "../components/dialog";
import { Icon } from "../components/icon";
import { Panel } from "../components/page";
import { Table, type TableColumn } from "../components/table";
import { toastProblem } from "../components/toast";
import { count, percent } from "../format/number";
import { span } from "../format/time";
import type { Apply as Change, Difference } from "../api/schema";

const TONES: Record<string, Tone> = { done: "ok", failed: "fail", refused: "fail", cancelled: "idle", differs: "warn" };

/** The change under way, or the last one: its steps, how far it is, and what the versions differ in. */
export function ChangeUnderWay({ change, onDone }: { change: Change; onDone: () => void }) {
  const decide = async (what: "cancel" | "proceed") => {
    const sure = await confirm(
      what === "cancel"
        ? {
            title: "Give the change up?",
            text: "The new versions are dropped. What runs now goes on.",
            confirm: "Give up",
            danger: true,
          }
        : {
            title: "Swap although the versions differ?",
            text: "The new versions take the place of those that run.",
            confirm: "Swap",
          },
    );
    if (!sure) return;
    try {
      await post(`/v1/apply/${what}`, {});
      onDone();
    } catch (error) {
      toastProblem(error);
    }
  };
  const { rows, rows_total, behind_rows } = change.progress;
  return (
    <Panel
      title={change.over ? "The last change" : "The change under way"}
      actions={<Badge tone={TONES[change.state] ?? "info"}>{change.state}</Badge>}
      class="change"
    >
      <ol class="steps" aria-label="Steps">
        {change.steps.map((step) => (
          <li key={step.name} class={step.state} aria-current={step.state === "now" ? "step" : undefined}>
            <span class="mark">
              {step.state === "done" ? (
                <Icon name="check" size={12} />
              ) : step.state === "failed" ? (
                <Icon name="close" size={12} />
              ) : null}
            </span>
            {step.name.replaceAll("_", " ")}
            <span class="sr-only"> ({step.state})</span>
          </li>
        ))}
      </ol>
      <div class="body">
        {!change.over && rows_total > 0 && (
          <div class="how-far">
            <div
              class="meter"
              role="progressbar"
              aria-label="Rows read"
              aria-valuemin={0}
              aria-valuemax={rows_total}
              aria-valuenow={Math.min(rows, rows_total)}
            >
              <div style={{ width: `${Math.min(100, (100 * rows) / rows_total)}%` }} />
            </div>
            <span class="muted">
              {count(rows)} of {count(rows_total)} rows{behind_rows > 0 && `, ${count(behind_rows)} behind`}
            </span>
          </div>
        )}
        {change.error && (
          <div class="problem" role="alert">
            <p>
              <strong>{change.error}</strong>
            </p>
            {change.hint && <p>{change.hint}</p>}
          </div>
        )}
        {change.state === "done" && (
          <p class="notice ok">
            {Object.keys(change.models).join(", ") || "All"} swapped in at epoch {count(change.epoch)}; epochs waited{" "}
            {span(change.pause_ms)} for it.
          </p>
        )}
        {!change.over && (
          <div class="decide">
            <button type="button" class="button" onClick={() => decide("cancel")}>
              Give up
            </button>
            {change.state === "differs" && (
              <button type="button" class="button primary" onClick={() => decide("proceed")}>
                Swap all the same
              </button>
            )}
          </div>
        )}
      </div>
      {change.compared.length > 0 && (
        <Table
          columns={COMPARED}
          rows={change.compared}
          label="What the two versions differ in"
          rowKey={(one) => one.model}
        />
      )}
    </Panel>
  );
}

const COMPARED: TableColumn<Difference>[] = [
  { id: "model", title: "Model", head: true, cell: (one) => one.model },
  { id: "before", title: "Rows before", num: true, cell: (one) => count(one.before) },
  { id: "after", title: "After", num: true, cell: (one) => count(one.after) },
  { id: "gone", title: "Gone", num: true, cell: (one) => count(one.gone) },
  { id: "came", title: "Came", num: true, cell: (one) => count(one.came) },
  { id: "changed", title: "Changed", num: true, cell: (one) => count(one.changed) },
  { id: "share", title: "Differ", num: true, cell: (one) => percent(one.share) },
];
