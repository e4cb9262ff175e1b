// Works out where the nodes of a graph stand; in a worker, since hundreds of nodes take longer than a frame.
import { Graph, layout } from "@dagrejs/dagre";
import { type LayoutAnswer, type LayoutRequest, NODE_HEIGHT, NODE_WIDTH } from "../graph/layout";

addEventListener("message", ({ data, ports }: MessageEvent<LayoutRequest>) => {
  const began = performance.now();
  const graph = new Graph();
  const many = data.ids.length > 150;
  graph.setGraph({
    rankdir: "LR",
    nodesep: 20,
    ranksep: many ? 110 : 64,
    ranker: many ? "longest-path" : "network-simplex",
  });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const id of data.ids) graph.setNode(id, { width: NODE_WIDTH, height: NODE_HEIGHT });
  for (const [from, to] of data.edges) graph.setEdge(from, to);
  layout(graph);
  const answer: LayoutAnswer = {
    places: data.ids.map((id) => {
      const { x, y } = graph.node(id) as { x: number; y: number };
      return [id, { x, y }];
    }),
    took_ms: performance.now() - began,
  };
  ports[0]!.postMessage(answer);
});
