import { useEffect, useMemo, useState } from "preact/hooks";
import { get } from "../api/client";
import { overview } from "../api/live";
import type { Graph } from "../api/schema";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { useResource } from "../components/resource";
import { useShortcuts } from "../components/shortcuts";
import { count, plural } from "../format/number";
import { GraphCanvas } from "../graph/canvas";
import { Detail } from "../graph/detail";
import { folded } from "../graph/folding";
import { arranged, columns, type Places } from "../graph/layout";
import { query, setQuery } from "../router";

const MANY = 120;
const EVERY_MS = 2000;

/** The live dataflow, from sources to tables and syncs. */
export default function GraphPage() {
  useEffect(() => {
    document.title = "Graph · Headwater";
  }, []);
  const { data, problem } = useResource((signal) => get<Graph>("/v1/graph", {}, signal), [], EVERY_MS);
  if (!data) return problem ? <ProblemNote problem={problem} /> : <Loading />;
  if (data.nodes.length === 0) {
    return (
      <Empty icon="graph" title="Nothing flows yet" command="headwater init">
        The graph shows sources, streams, models, tables and syncs as soon as the project has them.
      </Empty>
    );
  }
  return <Live graph={data} />;
}

function Live({ graph }: { graph: Graph }) {
  const [tables, setTables] = useState(graph.nodes.length <= MANY);
  const [wanted, setWanted] = useState("");
  const chosen = query.value.get("node");
  const shown = useMemo(() => (tables ? graph : folded(graph)), [graph, tables]);
  const places = usePlaces(shown);
  const choose = (id: string | null) => setQuery({ node: id });
  const node = graph.nodes.find((one) => one.id === chosen);
  const found = useMemo(() => {
    const text = wanted.trim().toLowerCase();
    return text ? new Set(shown.nodes.filter((one) => one.id.toLowerCase().includes(text)).map((one) => one.id)) : null;
  }, [shown, wanted]);
  useShortcuts(
    [{ keys: "f", says: "Find a node in the graph", run: () => document.getElementById("graph-find")?.focus() }],
    [],
  );
  const wrong = shown.nodes.filter((one) => one.problem).length;
  return (
    <div class={`graph ${node ? "with-detail" : ""}`}>
      <div class="graph-bar">
        <h1>Graph</h1>
        <span class="muted" data-testid="graph-counts">
          {plural(shown.nodes.length, "node")}
          {graph.nodes.length > shown.nodes.length &&
            ` of ${count(graph.nodes.length)}, tables folded into what feeds them`}
          {wrong > 0 && <span class="tone-warn"> · {wrong} to look at</span>}
          {overview.value && <span class="wide"> · epoch {overview.value.epoch}</span>}
        </span>
        <label class="graph-tables" title="Show tables as nodes of their own">
          <input type="checkbox" checked={tables} onChange={(event) => setTables(event.currentTarget.checked)} /> Tables
        </label>
        <input
          id="graph-find"
          class="input"
          type="search"
          placeholder="Find a node"
          aria-label="Find a node"
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && found?.size && choose([...found][0]!)}
        />
      </div>
      <GraphCanvas {...shown} places={places} chosen={chosen} found={found} onChoose={choose} />
      {node && <Detail key={node.id} node={node} onClose={() => choose(null)} onChoose={choose} />}
    </div>
  );
}

/** Places of the nodes; worked out anew only when nodes or edges come or go. */
function usePlaces(graph: Graph): Places {
  const shape = graph.nodes.map((one) => one.id).join() + graph.edges.map((one) => `${one.from}>${one.to}`).join();
  const quick = useMemo(() => columns(graph.nodes, graph.edges), [shape]);
  const [best, setBest] = useState<{ shape: string; places: Places } | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    void arranged(graph.nodes, graph.edges, stop.signal).then((places) => {
      setBest({ shape, places });
      performance.mark("graph-arranged"); // read by bench/console_graph.py
    });
    return () => stop.abort();
  }, [shape]);
  return best?.shape === shape ? best.places : quick;
}
