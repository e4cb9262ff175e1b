/** A table's snapshots in time: how many rows there were, what came and went, and a handle or two to choose by. */
import { useMemo } from "preact/hooks";
import { count } from "../format/number";
import { clock, utc } from "../format/time";
import type { TableSnapshot } from "../api/schema";

interface Handle {
  label: string;
  at: number;
  onMove: (at: number) => void;
}

interface Props {
  /** Oldest first; at least one. */
  snapshots: TableSnapshot[];
  handles: Handle[];
}

const WIDE = 1000;
const HIGH = 96;
const FLOOR = 64;

/** See above. The handles are sliders of the browser's own, so that keys and screen readers work. */
export function TimeSlider({ snapshots, handles }: Props) {
  const last = snapshots.length - 1;
  const picture = useMemo(() => draw(snapshots), [snapshots]);
  const places = handles.map(({ at }) => Math.min(Math.max(at, 0), last));
  const part = (at: number) => (last ? at / last : 1);
  return (
    <div class={`time-slider ${handles.length > 1 ? "two" : ""}`}>
      <div class="time-track">
        <svg viewBox={`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" aria-hidden="true">
          <path class="area" d={picture.area} />
          <path class="line" d={picture.line} />
          <path class="come" d={picture.come} />
          <path class="gone" d={picture.gone} />
          {places.length > 1 && (
            <rect
              class="between"
              x={part(Math.min(...places)) * WIDE}
              width={Math.abs(part(places[0]!) - part(places[1]!)) * WIDE}
              height={HIGH}
            />
          )}
          {places.map((at, n) => (
            <line key={n} class="hand" x1={part(at) * WIDE} x2={part(at) * WIDE} y2={HIGH} />
          ))}
        </svg>
        {handles.map(({ label, onMove }, n) => (
          <input
            key={label}
            type="range"
            min="0"
            max={last}
            value={places[n]}
            aria-label={label}
            aria-valuetext={told(snapshots[places[n]!]!)}
            onInput={(event) => onMove(Number(event.currentTarget.value))}
          />
        ))}
      </div>
      <div class="time-ends">
        <time title={utc(snapshots[0]!.at_us)}>{clock(snapshots[0]!.at_us)}</time>
        <time title={utc(snapshots[last]!.at_us)}>{clock(snapshots[last]!.at_us)}</time>
      </div>
    </div>
  );
}

/** A table snapshot in a line. */
export function told(one: TableSnapshot): string {
  const epoch = one.epoch === null ? one.operation : `epoch ${count(one.epoch)}`;
  return `${clock(one.at_us)}, ${epoch}, ${count(one.rows)} rows`;
}

/** Rows as an area above the floor; below it what came (accent) and went (red) with each snapshot. */
function draw(snapshots: TableSnapshot[]) {
  const last = Math.max(1, snapshots.length - 1);
  const x = (at: number) => (snapshots.length === 1 ? WIDE : (at / last) * WIDE).toFixed(1);
  const rows = snapshots.map((one) => one.rows ?? 0);
  const [low, top] = [Math.min(...rows), Math.max(...rows)];
  const ground = Math.max(0, low - Math.max(1, top - low) * 0.35);
  const points = rows.map(
    (value, at) => `${x(at)},${(FLOOR - ((value - ground) / Math.max(1, top - ground)) * (FLOOR - 6)).toFixed(1)}`,
  );
  if (snapshots.length === 1) points.unshift(points[0]!.replace(/^[^,]+/, "0"));
  const moved = snapshots.map((one) => [one.added ?? 0, one.deleted ?? 0] as const);
  const most = Math.max(1, ...moved.slice(1).map(([added, deleted]) => Math.max(added, deleted)));
  const size = (value: number) => Math.min(1, Math.sqrt(value / most)) * (HIGH - FLOOR - 4) * 0.5;
  const middle = FLOOR + (HIGH - FLOOR) / 2;
  const bars = (which: 0 | 1, sign: number) =>
    moved
      .map((pair, at) => (pair[which] ? `M${x(at)},${middle}v${(sign * size(pair[which])).toFixed(1)}` : ""))
      .join("");
  return {
    line: `M${points.join("L")}`,
    area: `M0,${FLOOR}L${points.join("L")}L${WIDE},${FLOOR}Z`,
    come: bars(0, -1),
    gone: bars(1, 1),
  };
}
