/** Rows as a table: numbers to the right, nulls faint, a header that stays. */
import type { ComponentChildren } from "preact";
import type { Column } from "../api/schema";
import { type Kind, kindOf, textOf, type Value } from "./values";

interface Props {
  columns: Column[];
  rows: Value[][];
  label: string;
  /** Cells before the row's own, with their heading. */
  lead?: { heading: string; cell: (index: number) => ComponentChildren }[];
  /** What becomes of a row: +1 come, -1 gone. */
  weight?: (index: number) => number;
  /** Keys for rows whose places move. */
  keyOf?: (index: number) => string | number;
  onPick?: (index: number) => void;
  picked?: number | null;
  /** Columns to emphasise, such as the key. */
  strong?: string[];
}

/** See above. */
export function RowTable(props: Props) {
  const kinds = props.columns.map(({ type }) => kindOf(type));
  return (
    <div class="record-table" tabIndex={0} role="region" aria-label={props.label}>
      <table class="table mono-cells">
        <thead>
          <tr>
            {props.lead?.map(({ heading }) => (
              <th key={heading} scope="col" class="lead">
                {heading}
              </th>
            ))}
            {props.columns.map(({ name, type }, at) => (
              <th key={name} scope="col" class={kinds[at]} title={type}>
                {name}
                <small>{type.toLowerCase()}</small>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{props.rows.map((row, at) => line(props, kinds, row, at))}</tbody>
      </table>
    </div>
  );
}

function line(props: Props, kinds: Kind[], row: Value[], at: number) {
  const weight = props.weight?.(at) ?? 0;
  const classes = [weight > 0 ? "come" : weight < 0 ? "gone" : "", props.picked === at ? "picked" : ""];
  const pick = props.onPick;
  return (
    <tr
      key={props.keyOf?.(at) ?? at}
      class={classes.join(" ").trim() || undefined}
      onClick={pick && (() => pick(at))}
      data-pickable={pick ? "" : undefined}
    >
      {props.lead?.map(({ heading, cell }) => (
        <td key={heading} class="lead">
          {cell(at)}
        </td>
      ))}
      {row.map((value, column) => cellOf(value, kinds[column] ?? "text", props, column))}
    </tr>
  );
}

function cellOf(value: Value, kind: Kind, props: Props, column: number) {
  const text = textOf(value, kind);
  const strong = props.strong?.includes(props.columns[column]?.name ?? "") ? "strong" : "";
  const classes = `${kind} ${value === null ? "null" : ""} ${strong}`.replace(/ +/g, " ").trim();
  return (
    <td key={column} class={classes} title={text.length > 24 ? text : undefined}>
      {text}
    </td>
  );
}
