/** A chart by uPlot in the page's colours, as wide as there is room. */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";

/** One line or row of bars; `color` is its place among the page's series colours. */
export interface Series {
  label: string;
  values: (number | null)[];
  color: number;
  fill?: boolean;
}

interface Props {
  xs: number[];
  series: Series[];
  label: string;
  height: number;
  /** `xs` are seconds since 1970. */
  time?: boolean;
  /** Names of the places on the x axis, for bars. */
  names?: string[] | undefined;
  bars?: boolean;
  format?: (value: number) => string;
}

/** See above. */
export function Plot(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const shape = JSON.stringify([props.series.map(({ label }) => label), props.bars, props.names, props.time]);
  const plot = useRef<uPlot | null>(null);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsOf(props, element), dataOf(props), element);
    };
    make();
    const watch = new ResizeObserver(() => {
      plot.current?.setSize({ width: element.clientWidth, height: props.height });
    });
    watch.observe(element);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const themes = new MutationObserver(make);
    dark.addEventListener("change", make);
    themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      watch.disconnect();
      themes.disconnect();
      dark.removeEventListener("change", make);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, props.height]);

  useEffect(() => {
    plot.current?.setData(dataOf(props));
  }, [props.xs, props.series]);

  return <div class="plot" ref={host} role="img" aria-label={props.label} />;
}

function dataOf({ xs, series }: Props): uPlot.AlignedData {
  return [xs, ...series.map(({ values }) => values)];
}

function optionsOf(props: Props, element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string) => style.getPropertyValue(name).trim() || "#888";
  const font = `11px ${style.fontFamily}`;
  const axis = { stroke: color("--muted"), font, grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
  const format = props.format ?? ((value: number) => value.toLocaleString("en", { notation: "compact" }));
  const names = props.names;
  const across: uPlot.Axis = { ...axis, grid: { show: false } };
  if (names) {
    across.splits = (self) => placesOf(names.length, self.width);
    across.values = (_, places) => places.map((at) => shortened(names[at] ?? ""));
  }
  return {
    width: element.clientWidth,
    height: props.height,
    padding: [12, 12, 0, 0],
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { y: false, points: { size: 7 } },
    legend: { show: false },
    scales: { x: names ? { time: false, range: [-0.6, names.length - 0.4] } : { time: props.time ?? false } },
    axes: [across, { ...axis, size: 56, values: (_, values) => values.map((v) => (v === null ? "" : format(v))) }],
    series: [{}, ...props.series.map((one) => seriesOf(one, props, color))],
  };
}

function seriesOf(one: Series, props: Props, color: (name: string) => string): uPlot.Series {
  const stroke = color(`--series-${one.color + 1}`);
  const bars = uPlot.paths.bars?.({ size: [0.7, 60] });
  if (props.bars && bars) return { label: one.label, stroke, fill: stroke, paths: bars, points: { show: false } };
  return {
    label: one.label,
    stroke,
    width: 1.75,
    points: { show: props.xs.length < 40, size: 5 },
    ...(one.fill ? { fill: `${stroke}22` } : {}),
  };
}

function placesOf(count: number, width: number): number[] {
  const step = Math.max(1, Math.ceil((count * 70) / Math.max(width, 1)));
  return Array.from({ length: Math.ceil(count / step) }, (_, at) => at * step);
}

function shortened(name: string): string {
  return name.length > 12 ? `${name.slice(0, 11)}…` : name;
}
