import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { short } from "../format/number";

export interface Series {
  label: string;
  values: (number | null)[];
  /** A name of the design system's colours; by default series-1, series-2 and so on. */
  colour?: string;
}

export interface ChartProps {
  /** Seconds since 1970 if `time` (the default), else any numbers. */
  at: number[];
  series: Series[];
  label: string;
  time?: boolean;
  /** What the places 0, 1, 2 ... of `at` are called, for bars of names. */
  names?: string[] | undefined;
  kind?: "line" | "area" | "bars";
  height?: number;
  format?: (value: number | null) => string;
  legend?: boolean;
  /** Charts with the same key show the same instant under the pointer. */
  sync?: string;
}

/** What a colour of the design system is now, for a canvas. */
export function ink(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

/** A chart over time or numbers; it follows its box's width, its data, and the theme. */
export function Chart(props: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shape = JSON.stringify([
    props.series.map((one) => [one.label, one.colour]),
    props.kind,
    props.height,
    props.time,
    props.names,
  ]);

  useEffect(() => {
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(props, box.current!.clientWidth), data(props), box.current!);
    };
    make();
    const resized = new ResizeObserver(([entry]) => {
      plot.current?.setSize({ width: Math.floor(entry!.contentRect.width), height: props.height ?? 180 });
    });
    resized.observe(box.current!);
    addEventListener("themechange", make);
    return () => {
      removeEventListener("themechange", make);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape]);

  useEffect(() => {
    plot.current?.setData(data(props));
  }, [props.at, props.series]);

  return <div class="chart" ref={box} role="img" aria-label={props.label} />;
}

function data(props: ChartProps): uPlot.AlignedData {
  return [props.at, ...props.series.map((one) => one.values)];
}

function options(props: ChartProps, width: number): uPlot.Options {
  const format = props.format ?? short;
  const axis = { stroke: ink("muted"), font: `11px ${getComputedStyle(document.body).fontFamily}` };
  const grid = { stroke: ink("line"), width: 1 };
  return {
    width,
    height: props.height ?? 180,
    legend: { show: props.legend ?? props.series.length > 1 },
    cursor: { y: false, points: { size: 6 }, ...(props.sync ? { sync: { key: props.sync } } : {}) },
    scales: {
      x: places(props),
      y: { range: (_plot, low, high) => [Math.min(0, low * 1.08), high > 0 ? high * 1.08 : 1] },
    },
    axes: [
      { ...axis, grid: { show: false }, ticks: { show: false }, size: 26, space: 90, ...across(props) },
      {
        ...axis,
        grid,
        ticks: { show: false },
        size: 52,
        space: 32,
        values: (_plot, ticks) => ticks.map((one) => format(one)),
      },
    ],
    series: [
      {
        value: (_plot, at) => (at === null ? "" : placed(at, props)),
      },
      ...props.series.map((one, i) => line(one, i, props.kind ?? "line", format)),
    ],
  };
}

function timeOfDay(at: number): string {
  return new Date(at * 1000).toLocaleTimeString("en-GB");
}

/** What a place across is called. */
function placed(at: number, { time, names }: ChartProps): string {
  if (names) return names[at] ?? "";
  return time === false ? String(at) : timeOfDay(at);
}

/** The scale of what lies across: times, numbers, or names with room for their bars. */
function places({ time, names }: ChartProps): uPlot.Scale {
  return names ? { time: false, range: [-0.6, names.length - 0.4] } : { time: time ?? true };
}

/** What the axis says: times of day, numbers, or as many names as there is room for. */
function across({ time, names }: ChartProps): Partial<uPlot.Axis> {
  if (!names) return time === false ? {} : { values: (_plot: uPlot, ticks: number[]) => ticks.map(timeOfDay) };
  const shown = (name: string) => (name.length > 14 ? `${name.slice(0, 13)}…` : name);
  return {
    splits: (plot) => {
      const step = Math.max(1, Math.ceil((names.length * 90) / Math.max(plot.width, 1)));
      return Array.from({ length: Math.ceil(names.length / step) }, (_, at) => at * step);
    },
    values: (_plot, ticks) => ticks.map((at) => shown(names[at] ?? "")),
  };
}

function line(one: Series, i: number, kind: string, format: (value: number | null) => string): uPlot.Series {
  const colour = ink(one.colour ?? `series-${(i % 6) + 1}`);
  const soft = colour.replace("rgb(", "rgba(").replace(")", ", 0.14)");
  return {
    label: one.label,
    stroke: colour,
    width: 1.5,
    points: { show: false },
    spanGaps: false,
    value: (_plot, value) => format(value),
    ...(kind === "line" ? {} : { fill: kind === "bars" ? colour : soft }),
    ...(kind === "bars" ? { paths: uPlot.paths.bars!({ size: [0.7, 40], radius: 0.15 }) } : {}),
  };
}
