/** How other engines read this very table. */
import { useState } from "preact/hooks";
import { Code } from "../components/code";
import { Segments } from "../components/tabs";
import type { TableDetail } from "./api";

const NAMES: Record<string, string> = {
  duckdb: "DuckDB",
  spark: "Spark",
  pyiceberg: "PyIceberg",
  polars: "Polars",
  headwater: "Headwater",
};

/** See above. */
export function OpenIn({ table }: { table: TableDetail }) {
  const engines = Object.keys(table.snippets);
  const [engine, setEngine] = useState(engines[0] ?? "");
  return (
    <div class="open-in">
      <Segments
        label="Engine"
        options={engines.map((one): [string, string] => [one, NAMES[one] ?? one])}
        chosen={engine}
        onChoose={setEngine}
      />
      <Code text={table.snippets[engine] ?? ""} />
      <p class="muted">
        It is the table itself, read from its files: nothing is exported, and no server of ours is asked.
      </p>
    </div>
  );
}
