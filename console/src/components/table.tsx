import type { ComponentChildren } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";

export interface TableColumn<T> {
  id: string;
  title: ComponentChildren;
  /** What a cell shows. */
  cell: (row: T) => ComponentChildren;
  /** What the column is sorted by; without it, it cannot be. */
  sort?: (row: T) => number | string | null | undefined;
  /** Numbers stand to the right. */
  num?: boolean;
  /** The cell names the row (a heading for screen readers). */
  head?: boolean;
  width?: string;
}

export interface TableProps<T> {
  columns: TableColumn<T>[];
  rows: T[];
  label: string;
  rowKey: (row: T, index: number) => string | number;
  /** Makes rows clickable, and reachable by Tab and Enter. */
  onRow?: (row: T) => void;
  selected?: (row: T) => boolean;
  tone?: (row: T) => string;
  sortBy?: string;
  empty?: ComponentChildren;
  class?: string;
  /** The height, such as "60vh", at which it scrolls; only the rows in sight are then in the document. */
  height?: string;
}

const ROW_PX = 32;
const AROUND = 12;
const VIRTUAL_FROM = 120;

/** A table. With more than 120 rows only those in sight exist; heads of columns sort. */
export function Table<T>(props: TableProps<T>) {
  const [sorted, setSorted] = useState<{ id: string; down: boolean } | null>(
    props.sortBy ? { id: props.sortBy.replace(/^-/, ""), down: props.sortBy.startsWith("-") } : null,
  );
  const [scrolled, setScrolled] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const rows = useMemo(() => inOrder(props.rows, props.columns, sorted), [props.rows, props.columns, sorted]);
  if (rows.length === 0 && props.empty) return <>{props.empty}</>;
  const virtual = rows.length > VIRTUAL_FROM;
  const seen = virtual ? Math.ceil((box.current?.clientHeight ?? 800) / ROW_PX) : rows.length;
  const first = virtual
    ? Math.min(Math.max(0, Math.floor(scrolled / ROW_PX) - AROUND), Math.max(0, rows.length - seen))
    : 0;
  const last = Math.min(rows.length, first + seen + 2 * AROUND);
  const press = (id: string) => setSorted((now) => ({ id, down: now?.id === id ? !now.down : true }));
  return (
    <div
      class={virtual || props.height ? "rows" : "table-wrap"}
      ref={box}
      style={props.height ? { maxHeight: props.height } : {}}
      onScroll={virtual ? () => setScrolled(box.current!.scrollTop) : undefined}
      tabIndex={0}
      role="region"
      aria-label={props.label}
    >
      <table class={`table ${props.class ?? ""}`} aria-rowcount={rows.length}>
        <thead>
          <tr>
            {props.columns.map((column) => (
              <Head key={column.id} column={column} sorted={sorted} onPress={press} />
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr aria-hidden="true" style={{ height: `${first * ROW_PX}px` }} />}
          {rows.slice(first, last).map((row, i) => (
            <Row key={props.rowKey(row, first + i)} row={row} table={props} />
          ))}
          {last < rows.length && <tr aria-hidden="true" style={{ height: `${(rows.length - last) * ROW_PX}px` }} />}
        </tbody>
      </table>
    </div>
  );
}

function Head<T>(props: {
  column: TableColumn<T>;
  sorted: { id: string; down: boolean } | null;
  onPress: (id: string) => void;
}) {
  const { column, sorted } = props;
  const here = sorted?.id === column.id;
  return (
    <th
      scope="col"
      class={column.num ? "num" : ""}
      style={column.width ? { width: column.width } : {}}
      aria-sort={here ? (sorted.down ? "descending" : "ascending") : undefined}
    >
      {column.sort ? (
        <button type="button" onClick={() => props.onPress(column.id)}>
          {column.title}
          {here ? (sorted.down ? " ↓" : " ↑") : ""}
        </button>
      ) : (
        column.title
      )}
    </th>
  );
}

function Row<T>({ row, table }: { row: T; table: TableProps<T> }) {
  const { onRow } = table;
  const press = (event: KeyboardEvent) => {
    if (event.key === "Enter" && event.target === event.currentTarget) onRow?.(row);
  };
  const click = (event: MouseEvent) => {
    if (!(event.target as Element).closest("a, button")) onRow?.(row); // a link in a cell leads elsewhere
  };
  return (
    <tr
      class={`${onRow ? "link" : ""} ${table.tone?.(row) ?? ""}`}
      aria-selected={table.selected ? table.selected(row) : undefined}
      tabIndex={onRow ? 0 : undefined}
      onClick={onRow ? click : undefined}
      onKeyDown={onRow ? press : undefined}
    >
      {table.columns.map((column) =>
        column.head ? (
          <th key={column.id} scope="row">
            {column.cell(row)}
          </th>
        ) : (
          <td key={column.id} class={column.num ? "num" : ""}>
            {column.cell(row)}
          </td>
        ),
      )}
    </tr>
  );
}

function inOrder<T>(rows: T[], columns: TableColumn<T>[], sorted: { id: string; down: boolean } | null): T[] {
  const by = columns.find((column) => column.id === sorted?.id)?.sort;
  if (!by || !sorted) return rows;
  const sign = sorted.down ? -1 : 1;
  return [...rows].sort((a, b) => sign * compare(by(a), by(b)));
}

function compare(a: number | string | null | undefined, b: number | string | null | undefined): number {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return typeof a === "number" && typeof b === "number"
    ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
}

/** A value of a result (JSON-safe, as the API sends them) as a cell. */
export function Value({ value }: { value: unknown }) {
  if (value === null || value === undefined) return <span class="null">null</span>;
  if (typeof value === "object") return <>{JSON.stringify(value)}</>;
  return <>{String(value)}</>;
}

/** Rows of a result, as /v1/sql and the samples of the graph send them. */
export function ResultTable(props: {
  columns: ({ name: string; type?: string } | string)[];
  rows: unknown[][];
  label: string;
  height?: string;
}) {
  const columns = useMemo(
    () =>
      props.columns.map((column, i): TableColumn<unknown[]> => {
        const { name, type } = typeof column === "string" ? { name: column, type: undefined } : column;
        return {
          id: `${i}`,
          title: <span title={type ?? ""}>{name}</span>,
          cell: (row) => <Value value={row[i]} />,
          sort: (row) => row[i] as string,
          num:
            /int|decimal|double|float|numeric|real/i.test(type ?? "") &&
            !/interval|point|\[|struct|list|map/i.test(type ?? ""),
        };
      }),
    [props.columns],
  );
  return (
    <Table
      columns={columns}
      rows={props.rows}
      label={props.label}
      rowKey={(_row, i) => i}
      class="mono-cells"
      {...(props.height ? { height: props.height } : {})}
    />
  );
}
