/** The files of a table as it is now, the largest first, and how they are laid out. */
import { bytes } from "../format/bytes";
import { count } from "../format/number";
import type { TableDetail } from "../api/schema";

/** See above. */
export function Files({ table }: { table: TableDetail }) {
  const files = [...table.files_listed].sort((one, other) => (other.bytes ?? 0) - (one.bytes ?? 0));
  const most = Math.max(1, ...files.map((file) => file.bytes ?? 0));
  return (
    <div class="files">
      <p class="muted">{layoutOf(table.layout)}</p>
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Files">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">file</th>
              <th scope="col">holds</th>
              <th scope="col" class="num">
                rows
              </th>
              <th scope="col" class="num">
                size
              </th>
              <th scope="col" aria-label="size beside the others" />
            </tr>
          </thead>
          <tbody>
            {files.map((file) => (
              <tr key={file.path}>
                <td class="mono" title={file.path}>
                  {file.path.split("/").at(-1)}
                  {file.partition && <span class="muted"> {file.partition}</span>}
                </td>
                <td>{file.kind.replaceAll("_", " ")}</td>
                <td class="num">{count(file.rows)}</td>
                <td class="num">{bytes(file.bytes)}</td>
                <td class="bar">
                  <div class="meter">
                    <div style={{ width: `${((file.bytes ?? 0) / most) * 100}%` }} />
                  </div>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {table.files_total > files.length && (
        <p class="muted more">
          {count(files.length)} of {count(table.files_total)} files
        </p>
      )}
    </div>
  );
}

function layoutOf({ partition, sort, bloom }: TableDetail["layout"]): string {
  const parts = [
    partition.length ? `partitioned by ${partition.join(", ")}` : "not partitioned",
    sort.length ? `sorted by ${sort.join(", ")}` : "",
    bloom.length ? `Bloom filters of ${bloom.join(", ")}` : "",
  ];
  return `New files are ${parts.filter(Boolean).join(", ")}.`;
}
