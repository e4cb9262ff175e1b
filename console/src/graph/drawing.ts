// Draws the graph on a canvas: only what is in sight, and no text where it could not be read.
import type { Edge, Node } from "../api/schema";
import { toneOf } from "../components/badge";
import { iconPath } from "../components/icon";
import { ink } from "../components/ink";
import { rate, short } from "../format/number";
import type { Camera } from "./camera";
import { NODE_HEIGHT, NODE_WIDTH, type Place, type Places } from "./layout";

const COLOURS = [
  "surface", "sunken", "line", "line-strong", "text", "muted", "accent", "ok", "warn", "fail", "info", "idle", "series-2",
] as const; // prettier-ignore
export type Inks = Record<(typeof COLOURS)[number], string> & { font: string };

/** The colours of the theme that is shown. */
export function inks(): Inks {
  const found = Object.fromEntries(COLOURS.map((name) => [name, ink(name)]));
  return { ...found, font: getComputedStyle(document.body).fontFamily } as Inks;
}

export interface Scene {
  nodes: Node[];
  edges: Edge[];
  places: Places;
  /** What has the focus, what the pointer is over, and what is found by the filter (null: no filter). */
  chosen: string | null;
  hovered: string | null;
  found: Set<string> | null;
}

const READABLE = 0.45;
const SECOND_LINE = 0.55;
const RADIUS = 8;
const icons = new Map<string, Path2D>();

/** Draws all of `scene`. `size` is in CSS pixels; `ratio` those of the screen for each of them. */
export function draw(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  camera: Camera,
  inks: Inks,
  size: { width: number; height: number; ratio: number },
): void {
  canvas.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  canvas.clearRect(0, 0, size.width, size.height);
  const scale = size.ratio * camera.scale;
  canvas.setTransform(scale, 0, 0, scale, size.ratio * camera.x, size.ratio * camera.y);
  const seen = {
    left: -camera.x / camera.scale - NODE_WIDTH,
    right: (size.width - camera.x) / camera.scale + NODE_WIDTH,
    top: -camera.y / camera.scale - NODE_HEIGHT,
    bottom: (size.height - camera.y) / camera.scale + NODE_HEIGHT,
  };
  const near = neighbours(scene);
  drawEdges(canvas, scene, camera, inks, seen, near);
  for (const node of scene.nodes) {
    const at = scene.places.get(node.id);
    if (!at || at.x < seen.left || at.x > seen.right || at.y < seen.top || at.y > seen.bottom) continue;
    const dim = (scene.found && !scene.found.has(node.id)) || (near !== null && !near.has(node.id));
    canvas.globalAlpha = dim ? 0.35 : 1;
    drawNode(canvas, node, at, scene, camera, inks);
  }
  canvas.globalAlpha = 1;
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Ids of what is chosen and all that it is joined to; null if nothing is. */
function neighbours(scene: Scene): Set<string> | null {
  const of = scene.chosen ?? scene.hovered;
  if (!of || !scene.places.has(of)) return null;
  const near = new Set([of]);
  for (const edge of scene.edges) {
    if (edge.from === of) near.add(edge.to);
    if (edge.to === of) near.add(edge.from);
  }
  return near;
}

function drawEdges(
  canvas: CanvasRenderingContext2D,
  scene: Scene,
  camera: Camera,
  inks: Inks,
  seen: Box,
  near: Set<string> | null,
): void {
  const of = scene.chosen ?? scene.hovered;
  const labels: [string, number, number][] = [];
  const labelled = camera.scale >= 0.8 && scene.edges.length <= 120;
  for (const edge of scene.edges) {
    const [a, b] = [scene.places.get(edge.from), scene.places.get(edge.to)];
    if (!a || !b || Math.max(a.x, b.x) < seen.left || Math.min(a.x, b.x) > seen.right) continue;
    if (Math.max(a.y, b.y) < seen.top || Math.min(a.y, b.y) > seen.bottom) continue;
    const mine = edge.from === of || edge.to === of;
    const flow = edge.rows_per_s ?? 0;
    canvas.globalAlpha = near && !mine ? 0.3 : 1;
    canvas.strokeStyle = mine ? inks.accent : flow > 0 ? inks["line-strong"] : inks.line;
    canvas.lineWidth = Math.max(flow > 0 ? 1.2 + Math.min(3, Math.log10(1 + flow) * 0.7) : 1, 0.6 / camera.scale);
    const [x1, x2] = [a.x + NODE_WIDTH / 2, b.x - NODE_WIDTH / 2];
    const bend = Math.max(24, (x2 - x1) / 2);
    canvas.beginPath();
    canvas.moveTo(x1, a.y);
    canvas.bezierCurveTo(x1 + bend, a.y, x2 - bend, b.y, x2, b.y);
    canvas.stroke();
    if (flow > 0 && (labelled || mine) && camera.scale >= READABLE)
      labels.push([rate(flow), (x1 + x2) / 2, (a.y + b.y) / 2]);
  }
  canvas.globalAlpha = 1;
  canvas.font = `11px ${inks.font}`;
  canvas.textAlign = "center";
  for (const [text, x, y] of labels) {
    const width = canvas.measureText(text).width + 10;
    canvas.fillStyle = inks.sunken;
    canvas.beginPath();
    canvas.roundRect(x - width / 2, y - 9, width, 18, 9);
    canvas.fill();
    canvas.fillStyle = inks.muted;
    canvas.fillText(text, x, y + 4);
  }
  canvas.textAlign = "left";
}

function drawNode(
  canvas: CanvasRenderingContext2D,
  node: Node,
  at: Place,
  scene: Scene,
  camera: Camera,
  inks: Inks,
): void {
  const [x, y] = [at.x - NODE_WIDTH / 2, at.y - NODE_HEIGHT / 2];
  const colour = inks[node.problem ? (toneOf(node.state) === "fail" ? "fail" : "warn") : toneOf(node.state)];
  const chosen = scene.chosen === node.id;
  canvas.beginPath();
  canvas.roundRect(x, y, NODE_WIDTH, NODE_HEIGHT, RADIUS);
  canvas.fillStyle = inks.surface;
  canvas.fill();
  canvas.lineWidth = chosen ? 2.5 : Math.max(1, 0.7 / camera.scale);
  canvas.strokeStyle = chosen
    ? inks.accent
    : node.problem
      ? colour
      : scene.hovered === node.id
        ? inks.muted
        : inks["line-strong"];
  canvas.stroke();
  canvas.fillStyle = colour;
  if (camera.scale < READABLE) {
    canvas.beginPath();
    canvas.roundRect(x, y, 14, NODE_HEIGHT, [RADIUS, 0, 0, RADIUS]);
    canvas.fill();
    return;
  }
  canvas.beginPath();
  canvas.roundRect(x, y, 4, NODE_HEIGHT, [RADIUS, 0, 0, RADIUS]);
  canvas.fill();
  drawText(canvas, node, x, y, camera, inks);
  if (node.busy !== null && node.busy > 0.005) {
    canvas.fillStyle = node.busy > 0.9 ? inks.warn : inks["series-2"];
    canvas.fillRect(x + 6, y + NODE_HEIGHT - 3.5, Math.max(3, (NODE_WIDTH - 14) * Math.min(1, node.busy)), 2.5);
  }
}

function drawText(
  canvas: CanvasRenderingContext2D,
  node: Node,
  x: number,
  y: number,
  camera: Camera,
  inks: Inks,
): void {
  let path = icons.get(node.kind);
  if (!path) icons.set(node.kind, (path = new Path2D(iconPath(node.kind))));
  canvas.save();
  canvas.translate(x + 14, y + 9);
  canvas.strokeStyle = inks.muted;
  canvas.lineWidth = 1.4;
  canvas.stroke(path);
  canvas.restore();
  canvas.fillStyle = inks.text;
  canvas.font = `600 13px ${inks.font}`;
  canvas.fillText(clipped(canvas, node.name, NODE_WIDTH - 48), x + 37, y + 21.5);
  if (camera.scale < SECOND_LINE) return;
  canvas.font = `11px ${inks.font}`;
  canvas.fillStyle = inks.muted;
  canvas.fillText(secondLine(node), x + 37, y + 39);
}

function secondLine(node: Node): string {
  const parts: string[] = [];
  if (toneOf(node.state) !== "ok" && node.state) parts.push(node.state.replaceAll("_", " "));
  if (node.rows !== null) parts.push(`${short(node.rows)} rows`);
  if (node.rows_per_s !== null) parts.push(rate(node.rows_per_s));
  return parts.slice(0, 2).join(" · ") || node.kind;
}

const widths = new Map<string, string>();

/** `text`, shortened so that it is at most so wide. Remembered: measuring is slow and names do not change. */
function clipped(canvas: CanvasRenderingContext2D, text: string, width: number): string {
  const known = widths.get(text);
  if (known !== undefined) return known;
  let shown = text;
  while (shown.length > 1 && canvas.measureText(shown === text ? shown : `${shown}…`).width > width)
    shown = shown.slice(0, -1);
  if (shown !== text) shown = `${shown}…`;
  widths.set(text, shown);
  return shown;
}
