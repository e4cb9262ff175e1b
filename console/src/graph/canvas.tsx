import { useEffect, useRef, useState } from "preact/hooks";
import type { Edge, Node } from "../api/schema";
import { Icon } from "../components/icon";
import { type Camera, fit, inGraph, showing, zoomed } from "./camera";
import { draw, type Inks, inks, type Scene } from "./drawing";
import { NODE_HEIGHT, NODE_WIDTH, type Place, type Places } from "./layout";

export interface CanvasProps {
  nodes: Node[];
  edges: Edge[];
  places: Places;
  chosen: string | null;
  found: Set<string> | null;
  onChoose: (id: string | null) => void;
}

const STEP = 1.25;
const CLICK_PX = 5;

/** The drawn graph: drag to move, wheel or pinch to come closer, arrows to go from node to node. */
export function GraphCanvas(props: CanvasProps) {
  const box = useRef<HTMLDivElement>(null);
  const surface = useRef<HTMLCanvasElement>(null);
  const [stage] = useState(() => new Stage());
  stage.scene = { ...props, hovered: stage.scene.hovered };
  stage.onChoose = props.onChoose;

  useEffect(() => stage.mount(box.current!, surface.current!), []);
  useEffect(() => stage.arrange(), [props.places]);
  useEffect(() => stage.paintSoon(), [props.nodes, props.edges, props.found]);
  useEffect(() => stage.follow(props.chosen), [props.chosen]);

  const chosen = props.nodes.find((node) => node.id === props.chosen);
  return (
    <div class="graph-box" ref={box}>
      <canvas
        ref={surface}
        tabIndex={0}
        role="application"
        aria-label="The dataflow. Arrow keys go from node to node, Enter opens one, plus and minus zoom, 0 shows all."
        aria-describedby="graph-says"
        onKeyDown={(event) => stage.press(event)}
      />
      <p class="sr-only" id="graph-says" aria-live="polite">
        {chosen ? `${chosen.kind} ${chosen.name}, ${chosen.state}` : `${props.nodes.length} nodes`}
      </p>
      <p class="graph-legend" aria-hidden="true">
        <span class="tone-ok">●</span> fine <span class="tone-info">●</span> under way <span class="tone-warn">●</span>{" "}
        look at it <span class="tone-fail">●</span> wrong <i /> busy
      </p>
      <div class="graph-zoom">
        <button type="button" class="button icon" aria-label="Closer" onClick={() => stage.zoom(STEP)}>
          <Icon name="plus" />
        </button>
        <button type="button" class="button icon" aria-label="Farther" onClick={() => stage.zoom(1 / STEP)}>
          <Icon name="minus" />
        </button>
        <button type="button" class="button icon" aria-label="Show all" onClick={() => stage.all()}>
          <Icon name="fit" />
        </button>
      </div>
    </div>
  );
}

/** The camera, the pointer and the frames; what it draws is handed in with every render. */
class Stage {
  scene: Scene = { nodes: [], edges: [], places: new Map(), chosen: null, hovered: null, found: null };
  onChoose: (id: string | null) => void = () => undefined;
  private camera: Camera = { x: 0, y: 0, scale: 1 };
  private canvas!: HTMLCanvasElement;
  private inks!: Inks;
  private size = { width: 0, height: 0, ratio: 1 };
  private frame = 0;
  private moved = false;
  private readonly pointers = new Map<number, Place>();
  private travelled = 0;

  mount(box: HTMLElement, canvas: HTMLCanvasElement): () => void {
    this.canvas = canvas;
    this.inks = inks();
    const themed = () => {
      this.inks = inks();
      this.paintSoon();
    };
    const resized = new ResizeObserver(() => this.resize(box));
    resized.observe(box);
    addEventListener("themechange", themed);
    canvas.addEventListener("wheel", this.wheel, { passive: false });
    canvas.addEventListener("pointerdown", this.down);
    canvas.addEventListener("pointermove", this.move);
    canvas.addEventListener("pointerup", this.up);
    canvas.addEventListener("pointercancel", this.up);
    canvas.addEventListener("pointerleave", this.leave);
    this.resize(box);
    return () => {
      resized.disconnect();
      removeEventListener("themechange", themed);
      cancelAnimationFrame(this.frame);
      this.frame = -1;
    };
  }

  /** The nodes have got other places: as long as the reader has not moved anything, all are shown. */
  arrange(): void {
    if (!this.moved) this.camera = fit(this.scene.places, this.size.width, this.size.height);
    this.paintSoon();
  }

  /** A node was chosen, here or elsewhere. */
  follow(id: string | null): void {
    const place = id ? this.scene.places.get(id) : undefined;
    if (place && this.size.width) this.camera = showing(this.camera, place, this.size.width, this.size.height);
    this.paintSoon();
  }

  zoom(factor: number, at: Place = { x: this.size.width / 2, y: this.size.height / 2 }): void {
    this.moved = true;
    this.camera = zoomed(this.camera, factor, at);
    this.paintSoon();
  }

  all(): void {
    this.moved = false;
    this.arrange();
  }

  paintSoon(): void {
    if (this.frame !== 0) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      draw(this.canvas.getContext("2d")!, this.scene, this.camera, this.inks, this.size);
      if (this.scene.nodes.length && performance.getEntriesByName("graph-drawn").length === 0)
        performance.mark("graph-drawn");
    });
  }

  press(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows: Record<string, Place> = {
      ArrowLeft: { x: -1, y: 0 },
      ArrowRight: { x: 1, y: 0 },
      ArrowUp: { x: 0, y: -1 },
      ArrowDown: { x: 0, y: 1 },
    };
    const arrow = arrows[event.key];
    if (arrow) this.step(arrow);
    else if (event.key === "+" || event.key === "=") this.zoom(STEP);
    else if (event.key === "-") this.zoom(1 / STEP);
    else if (event.key === "0") this.all();
    else if (event.key === "Escape") this.onChoose(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** To the node that is nearest in this direction. */
  private step(direction: Place): void {
    const from = this.scene.chosen ? this.scene.places.get(this.scene.chosen) : undefined;
    let best: [number, string | null] = [Infinity, null];
    for (const { id } of this.scene.nodes) {
      const place = this.scene.places.get(id);
      if (!place || id === this.scene.chosen) continue;
      const distance = from ? away(from, place, direction) : place.x + place.y / 1000;
      if (distance < best[0]) best = [distance, id];
    }
    if (best[1]) this.onChoose(best[1]);
  }

  private resize(box: HTMLElement): void {
    const { width, height } = box.getBoundingClientRect();
    this.size = { width, height, ratio: devicePixelRatio };
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.arrange();
  }

  private readonly wheel = (event: WheelEvent) => {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), this.at(event));
  };

  private readonly down = (event: PointerEvent) => {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.travelled = 0;
  };

  private readonly move = (event: PointerEvent) => {
    const now = this.at(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return this.hover(this.under(now));
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    const share = others.length ? 0.5 : 1;
    this.camera = {
      ...this.camera,
      x: this.camera.x + (now.x - before.x) * share,
      y: this.camera.y + (now.y - before.y) * share,
    };
    const other = others[0]?.[1];
    if (other) this.camera = zoomed(this.camera, distance(now, other) / Math.max(1, distance(before, other)), other);
    this.travelled += distance(now, before);
    if (this.travelled > CLICK_PX) this.moved = true;
    this.pointers.set(event.pointerId, now);
    this.paintSoon();
  };

  private readonly up = (event: PointerEvent) => {
    if (this.pointers.delete(event.pointerId) && this.travelled <= CLICK_PX && event.type === "pointerup") {
      this.onChoose(this.under(this.at(event)));
    }
  };

  private readonly leave = () => this.hover(null);

  private hover(id: string | null): void {
    if (id === this.scene.hovered) return;
    this.scene.hovered = id;
    this.canvas.style.cursor = id ? "pointer" : "";
    this.paintSoon();
  }

  private at(event: MouseEvent): Place {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private under(at: Place): string | null {
    const point = inGraph(this.camera, at);
    const found = this.scene.nodes.find(({ id }) => {
      const place = this.scene.places.get(id);
      return place && Math.abs(place.x - point.x) <= NODE_WIDTH / 2 && Math.abs(place.y - point.y) <= NODE_HEIGHT / 2;
    });
    return found?.id ?? null;
  }
}

/** How far `to` is if one looks in this direction; without end for what is not there. */
function away(from: Place, to: Place, direction: Place): number {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const along = dx * direction.x + dy * direction.y;
  const aside = Math.abs(dx * direction.y) + Math.abs(dy * direction.x);
  return along > 1 ? along + aside * 2 : Infinity;
}

function distance(a: Place, b: Place): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
