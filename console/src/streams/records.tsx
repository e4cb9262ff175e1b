/** The changes of a stream as a table, decoded or as they stand in the log. */
import { clock, utc } from "../format/time";
import { RowTable } from "../rows/row_table";
import type { Column, Record as LogRecord } from "../api/schema";
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
  read: ["read", "info"],
  snapshot_begin: ["reading begins", "idle"],
  snapshot_end: ["reading ends", "idle"],
  update: ["update", "info"],
  delete: ["delete", "fail"],
  truncate: ["truncate", "warn"],
};

/** What a change does, in a word and a colour. */
export function Op({ record }: { record: LogRecord }) {
  const [word, tone] = OPS[record.op] ?? [record.op, "idle"];
  if (record.op === "update" && record.weight < 0) return <span class="op idle">update: old</span>;
  return <span class={`op ${tone}`}>{word}</span>;
}

/** A record as the log holds it: where it came from, what it does, and its row by name. */
export function rawOf({ row, ...about }: LogRecord, columns: Column[]): Record<string, unknown> {
  return { ...about, row: Object.fromEntries(columns.map(({ name }, at) => [name, row[at] ?? null])) };
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
  const rows = raw
    ? records.map((record) => [JSON.stringify(rawOf(record, shown.columns))])
    : records.map(({ row }) => row);
  return (
    <RowTable
      label="Changes, newest first"
      columns={columns}
      rows={rows}
      lead={lead}
      strong={strong}
      keyOf={(index) => `${at(index).offset}:${at(index).weight}`}
      picked={picked ? records.findIndex(({ offset }) => offset === picked.offset) : null}
      onPick={(index) => onPick(at(index))}
    />
  );
}
