/** What came of a statement: rows, a chart, a plan, or a preview as a model. */
import { useState } from "preact/hooks";
import { CopyButton } from "../components/code";
import { Segments } from "../components/tabs";
import { plural } from "../format/number";
import { span } from "../format/time";
import { RowTable } from "../rows/row_table";
import { asTsv } from "../rows/values";
import type { SqlAnswer } from "../api/schema";
import { ResultChart } from "./chart";

/** Rows of an answer as a table or a chart. */
export function Result({ answer }: { answer: SqlAnswer }) {
  const [view, setView] = useState<"table" | "chart">("table");
  return (
    <>
      <div class="result-bar">
        <Segments
          label="Show the result as"
          options={[
            ["table", "Table"],
            ["chart", "Chart"],
          ]}
          chosen={view}
          onChoose={setView}
        />
        <p class="result-said" role="status">
          <b>{plural(answer.rows.length, "row")}</b>
          {answer.truncated && ", the first of more,"} in {span(answer.elapsed_ms)}
          {answer.note && <span class="muted"> · {answer.note}</span>}
        </p>
        <CopyButton text={asTsv(answer)} label="Copy for a spreadsheet" />
      </div>
      {view === "table" ? (
        <RowTable columns={answer.columns} rows={answer.rows} label="Result" />
      ) : (
        <ResultChart result={answer} />
      )}
    </>
  );
}
