/** A result as a chart: time or numbers to the right as lines, names as bars. */
import { Chart } from "../components/chart";
import { useMemo, useState } from "preact/hooks";
import { kindOf, numberOf, type Rows, secondsOf, textOf, type Value } from "../rows/values";

const MOST_BARS = 60;
const MOST_SERIES = 6;

/** See above; says so where nothing can be drawn. */
export function ResultChart({ result }: { result: Rows }) {
  const kinds = result.columns.map(({ type }) => kindOf(type));
  const numbers = result.columns.map((_, at) => at).filter((at) => kinds[at] === "number");
  const [across, setAcross] = useState(() => firstAcross(kinds));
  const bars = !["time", "number"].includes(kinds[across] ?? "");
  const drawn = numbers.filter((at) => at !== across).slice(0, MOST_SERIES);
  const [hidden, setHidden] = useState<number[]>(() => (bars ? drawn.slice(1) : []));
  const shown = drawn.filter((at) => !hidden.includes(at));
  const picture = useMemo(() => pictureOf(result, across, drawn, shown), [result, across, shown.join()]);
  if (!numbers.length || !result.rows.length) {
    return <p class="muted">There is no column of numbers to draw. Add one, such as count(*), to the SELECT.</p>;
  }
  return (
    <div class="result-chart">
      <div class="chart-choice">
        <label>
          Across
          <select class="select" value={across} onChange={(event) => setAcross(Number(event.currentTarget.value))}>
            {result.columns.map(({ name }, at) => (
              <option key={name} value={at}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <div class="chart-series">
          {drawn.map((at, place) => (
            <button
              type="button"
              key={at}
              class={`series-key series-${place + 1}`}
              aria-pressed={!hidden.includes(at)}
              onClick={() => setHidden(hidden.includes(at) ? hidden.filter((one) => one !== at) : [...hidden, at])}
            >
              {result.columns[at]?.name}
            </button>
          ))}
        </div>
      </div>
      <Chart {...picture} height={320} label="The result as a chart" legend={shown.length > 0} />
    </div>
  );
}

/** The first column of times; else the first that is no number; else the first. */
function firstAcross(kinds: string[]): number {
  const time = kinds.indexOf("time");
  if (time >= 0) return time;
  return Math.max(
    0,
    kinds.findIndex((kind) => kind === "text" || kind === "bool"),
  );
}

function pictureOf(result: Rows, across: number, drawn: number[], shown: number[]) {
  const kind = kindOf(result.columns[across]?.type ?? "");
  const place = kind === "time" ? secondsOf : kind === "number" ? numberOf : null;
  const rows = place ? ordered(result.rows, across, place) : result.rows.slice(0, MOST_BARS);
  return {
    at: rows.map((row, number) => (place ? (place(row[across] ?? null) ?? 0) : number)),
    series: shown.map((at) => ({
      label: result.columns[at]?.name ?? "",
      values: rows.map((row) => numberOf(row[at] ?? null)),
      colour: `series-${drawn.indexOf(at) + 1}`,
    })),
    time: kind === "time",
    names: place ? undefined : rows.map((row) => textOf(row[across] ?? null)),
    kind: place ? ("line" as const) : ("bars" as const),
  };
}

function ordered(rows: Value[][], across: number, place: (value: Value) => number | null): Value[][] {
  return rows
    .filter((row) => place(row[across] ?? null) !== null)
    .sort((one, other) => (place(one[across] ?? null) ?? 0) - (place(other[across] ?? null) ?? 0));
}
