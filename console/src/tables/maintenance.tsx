/** What maintenance did to a table, and doing it now. */
import { useState } from "preact/hooks";
import { Empty } from "../components/empty";
import { toast, toastProblem } from "../components/toast";
import { bytes } from "../format/bytes";
import { count, plural } from "../format/number";
import { clock, span, utc } from "../format/time";
import type { MaintenanceRun, TableDetail } from "../api/schema";
import { maintain } from "./api";

/** See above. */
export function Maintenance({ table, onDone }: { table: TableDetail; onDone: () => void }) {
  const [busy, setBusy] = useState(false);
  const now = async () => {
    setBusy(true);
    try {
      const { state, error, runs } = await maintain(table.name);
      const done = runs.filter((run) => run.done).length;
      if (state === "failed") toast({ tone: "fail", text: error ?? "It failed" });
      else if (state === "waiting") toast({ tone: "info", text: "Asked for; ingestion goes first" });
      else toast({ tone: "ok", text: done ? `${plural(done, "task")} carried out` : "There was nothing to do" });
      onDone();
    } catch (error) {
      toastProblem(error);
    } finally {
      setBusy(false);
    }
  };
  const runs = [...table.maintenance].sort((one, other) => other.at_us - one.at_us);
  return (
    <div class="maintenance">
      <p class="maintenance-head">
        <span class="muted">
          Small files are compacted, old table snapshots expired and orphans removed beside ingestion, which goes first.
        </span>
        <button type="button" class="button" disabled={busy} onClick={now}>
          {busy ? "At it …" : "Maintain now"}
        </button>
      </p>
      {runs.length ? (
        <Runs runs={runs} />
      ) : (
        <Empty title="Nothing was done yet">The table has needed no maintenance so far.</Empty>
      )}
    </div>
  );
}

function Runs({ runs }: { runs: MaintenanceRun[] }) {
  return (
    <div class="table-wrap" tabIndex={0} role="region" aria-label="Maintenance runs">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">began</th>
            <th scope="col">task</th>
            <th scope="col">why</th>
            <th scope="col" class="num">
              took
            </th>
            <th scope="col" class="num">
              files
            </th>
            <th scope="col" class="num">
              read
            </th>
            <th scope="col" class="num">
              written
            </th>
            <th scope="col">said</th>
          </tr>
        </thead>
        <tbody>
          {runs.map((run) => (
            <tr key={`${run.at_us}-${run.kind}`} class={!run.done && run.note ? "quiet" : undefined}>
              <td title={utc(run.at_us)}>{clock(run.at_us)}</td>
              <td>{run.kind.replaceAll("_", " ")}</td>
              <td title={run.reason}>{run.reason}</td>
              <td class="num">{span(run.took_s * 1000)}</td>
              <td class="num">
                {count(run.files_removed)} → {count(run.files_added)}
              </td>
              <td class="num">{bytes(run.bytes_read)}</td>
              <td class="num">{bytes(run.bytes_written)}</td>
              <td title={run.note}>{run.note || (run.done ? "done" : "nothing to do")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
