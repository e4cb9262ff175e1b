/** Capture: where each source stands in its server's log, what the server keeps for it, what is being read. */
import { figures } from "../api/live";
import { type Capture, sources } from "../capture/api";
import { Changes } from "../capture/changes";
import { Kept } from "../capture/kept";
import { Snapshots } from "../capture/snapshots";
import { Badge } from "../components/badge";
import { Chart } from "../components/chart";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { PageHead, Panel } from "../components/page";
import { useResource } from "../components/resource";
import { bytes } from "../format/bytes";
import { count, rate } from "../format/number";
import { utc } from "../format/time";

const EVERY_MS = 2000;

/** `/capture` shows all sources, `/capture/NAME` one. */
export default function CapturePage({ params }: { params: Record<string, string> }) {
  const { data, problem, reload } = useResource(sources, [], EVERY_MS);
  if (!data) return problem ? <ProblemNote problem={problem} /> : <Loading />;
  const shown = params.source ? data.filter(({ name }) => name === params.source) : data;
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
        <Source key={source.name} source={source} onSteered={reload} />
      ))}
    </>
  );
}

function Source({ source, onSteered }: { source: Capture; onSteered: () => void }) {
  const error = typeof source.error === "string" ? { message: source.error, hint: "" } : source.error;
  return (
    <section class="capture-source" aria-label={`Source ${source.name}`}>
      <div class="capture-head">
        <h2>{source.name}</h2>
        <span class="muted">{source.type}</span>
        <Badge state={source.state} />
      </div>
      {error && (
        <div class="problem" role="alert">
          <strong>{error.message}</strong>
          {error.hint && <p>{error.hint}</p>}
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
        <Panel title="Lag" class="capture-lag" padded actions={<span>{bytes(source.lag_bytes)} behind</span>}>
          <Lag source={source.name} />
        </Panel>
        <Panel title="Reading of tables">
          <Snapshots source={source} onSteered={onSteered} />
        </Panel>
        <Panel title="Schema changes">
          <Changes changes={source.changes} />
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

function Position({ source }: { source: Capture }) {
  const figure = (name: string, value: string | number | boolean | null) => {
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value !== "number") return value ?? "–";
    return name.endsWith("_bytes") ? bytes(value) : count(value);
  };
  const told = Object.entries(source.figures).filter(
    ([name, value]) => name in WORDS && value !== null && value !== "",
  );
  return (
    <>
      <dl class="facts">
        <dt>position</dt>
        <dd class="mono position">{positionOf(source)}</dd>
        {source.position_at_us && (
          <>
            <dt>committed</dt>
            <dd>{utc(source.position_at_us)}</dd>
          </>
        )}
        <dt>rate</dt>
        <dd>{rate(source.rows_per_s)}</dd>
        {told.map(([name, value]) => [
          <dt key={name}>{WORDS[name]}</dt>,
          <dd key={`${name}=`} class={typeof value === "string" ? "mono" : undefined}>
            {figure(name, value)}
          </dd>,
        ])}
        {source.gaps > 0 && (
          <>
            <dt>accepted gaps</dt>
            <dd class="tone-fail">{count(source.gaps)}</dd>
          </>
        )}
      </dl>
      <Kept source={source} />
    </>
  );
}

/** An LSN as PostgreSQL writes it; others as they are. */
function positionOf({ type, position }: Capture): string {
  if (position === null) return "–";
  if (type === "postgres" && typeof position === "number") {
    const high = Math.floor(position / 2 ** 32).toString(16);
    return `${high}/${(position % 2 ** 32).toString(16)}`.toUpperCase();
  }
  return String(position);
}

function Lag({ source }: { source: string }) {
  const { at, series } = figures.value;
  const values = (name: string) => series[`source:${source}:${name}`];
  const lag = values("lag_bytes");
  const kept = values("kept_bytes");
  if (!lag || at.length < 2) return <p class="muted">The chart begins in a moment.</p>;
  const lines = [{ label: "lag", values: lag, colour: "series-1" }];
  if (kept?.some((value) => value !== null))
    lines.push({ label: "kept by the server", values: kept, colour: "series-3" });
  return <Chart at={at} series={lines} kind="area" height={190} label={`Lag of ${source}`} format={bytes} legend />;
}
