/** How other engines read this very table. */
import { useState } from "preact/hooks";
import { Code } from "../components/code";
import { Segments } from "../components/tabs";
import type { Snippets, TableDetail } from "../api/schema";

const NAMES: Record<keyof Snippets, string> = {
  duckdb: "DuckDB",
  spark: "Spark",
  pyiceberg: "PyIceberg",
  polars: "Polars",
  headwater: "Headwater",
};

/** See above. */
export function OpenIn({ table }: { table: TableDetail }) {
  const [engine, setEngine] = useState<keyof Snippets>("duckdb");
  return (
    <div class="open-in">
      <Segments
        label="Engine"
        options={Object.entries(NAMES) as [keyof Snippets, string][]}
        chosen={engine}
        onChoose={setEngine}
      />
      <Code text={table.snippets[engine]} />
      <p class="muted">
        It is the table itself, read from its files: nothing is exported, and no server of ours is asked.
      </p>
    </div>
  );
}
