// Where nodes stand: quick columns at once, then what the worker works out with dagre.
import type { Edge, Node } from "../api/schema";

export const NODE_WIDTH = 188;
export const NODE_HEIGHT = 52;

/** The middle of a node. */
export interface Place {
  x: number;
  y: number;
}
export type Places = Map<string, Place>;

export interface LayoutRequest {
  ids: string[];
  edges: [string, string][];
}
export interface LayoutAnswer {
  places: [string, Place][];
  took_ms: number;
}

const COLUMN_PX = NODE_WIDTH + 64;
const ROW_PX = NODE_HEIGHT + 20;

/** Columns by the longest way from a source; within a column by where the inputs stand. Good enough to begin with. */
export function columns(nodes: Node[], edges: Edge[]): Places {
  const inputs = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  for (const { from, to } of edges) inputs.get(to)?.push(from);
  const ranks = new Map<string, number>();
  const rank = (id: string): number => {
    const known = ranks.get(id);
    if (known !== undefined) return known;
    ranks.set(id, 0); // a ring, which there should not be, ends here
    const found = Math.max(-1, ...(inputs.get(id) ?? []).map(rank)) + 1;
    ranks.set(id, found);
    return found;
  };
  const byRank: string[][] = [];
  for (const { id } of nodes) (byRank[rank(id)] ??= []).push(id);
  const places: Places = new Map();
  for (const [column, ids] of byRank.entries()) {
    const wish = (id: string) => {
      const heights = (inputs.get(id) ?? []).map((from) => places.get(from)?.y ?? 0);
      return heights.reduce((all, one) => all + one, 0) / Math.max(1, heights.length);
    };
    if (column > 0) ids.sort((a, b) => wish(a) - wish(b));
    ids.forEach((id, i) => places.set(id, { x: column * COLUMN_PX, y: (i - (ids.length - 1) / 2) * ROW_PX }));
  }
  return places;
}

let worker: Worker | undefined;

/** dagre's layout, worked out beside the page. */
export function arranged(nodes: Node[], edges: Edge[], signal: AbortSignal): Promise<Places> {
  worker ??= new Worker(document.documentElement.dataset.layoutWorker!, { type: "module" });
  const asked: LayoutRequest = {
    ids: nodes.map((node) => node.id),
    edges: edges.map((edge) => [edge.from, edge.to]),
  };
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    port1.onmessage = ({ data }: MessageEvent<LayoutAnswer>) => {
      port1.close();
      if (!signal.aborted) resolve(new Map(data.places));
    };
    worker!.postMessage(asked, [port2]);
  });
}
