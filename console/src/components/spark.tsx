import { figures } from "../api/live";

const WIDTH = 96;
const HEIGHT = 24;
const POINTS = 90;

/** A line as small as a word: the last 90 values, from nothing at the bottom to the highest at the top. */
export function Sparkline(props: { values: (number | null)[]; label: string; tone?: string; width?: number }) {
  const width = props.width ?? WIDTH;
  const values = props.values.slice(-POINTS);
  const top = Math.max(...values.map((value) => value ?? 0), 1e-9);
  const step = width / (POINTS - 1);
  const left = width - (values.length - 1) * step;
  const points = values.map(
    (v, i) => `${(left + i * step).toFixed(1)} ${(HEIGHT - 2 - ((v ?? 0) / top) * (HEIGHT - 5)).toFixed(1)}`,
  );
  if (points.length < 2) return <svg class="spark" width={width} height={HEIGHT} aria-hidden="true" />;
  const line = `M${points.join("L")}`;
  const colour = `var(--${props.tone ?? "series-1"})`;
  return (
    <svg
      class="spark"
      width={width}
      height={HEIGHT}
      viewBox={`0 0 ${width} ${HEIGHT}`}
      role="img"
      aria-label={props.label}
    >
      <path d={`${line}L${width} ${HEIGHT}L${left.toFixed(1)} ${HEIGHT}Z`} fill={colour} opacity="0.13" />
      <path
        d={line}
        fill="none"
        stroke={colour}
        stroke-width="1.4"
        stroke-linejoin="round"
        vector-effect="non-scaling-stroke"
      />
    </svg>
  );
}

/** The sparkline of a live series, such as `source:shop:rows_per_s`. */
export function LiveSpark({
  series,
  label,
  tone,
  width,
}: {
  series: string;
  label: string;
  tone?: string;
  width?: number;
}) {
  const props = { values: figures.value.series[series] ?? [], label };
  return <Sparkline {...props} {...(tone ? { tone } : {})} {...(width ? { width } : {})} />;
}
