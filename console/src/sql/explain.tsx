/** A query's plan as a graph: rows rise from the scans at the bottom to the result at the top. */
import dagre from "@dagrejs/dagre";
import { useMemo } from "preact/hooks";
import { Code } from "../components/code";
import { plural } from "../format/number";
import type { SqlPlan } from "../api/schema";

const WIDE = 250;
const MARGIN = 12;

interface Placed {
  width: number;
  height: number;
  nodes: { id: string; left: number; top: number; height: number }[];
  edges: { from: string; to: string; path: string }[];
}

/** See above. */
export function Explain({ plan }: { plan: SqlPlan }) {
  const placed = useMemo(() => place(plan), [plan]);
  const known = new Map(plan.nodes.map((node) => [node.id, node]));
  return (
    <div class="explain">
      <div class="explain-scroll" tabIndex={0} role="region" aria-label="The plan as a graph">
        <div class="explain-graph" style={{ width: `${placed.width}px`, height: `${placed.height}px` }}>
          <svg width={placed.width} height={placed.height} aria-hidden="true">
            {placed.edges.map(({ from, to, path }) => (
              <path key={`${from}-${to}`} d={path} />
            ))}
          </svg>
          {placed.nodes.map(({ id, left, top, height }) => {
            const node = known.get(id);
            const sizes = { left: `${left}px`, top: `${top}px`, width: `${WIDE}px`, height: `${height}px` };
            return (
              <div key={id} class="explain-node" style={sizes} title={node?.detail}>
                <b>{tidy(node?.name ?? "")}</b>
                {(node?.rows ?? 0) > 1 && <i title="DuckDB's estimate">≈ {plural(node?.rows ?? 0, "row")}</i>}
                <span>{node?.detail}</span>
              </div>
            );
          })}
        </div>
      </div>
      <details>
        <summary>As text</summary>
        <Code text={plan.text} />
      </details>
    </div>
  );
}

/** `HASH_GROUP_BY` as `hash group by`. */
function tidy(name: string): string {
  return name.replace(/_/g, " ").toLowerCase();
}

function heightOf(detail: string): number {
  const lines = detail.split("\n").reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / 36)), 0);
  return 34 + 16 * Math.min(detail ? lines : 0, 4);
}

function place(plan: SqlPlan): Placed {
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "BT", nodesep: 22, ranksep: 34, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const { id, detail } of plan.nodes) graph.setNode(id, { width: WIDE, height: heightOf(detail) });
  for (const { from, to } of plan.edges) graph.setEdge(from, to);
  dagre.layout(graph);
  const size = graph.graph();
  return {
    width: size.width ?? WIDE,
    height: size.height ?? 100,
    nodes: graph.nodes().map((id) => {
      const { x, y, height } = graph.node(id);
      return { id, left: x - WIDE / 2, top: y - height / 2, height };
    }),
    edges: graph.edges().map(({ v, w }) => {
      const [a, b] = [graph.node(v), graph.node(w)];
      const [from, to] = [a.y - a.height / 2, b.y + b.height / 2];
      const middle = (from + to) / 2;
      return { from: v, to: w, path: `M${a.x},${from} C${a.x},${middle} ${b.x},${middle} ${b.x},${to}` };
    }),
  };
}
