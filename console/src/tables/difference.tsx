/** What changed between two table snapshots, chosen by two handles. */
import { useEffect, useState } from "preact/hooks";
import { asProblem } from "../api/problem";
import { count } from "../format/number";
import { RowTable } from "../rows/row_table";
import { useSettled } from "../rows/use_settled";
import type { TableDetail, TableDiff, TableSnapshot } from "../api/schema";
import { diff } from "./api";
import { TimeSlider, told } from "./time_slider";

/** See above. It begins with what the newest snapshots changed. */
export function Difference({ table, snapshots }: { table: TableDetail; snapshots: TableSnapshot[] }) {
  const last = snapshots.length - 1;
  const [ends, setEnds] = useState<[string, string]>(() => [
    snapshots[Math.max(0, last - Math.max(1, Math.round(last / 10)))]!.id,
    snapshots[last]!.id,
  ]);
  const place = (id: string, otherwise: number) => {
    const at = snapshots.findIndex((one) => one.id === id);
    return at < 0 ? otherwise : at;
  };
  const [one, two] = [place(ends[0], 0), place(ends[1], last)];
  const [from, to] = one <= two ? [one, two] : [two, one];
  const asked = useSettled(`${snapshots[from]!.id} ${snapshots[to]!.id}`, 150);
  const [found, setFound] = useState<TableDiff | null>(null);
  const [problem, setProblem] = useState("");

  useEffect(() => {
    const stop = new AbortController();
    const [before, after] = asked.split(" ") as [string, string];
    diff(table.name, before, after, stop.signal).then(
      (answer) => {
        setFound(answer);
        setProblem("");
      },
      (error) => !stop.signal.aborted && setProblem(asProblem(error).detail),
    );
    return () => stop.abort();
  }, [table.name, asked]);

  return (
    <div class="difference">
      <TimeSlider
        snapshots={snapshots}
        handles={[
          { label: "From table snapshot", at: one, onMove: (at) => setEnds([snapshots[at]!.id, ends[1]]) },
          { label: "To table snapshot", at: two, onMove: (at) => setEnds([ends[0], snapshots[at]!.id]) },
        ]}
      />
      <p class="snapshot-facts" role="status">
        <span>
          from <b>{told(snapshots[from]!)}</b>
        </span>
        <span>
          to <b>{told(snapshots[to]!)}</b>
        </span>
      </p>
      {problem && (
        <p class="problem" role="alert">
          {problem}
        </p>
      )}
      {found && <Changed found={found} strong={table.key} />}
    </div>
  );
}

function Changed({ found, strong }: { found: TableDiff; strong: string[] }) {
  const weights = found.rows.map((row) => Number(row[0]));
  const weight = (at: number) => weights[at] ?? 0;
  const sign = (at: number) => (weight(at) > 0 ? `+${weight(at)}` : `−${-weight(at)}`);
  return (
    <>
      <p class="diff-counts">
        <span class="tone-ok">{count(found.added)} added</span>
        <span class="tone-fail">{count(found.removed)} removed</span>
        <span class="tone-info">{count(found.updated)} updated</span>
        {found.truncated && <span class="muted">the first {count(found.rows.length)} rows of it</span>}
      </p>
      {found.rows.length > 0 && (
        <RowTable
          columns={found.columns.slice(1)}
          rows={found.rows.map((row) => row.slice(1))}
          label="Rows that came and went"
          lead={[{ heading: "", cell: (at) => <span class="sign">{sign(at)}</span> }]}
          weight={weight}
          strong={strong}
        />
      )}
    </>
  );
}
