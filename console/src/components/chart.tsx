import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { NONE, short } from "../format/number";
import { ink, wash } from "./ink";

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
  /** The values are bytes: lines across stand at powers of two. */
  binary?: boolean;
  /** Charts with the same key show the same instant under the pointer. */
  sync?: string;
}

const POWERS_OF_TWO = Array.from({ length: 52 }, (_, at) => 2 ** at);

/** A chart over time or numbers; it follows its box's width, its data, and the theme. Of another theme only the canvas
 *  is drawn again: all that is text is coloured by the style sheet. */
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
    plot.current = new uPlot(options(props, box.current!.clientWidth), data(props), box.current!);
    const redraw = () => plot.current?.redraw();
    const resized = new ResizeObserver(([entry]) => {
      plot.current?.setSize({ width: Math.floor(entry!.contentRect.width), height: props.height ?? 180 });
    });
    resized.observe(box.current!);
    addEventListener("themechange", redraw);
    return () => {
      removeEventListener("themechange", redraw);
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
  const colours = props.series.map((one, i) => one.colour ?? `series-${(i % 6) + 1}`);
  const axis = { stroke: () => ink("muted"), font: `11px ${getComputedStyle(document.body).fontFamily}` };
  const grid = { stroke: () => ink("line"), width: 1 };
  const marked = (_plot: uPlot, i: number) => `var(--${colours[i - 1]})`;
  return {
    width,
    height: props.height ?? 180,
    legend: { show: props.legend ?? props.series.length > 1, markers: { width: 0, stroke: marked, fill: marked } },
    cursor: { y: false, points: { size: 6, fill: marked }, ...(props.sync ? { sync: { key: props.sync } } : {}) },
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
        ...(props.binary ? { incrs: POWERS_OF_TWO } : {}),
        values: (_plot, ticks) => ticks.map((one) => format(one)),
      },
    ],
    series: [
      {
        label: props.names ? "Of" : props.time === false ? "At" : "Time",
        value: pointed(props, (at) => placed(at, props)),
      },
      ...props.series.map((one, i) => line(one, colours[i]!, props, format)),
    ],
  };
}

/** The value under the pointer in words; the last one of a chart over time while the pointer is elsewhere. */
function pointed(props: ChartProps, words: (value: number) => string) {
  return (plot: uPlot, value: number | null, series: number, at: number | null): string => {
    const timed = props.time !== false && !props.names;
    const shown = at === null && timed ? plot.data[series]?.at(-1) : value;
    return shown === null || shown === undefined ? NONE : words(shown);
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

/** The scale of what lies across: times, numbers, or names; bars have room at both ends. */
function places({ time, names, kind, at }: ChartProps): uPlot.Scale {
  if (names) return { time: false, range: [-0.6, names.length - 0.4] };
  if (kind !== "bars") return { time: time ?? true };
  const room = (low: number, high: number) => Math.max(1, (high - low) / Math.max(1, at.length)) * 0.6;
  return { time: time ?? true, range: (_plot, low, high) => [low - room(low, high), high + room(low, high)] };
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

function line(one: Series, colour: string, props: ChartProps, format: (value: number | null) => string): uPlot.Series {
  const bars = props.kind === "bars";
  return {
    label: one.label,
    stroke: () => ink(colour),
    width: 1.5,
    points: { show: false },
    spanGaps: false,
    value: pointed(props, format),
    ...(bars || props.kind === "area" ? { fill: () => (bars ? ink(colour) : wash(colour)) } : {}),
    ...(bars ? { paths: uPlot.paths.bars!({ size: [0.7, 40], radius: 0.15 }) } : {}),
  };
}
