/** The changes of a stream as a table, decoded or as they stand in the log. */
import { clock, utc } from "../format/time";
import { RowTable } from "../rows/row_table";
import type { LogRecord } from "./api";
import type { Shown } from "./use_tail";

interface Props {
  shown: Shown;
  raw: boolean;
  strong: string[];
  picked: LogRecord | null;
  onPick: (record: LogRecord) => void;
}

const OPS: Record<string, [string, string]> = {
  insert: ["insert", "ok"],
  create: ["insert", "ok"],
  snapshot: ["snapshot", "info"],
  read: ["snapshot", "info"],
  update: ["update", "info"],
  update_after: ["update", "info"],
  update_before: ["before", "idle"],
  upsert: ["upsert", "info"],
  delete: ["delete", "fail"],
  truncate: ["truncate", "warn"],
};

/** What a change does, in a word and a colour. */
export function Op({ record }: { record: LogRecord }) {
  const [word, tone] = OPS[record.op.toLowerCase()] ?? [record.op, record.weight < 0 ? "fail" : "idle"];
  return <span class={`op ${tone}`}>{word}</span>;
}

/** See above. */
export function Records({ shown, raw, strong, picked, onPick }: Props) {
  const { records } = shown;
  const at = (index: number) => records[index]!;
  const lead = [
    { heading: "offset", cell: (index: number) => <span class="offset">{at(index).offset}</span> },
    {
      heading: "time",
      cell: (index: number) => <time title={utc(at(index).at_us)}>{clock(at(index).at_us)}</time>,
    },
    { heading: "change", cell: (index: number) => <Op record={at(index)} /> },
  ];
  const columns = raw ? [{ name: "as in the log", type: "text" }] : shown.columns;
  const rows = raw ? records.map((record) => [record.raw ?? ""]) : records.map(({ values }) => values);
  return (
    <RowTable
      label="Changes, newest first"
      columns={columns}
      rows={rows}
      lead={lead}
      strong={strong}
      keyOf={(index) => at(index).offset}
      picked={picked ? records.findIndex(({ offset }) => offset === picked.offset) : null}
      onPick={(index) => onPick(at(index))}
    />
  );
}
