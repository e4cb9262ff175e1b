/** How many rows a table held after each snapshot, where the snapshots themselves do not say. */
import type { TableDetail, TableSnapshot } from "../api/schema";

/** The snapshots, oldest first, each with its rows: counted back from now by what each commit added and deleted. */
export function counted(table: TableDetail): TableSnapshot[] {
  const newestFirst = [...table.snapshots].sort((one, other) => other.at_us - one.at_us);
  let rows: number | null = table.rows;
  const found = newestFirst.map((one) => {
    const known: TableSnapshot = { ...one, rows: rows ?? one.rows };
    if (!one.maintenance && rows !== null) {
      rows = one.added === null || one.deleted === null ? null : rows - one.added + one.deleted;
    }
    return known;
  });
  return found.reverse();
}
