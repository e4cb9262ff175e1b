import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { get } from "../api/client";
import type { Node, NodeDetail } from "../api/schema";
import { Badge } from "../components/badge";
import { Code } from "../components/code";
import { Loading, ProblemNote } from "../components/empty";
import { Icon } from "../components/icon";
import { Facts } from "../components/page";
import { useResource } from "../components/resource";
import { LiveSpark } from "../components/spark";
import { ResultTable, Table, type TableColumn } from "../components/table";
import { type Tab, Tabs } from "../components/tabs";
import { bytes } from "../format/bytes";
import { count, percent, rate } from "../format/number";
import { clock, utc } from "../format/time";

const PAGES: Partial<Record<Node["kind"], string>> = {
  source: "/capture/",
  stream: "/streams/",
  model: "/sql/",
  table: "/tables/",
};
const EVERY_MS = 5000;

/** One node closely, beside the graph. */
export function Detail(props: { node: Node; onClose: () => void; onChoose: (id: string) => void }) {
  const { node } = props;
  const [tab, setTab] = useState("state");
  const path = `/v1/graph/${node.kind}/${encodeURIComponent(node.name)}`;
  const { data, problem } = useResource((signal) => get<NodeDetail>(path, {}, signal), [path], EVERY_MS);
  const shown = data?.id === node.id ? data : null;
  const page = PAGES[node.kind];
  return (
    <aside class="graph-detail" aria-label={`${node.kind} ${node.name}`}>
      <header>
        <Icon name={node.kind} />
        <h2>{node.name}</h2>
        <Badge state={node.state} />
        {page && (
          <a
            class="button small ghost icon"
            href={page + encodeURIComponent(node.name)}
            aria-label={`Open the page of ${node.name}`}
          >
            <Icon name="external" size={14} />
          </a>
        )}
        <button type="button" class="button small ghost icon" aria-label="Close" onClick={props.onClose}>
          <Icon name="close" size={14} />
        </button>
      </header>
      {node.problem && <p class="notice warn">{node.problem}</p>}
      {shown?.error && shown.error !== node.problem && <p class="notice warn">{shown.error}</p>}
      {problem && !shown && <ProblemNote problem={problem} />}
      {!shown && !problem && <Loading />}
      {shown && (
        <Tabs label="About this node" tabs={tabs(node, shown, props.onChoose)} chosen={tab} onChoose={setTab} />
      )}
    </aside>
  );
}

function tabs(node: Node, detail: NodeDetail, onChoose: (id: string) => void): Tab[] {
  const all: (Tab | false)[] = [
    { id: "state", label: "State", content: () => <State node={node} detail={detail} onChoose={onChoose} /> },
    detail.columns.length > 0 && { id: "schema", label: "Schema", content: () => <Schema detail={detail} /> },
    detail.sql !== "" && { id: "sql", label: "SQL", content: () => <Code text={detail.sql} label="SQL" /> },
    detail.sample.columns.length > 0 && {
      id: "sample",
      label: "Rows",
      content: () => <ResultTable columns={detail.sample.columns} rows={detail.sample.rows} label="Sample rows" />,
    },
    detail.lineage.length > 0 && {
      id: "lineage",
      label: "Lineage",
      content: () => <Lineage detail={detail} onChoose={onChoose} />,
    },
    detail.operators.length > 0 && {
      id: "operators",
      label: "Operators",
      content: () => <Operators detail={detail} />,
    },
  ];
  return all.filter((tab) => tab !== false);
}

function State({ node, detail, onChoose }: { node: Node; detail: NodeDetail; onChoose: (id: string) => void }) {
  const facts: [string, ComponentChildren][] = [];
  if (node.rows_per_s !== null) {
    const series = `${node.kind}:${node.name}:rows_per_s`;
    facts.push([
      "Rows/s",
      <span class="with-spark">
        {rate(node.rows_per_s)} <LiveSpark series={series} label="Rows per second" />
      </span>,
    ]);
  }
  if (node.rows !== null) facts.push(["Rows", count(node.rows)]);
  if (node.busy !== null) facts.push(["Busy", percent(node.busy)]);
  if (node.state_bytes !== null) facts.push(["State size", bytes(node.state_bytes)]);
  if (node.watermark_us !== null)
    facts.push(["Watermark", <span title={utc(node.watermark_us)}>{clock(node.watermark_us)}</span>]);
  if (detail.key.length) facts.push(["Key", <code>{detail.key.join(", ")}</code>]);
  const settings = Object.entries(detail.settings).filter(([, value]) => value !== null && value !== "");
  const metrics = Object.entries(detail.metrics).filter(([, value]) => value !== null);
  return (
    <>
      <Facts facts={facts} />
      <Ends title="Reads" ids={detail.upstream} onChoose={onChoose} />
      <Ends title="Read by" ids={detail.downstream} onChoose={onChoose} />
      {metrics.length > 0 && <h3>Metrics</h3>}
      <Facts facts={metrics.map(([name, value]) => [words(name), measured(name, value!)])} />
      {settings.length > 0 && <h3>Settings</h3>}
      <Facts
        facts={settings.map(([name, value]) => [
          words(name),
          <code>{typeof value === "object" ? JSON.stringify(value) : String(value)}</code>,
        ])}
      />
    </>
  );
}

function Ends({ title, ids, onChoose }: { title: string; ids: string[]; onChoose: (id: string) => void }) {
  if (ids.length === 0) return null;
  return (
    <>
      <h3>{title}</h3>
      <p class="ends">
        {ids.map((id) => (
          <NodeLink key={id} id={id} onChoose={onChoose} />
        ))}
      </p>
    </>
  );
}

function NodeLink({ id, onChoose }: { id: string; onChoose: (id: string) => void }) {
  const [kind, ...name] = id.split(":");
  return (
    <button type="button" class="button small" onClick={() => onChoose(id)}>
      <Icon name={kind!} size={12} />
      {name.join(":")}
      <span class="sr-only"> ({kind})</span>
    </button>
  );
}

const SCHEMA_COLUMNS: TableColumn<{ name: string; type: string; key: boolean }>[] = [
  { id: "name", title: "Column", head: true, cell: (one) => one.name },
  { id: "type", title: "Type", cell: (one) => <code class="muted">{one.type}</code> },
  { id: "key", title: "", cell: (one) => (one.key ? <span class="badge plain info">key</span> : null) },
];

function Schema({ detail }: { detail: NodeDetail }) {
  const rows = detail.columns.map((column) => ({ ...column, key: detail.key.includes(column.name) }));
  return <Table columns={SCHEMA_COLUMNS} rows={rows} label="Columns" rowKey={(one) => one.name} />;
}

function Lineage({ detail, onChoose }: { detail: NodeDetail; onChoose: (id: string) => void }) {
  return (
    <dl class="lineage">
      {detail.lineage.map(({ column, from }) => (
        <div key={column}>
          <dt>{column}</dt>
          {from.length === 0 && <dd class="muted">from no column</dd>}
          {from.map((origin) => (
            <dd key={`${origin.node}.${origin.column}`}>
              <button type="button" class="origin" onClick={() => onChoose(origin.node)}>
                {origin.node.split(":").slice(1).join(":") || origin.node}.{origin.column}
              </button>
              <span class="muted">{words(origin.how)}</span>
            </dd>
          ))}
        </div>
      ))}
    </dl>
  );
}

function Operators({ detail }: { detail: NodeDetail }) {
  return (
    <>
      <ol class="operators">
        {detail.operators.map((one) => (
          <li key={one.id}>
            <strong>{one.title}</strong>
            {one.detail && <p>{one.detail}</p>}
            {one.keeps && <p class="muted">keeps {one.keeps}</p>}
          </li>
        ))}
      </ol>
      {detail.explain && <Code text={detail.explain} wrap label="Explanation" />}
    </>
  );
}

function words(name: string): string {
  return name.replace(/_(bytes|us|ms|per_s|s)$/, "").replaceAll("_", " ");
}

function measured(name: string, value: number): string {
  if (name.endsWith("_bytes")) return bytes(value);
  if (name.endsWith("_per_s")) return rate(value);
  if (name.endsWith("_us")) return clock(value);
  return count(value);
}
