/** One change whole: every column, and the record as it stands in the log. */
import { Code } from "../components/code";
import { clock, utc } from "../format/time";
import type { Column, Record as LogRecord } from "../api/schema";
import { kindOf, textOf } from "../rows/values";
import { Op, rawOf } from "./records";

interface Props {
  record: LogRecord;
  columns: Column[];
  onClose: () => void;
}

/** See above. */
export function RecordDetail({ record, columns, onClose }: Props) {
  return (
    <aside class="panel record-detail" aria-label={`Change at offset ${record.offset}`}>
      <header>
        <h2>Offset {record.offset}</h2>
        <Op record={record} />
        <div class="actions">
          <button type="button" class="button ghost small" onClick={onClose}>
            Close
          </button>
        </div>
      </header>
      <div class="body">
        <dl class="facts">
          <dt>committed</dt>
          <dd title={utc(record.at_us)}>{clock(record.at_us)}</dd>
          {record.position && (
            <>
              <dt>position</dt>
              <dd class="mono">{record.position}</dd>
            </>
          )}
        </dl>
        <dl class="facts values">
          {columns.map(({ name, type }, at) => {
            const value = record.row[at] ?? null;
            return [
              <dt key={name} title={type}>
                {name}
              </dt>,
              <dd key={`${name}=`} class={value === null ? "null" : undefined}>
                {textOf(value, kindOf(type))}
              </dd>,
            ];
          })}
        </dl>
        <h3>As in the log</h3>
        <Code text={JSON.stringify(rawOf(record, columns), null, 2)} wrap />
      </div>
    </aside>
  );
}
