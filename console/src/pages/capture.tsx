/** Capture: where each source stands in its server's log, what the server keeps for it, what is being read. */
import type { ComponentChildren } from "preact";
import { figures } from "../api/live";
import type { CapturedSource, SchemaChange } from "../api/schema";
import { captured } from "../capture/api";
import { Changes } from "../capture/changes";
import { Kept } from "../capture/kept";
import { Snapshots } from "../capture/snapshots";
import { Badge } from "../components/badge";
import { Chart } from "../components/chart";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { Facts, PageHead, Panel } from "../components/page";
import { useResource } from "../components/resource";
import { bytes } from "../format/bytes";
import { lag } from "../format/lag";
import { count, plural } from "../format/number";
import { span } from "../format/time";

const EVERY_MS = 2000;

/** `/capture` shows all sources, `/capture/NAME` one. */
export default function CapturePage({ params }: { params: Record<string, string> }) {
  const { data, problem, reload } = useResource(captured, [], EVERY_MS);
  if (!data) return problem ? <ProblemNote problem={problem} /> : <Loading />;
  const shown = params.source ? data.sources.filter(({ name }) => name === params.source) : data.sources;
  return (
    <>
      <PageHead
        title="Capture"
        lead="Where each source stands in its server's log, and what the server keeps for it."
      />
      {shown.length === 0 && (
        <Empty title="There is no such source">The project's sources stand in headwater.yml.</Empty>
      )}
      {shown.map((source) => (
        <Source
          key={source.name}
          source={source}
          changes={data.schema_changes.filter((change) => change.source === source.name)}
          onSteered={reload}
        />
      ))}
    </>
  );
}

interface SourceProps {
  source: CapturedSource;
  changes: SchemaChange[];
  onSteered: () => void;
}

function Source({ source, changes, onSteered }: SourceProps) {
  return (
    <section class="capture-source" aria-label={`Source ${source.name}`}>
      <div class="capture-head">
        <h2>{source.name}</h2>
        <span class="muted">{source.type}</span>
        <Badge state={source.state} />
      </div>
      {source.error && (
        <div class="problem" role="alert">
          <strong>{source.error}</strong>
          {source.hint && <p>{source.hint}</p>}
        </div>
      )}
      {source.alarms.map(({ code, message, hint }) => (
        <div class="notice warn" key={code}>
          <b>{message}</b>
          {hint && <p>{hint}</p>}
        </div>
      ))}
      <div class="capture-grid">
        <Panel title="Position" padded>
          <Position source={source} />
        </Panel>
        <Panel
          title="Lag"
          class="capture-lag"
          padded
          actions={<span>{lag(source.lag_bytes, source.lag_unit)} behind</span>}
        >
          <Lag source={source.name} unit={source.lag_unit} />
        </Panel>
        <Panel title="Reading of tables">
          <Snapshots source={source} onSteered={onSteered} />
        </Panel>
        <Panel title="Schema changes">
          <Changes changes={changes} />
        </Panel>
      </div>
    </section>
  );
}

/** Names of figures in words; those that the bar shows are left out. */
const WORDS: Record<string, string> = {
  slot: "slot",
  wal_unconfirmed_bytes: "not confirmed yet",
  wal_status: "state of the WAL",
  wal_safe_bytes: "may still be written before it is lost",
  failover: "follows a failover",
  connections: "connections",
  file: "binary log",
  log_behind_files: "files behind",
  log_oldest_file: "oldest file there",
  log_kept_bytes: "binary logs there",
  log_kept_s: "kept for",
  group: "consumer group",
  lag_messages: "messages behind",
  topics: "topics",
  partitions: "partitions",
};

function Position({ source }: { source: CapturedSource }) {
  const told = Object.entries(source.figures).filter(
    ([name, value]) => name in WORDS && value !== null && value !== "",
  );
  const { base, head, segments, bytes: kept } = source.log;
  const facts: [string, ComponentChildren][] = [
    ["position", <b class="mono">{source.position ?? "–"}</b>],
    ...told.map(([name, value]): [string, ComponentChildren] => [WORDS[name]!, figureOf(name, value)]),
    ["in our log", `${count(head - base)} records, ${bytes(kept)} in ${plural(segments, "segment")}`],
  ];
  if (source.gaps) facts.push(["accepted gaps", <b class="tone-fail">{count(source.gaps)}</b>]);
  return (
    <>
      <Facts facts={facts} />
      <Kept source={source} />
    </>
  );
}

function figureOf(name: string, value: unknown): ComponentChildren {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return <span class="mono">{String(value)}</span>;
  if (name.endsWith("_bytes")) return bytes(value);
  return name.endsWith("_s") ? span(value * 1000) : count(value);
}

function Lag({ source, unit }: { source: string; unit: string }) {
  const { at, series } = figures.value;
  const values = (name: string) => series[`source:${source}:${name}`];
  const behind = values("lag_bytes");
  const kept = values("retained_bytes");
  if (!behind || at.length < 2) return <p class="muted">The chart begins in a moment.</p>;
  const lines = [{ label: "lag", values: behind, colour: "series-1" }];
  if (kept?.some((value) => value !== null))
    lines.push({ label: "kept by the server", values: kept, colour: "series-3" });
  return (
    <Chart
      at={at}
      series={lines}
      kind="area"
      height={190}
      label={`Lag of ${source}`}
      format={(amount) => lag(amount, unit)}
      binary={unit !== "messages"}
      legend
    />
  );
}
