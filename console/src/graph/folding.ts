// In a large graph the table of a stream or model is shown as part of it: half the nodes say as much.
import type { Edge, Graph, Node } from "../api/schema";

/** The graph without tables that only hold what one other node gives; their rows are shown on that node. */
export function folded(graph: Graph): Graph {
  const feeds = new Map<string, Edge[]>();
  for (const edge of graph.edges) {
    if (!feeds.has(edge.to)) feeds.set(edge.to, []);
    feeds.get(edge.to)!.push(edge);
  }
  const into = new Map<string, string>();
  for (const { id, kind, problem } of graph.nodes) {
    const from = feeds.get(id) ?? [];
    if (kind === "table" && from.length === 1 && !problem) into.set(id, from[0]!.from);
  }
  const rows = new Map<string, number | null>();
  for (const node of graph.nodes) if (into.has(node.id)) rows.set(into.get(node.id)!, node.rows);
  const nodes = graph.nodes
    .filter((node) => !into.has(node.id))
    .map((node): Node => (node.rows === null && rows.has(node.id) ? { ...node, rows: rows.get(node.id)! } : node));
  const edges = graph.edges
    .filter((edge) => !into.has(edge.to))
    .map((edge) => (into.has(edge.from) ? { ...edge, from: into.get(edge.from)! } : edge));
  return { nodes, edges };
}
