/** Time travel: the rows as of a table snapshot, chosen by a slider. */
import { useEffect, useState } from "preact/hooks";
import { asProblem } from "../api/problem";
import { count } from "../format/number";
import { utc } from "../format/time";
import { Loading } from "../components/empty";
import { RowTable } from "../rows/row_table";
import { useSettled } from "../rows/use_settled";
import type { TableDetail, TableRows, TableSnapshot } from "../api/schema";
import { rowsAt } from "./api";
import { TimeSlider } from "./time_slider";

/** See above. The newest snapshot is followed as new ones come. */
export function Travel({ table, snapshots }: { table: TableDetail; snapshots: TableSnapshot[] }) {
  const [chosen, setChosen] = useState<string | null>(null);
  const found = chosen === null ? -1 : snapshots.findIndex(({ id }) => id === chosen);
  const at = found < 0 ? snapshots.length - 1 : found;
  const shown = snapshots[at]!;
  const asked = useSettled(shown.id, 120);
  const [rows, setRows] = useState<TableRows | null>(null);
  const [problem, setProblem] = useState("");

  useEffect(() => {
    const stop = new AbortController();
    rowsAt(table.name, asked, stop.signal).then(
      (answer) => {
        setRows(answer);
        setProblem("");
      },
      (error) => !stop.signal.aborted && setProblem(asProblem(error).detail),
    );
    return () => stop.abort();
  }, [table.name, asked]);

  const now = at === snapshots.length - 1;
  return (
    <div class="travel">
      <TimeSlider
        snapshots={snapshots}
        handles={[
          {
            label: "As of table snapshot",
            at,
            onMove: (place) => setChosen(place === snapshots.length - 1 ? null : (snapshots[place]?.id ?? null)),
          },
        ]}
      />
      <SnapshotFacts one={shown} now={now} onNow={() => setChosen(null)} />
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {!rows && !problem && <Loading />}
      {rows && (
        <>
          <RowTable columns={rows.columns} rows={rows.rows} label="Rows as of then" strong={table.key} />
          {shown.rows !== null && shown.rows > rows.rows.length && (
            <p class="muted more">
              {count(rows.rows.length)} of {count(shown.rows)} rows
            </p>
          )}
        </>
      )}
    </div>
  );
}

function SnapshotFacts({ one, now, onNow }: { one: TableSnapshot; now: boolean; onNow: () => void }) {
  return (
    <p class="snapshot-facts" role="status">
      <b>{now ? "Now" : utc(one.at_us)}</b>
      {!now && (
        <button type="button" class="button small" onClick={onNow}>
          Back to now
        </button>
      )}
      <span>{one.epoch === null ? "of another writer" : `epoch ${count(one.epoch)}`}</span>
      <span>{one.maintenance ? "maintenance" : one.operation}</span>
      <span>{count(one.rows)} rows</span>
      {!!one.added && <span class="tone-ok">+{count(one.added)}</span>}
      {!!one.deleted && <span class="tone-fail">−{count(one.deleted)}</span>}
      {one.named.map((ref) => (
        <span class="badge plain info" key={ref}>
          {ref}
        </span>
      ))}
      <code class="muted">snapshot {one.id}</code>
    </p>
  );
}
