/** The tables, models and streams beside the editor; a click puts the name where the cursor was. */
import { useState } from "preact/hooks";
import type { Names } from "../api/schema";

interface Props {
  names: Names;
  onTable: (name: string) => void;
}

/** See above. */
export function NamesList({ names, onTable }: Props) {
  const [sought, setSought] = useState("");
  const [open, setOpen] = useState<string | null>(null);
  const tables = Object.entries({ ...names.streams, ...names.tables }).filter(
    ([name, columns]) => name.includes(sought) || columns.some((column) => column.name.includes(sought)),
  );
  return (
    <div class="names">
      <input
        type="search"
        class="input"
        aria-label="Find a table or column"
        placeholder="Find a table or column"
        value={sought}
        onInput={(event) => setSought(event.currentTarget.value.toLowerCase())}
      />
      <ul>
        {tables.map(([name, columns]) => (
          <li key={name}>
            <div class="names-table">
              <button
                type="button"
                class="names-open"
                aria-expanded={open === name}
                onClick={() => setOpen(open === name ? null : name)}
              >
                {name}
              </button>
              <button type="button" class="names-ask" title={`SELECT * FROM ${name}`} onClick={() => onTable(name)}>
                Query
              </button>
            </div>
            {open === name && (
              <dl>
                {columns.map((column) => (
                  <div key={column.name}>
                    <dt>{column.name}</dt>
                    <dd>{column.type.toLowerCase()}</dd>
                  </div>
                ))}
              </dl>
            )}
          </li>
        ))}
      </ul>
    </div>
  );
}
