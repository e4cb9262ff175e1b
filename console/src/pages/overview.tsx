import { figures, journal, overview } from "../api/live";
import type { ModelGlance, Overview, Trouble, SourceGlance, SyncGlance, TableGlance } from "../api/schema";
import { Badge } from "../components/badge";
import { Chart } from "../components/chart";
import { CopyButton } from "../components/code";
import { Empty, Loading } from "../components/empty";
import { Icon } from "../components/icon";
import { PageHead, Panel, Stat } from "../components/page";
import { LiveSpark, Sparkline } from "../components/spark";
import { Table, type TableColumn } from "../components/table";
import { bytes } from "../format/bytes";
import { lag } from "../format/lag";
import { count, plural, rate, short } from "../format/number";
import { clock, span, utc } from "../format/time";
import { go } from "../router";

/** The project at a glance: first what is wrong, then how fast, how fresh, and every part of it. */
export default function OverviewPage() {
  const seen = overview.value;
  return (
    <div class="overview">
      <PageHead
        title="Overview"
        badge={seen && <span class="muted">up {span((seen.now_us - (seen.since_us ?? seen.now_us)) / 1000)}</span>}
      />
      {seen ? <Parts seen={seen} /> : <Loading />}
    </div>
  );
}

function Parts({ seen }: { seen: Overview }) {
  return (
    <>
      <Wrong problems={seen.problems} />
      <Figures seen={seen} />
      <Charts seen={seen} />
      <Sources sources={seen.sources} />
      <Models models={seen.models} now={seen.now_us} />
      <div class="grid halves">
        <Tables tables={seen.tables} />
        <Events />
      </div>
      {seen.syncs.length > 0 && <Syncs syncs={seen.syncs} />}
    </>
  );
}

function Wrong({ problems }: { problems: Trouble[] }) {
  if (problems.length === 0) {
    return (
      <section class="all-well" aria-label="What is wrong">
        <Icon name="ok" />
        <strong>Nothing is wrong.</strong>
        <span class="muted">Every source is connected and every account adds up.</span>
      </section>
    );
  }
  return (
    <Panel
      class="wrong"
      title="What is wrong, and how to mend it"
      actions={<span>{plural(problems.length, "finding")}</span>}
    >
      <ul>
        {problems.map((one) => (
          <li key={`${one.kind} ${one.name} ${one.what}`} class={one.level}>
            <span class={`mark tone-${one.level}`}>
              <Icon name={one.level} />
              <span class="sr-only">{one.level}</span>
            </span>
            <div>
              <p>
                {one.kind !== one.name && <span class="muted">{one.kind} </span>}
                <strong>{one.name}</strong> {one.what}
              </p>
              {one.mend && <Mend text={one.mend} />}
            </div>
            {one.page && one.page !== "/" && one.page !== "/overview" && (
              <a class="button small ghost" href={one.page} aria-label={`Open the page of ${one.kind} ${one.name}`}>
                Open <Icon name="right" size={12} />
              </a>
            )}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

/** A command can be copied; a sentence is read. */
function Mend({ text }: { text: string }) {
  const command = /^(headwater|make|sudo|psql|export|SELECT|ALTER|CREATE|SET)\b/.test(text);
  return command ? (
    <p class="mend">
      <code>{text}</code>
      <CopyButton text={text} label="Copy the command" />
    </p>
  ) : (
    <p class="muted">{text}</p>
  );
}

function Figures({ seen }: { seen: Overview }) {
  const rows = sum(seen.sources.map((one) => one.rows_per_s));
  const inBytes = seen.sources.filter((one) => one.lag_unit === "bytes");
  const counted = inBytes.length ? inBytes : seen.sources;
  const lags = counted.map((one) => one.lag_bytes).filter((amount) => amount !== null);
  const fresh = seen.freshness_ms;
  return (
    <section class="stats" aria-label="Figures">
      <Stat label="Rows in" value={<span data-testid="rows-in">{rate(rows)}</span>}>
        <Sparkline
          values={total(seen.sources.map((one) => `source:${one.name}:rows_per_s`))}
          label="Rows per second"
          width={132}
        />
      </Stat>
      <Stat label="Freshness p50" value={span(fresh.p50)} note={`p99 ${span(fresh.p99)}`}>
        <LiveSpark series="freshness:p50:ms" label="Freshness" tone="series-2" width={132} />
      </Stat>
      <Stat
        label="Lag"
        value={lags.length ? lag(sum(lags), inBytes.length ? "bytes" : "messages") : "–"}
        note="waits at the sources"
      >
        <Sparkline
          values={total(counted.map((one) => `source:${one.name}:lag_bytes`))}
          label="Lag"
          tone="series-3"
          width={132}
        />
      </Stat>
      <Stat
        label="Last checkpoint"
        value={
          typeof seen.checkpoint.age_s === "number" ? (
            <>
              {span(seen.checkpoint.age_s * 1000)} <small>ago</small>
            </>
          ) : (
            "none yet"
          )
        }
        note={seen.checkpoint.epoch === null ? "" : <a href="/checkpoints">epoch {count(seen.checkpoint.epoch)}</a>}
      />
      <Stat
        label="Open rejects"
        value={<span class={seen.rejects.open ? "tone-warn" : ""}>{count(seen.rejects.open)}</span>}
        note={<a href="/rejects">{seen.rejects.open ? plural(seen.rejects.causes ?? 0, "cause") : "the ledger"}</a>}
      />
      <Stat
        label="Accounts"
        value={seen.accounting.holds ? <span class="tone-ok">add up</span> : <span class="tone-fail">broken</span>}
        note={<a href="/accounting">see the sums</a>}
      />
    </section>
  );
}

function Charts({ seen }: { seen: Overview }) {
  const { at, series } = figures.value;
  const of = (name: string) => series[name] ?? at.map(() => null);
  return (
    <div class="grid halves charts">
      <Panel title="Rows per second, by source" padded>
        <Chart
          at={at}
          label="Rows per second of each source over the last 15 minutes"
          kind="area"
          height={150}
          sync="overview"
          series={seen.sources.map((one) => ({ label: one.name, values: of(`source:${one.name}:rows_per_s`) }))}
          format={short}
          legend
        />
      </Panel>
      <Panel title="Freshness: from the source's commit to the tables" padded>
        <Chart
          at={at}
          label="Freshness over the last 15 minutes"
          height={150}
          sync="overview"
          series={[
            { label: "p50", values: of("freshness:p50:ms"), colour: "series-2" },
            { label: "p99", values: of("freshness:p99:ms"), colour: "series-3" },
          ]}
          format={(ms) => span(ms)}
          legend
        />
      </Panel>
    </div>
  );
}

const SOURCE_COLUMNS: TableColumn<SourceGlance>[] = [
  { id: "name", title: "Source", head: true, cell: (one) => one.name, sort: (one) => one.name },
  { id: "type", title: "Type", cell: (one) => <span class="muted">{one.type}</span> },
  { id: "state", title: "State", cell: (one) => <SourceBadge source={one} />, sort: (one) => one.state },
  {
    id: "spark",
    title: "",
    cell: (one) => <LiveSpark series={`source:${one.name}:rows_per_s`} label={`Rows per second of ${one.name}`} />,
  },
  { id: "rate", title: "Rows/s", num: true, cell: (one) => short(one.rows_per_s), sort: (one) => one.rows_per_s },
  { id: "lag", title: "Lag", num: true, cell: (one) => lag(one.lag_bytes, one.lag_unit), sort: (one) => one.lag_bytes },
  { id: "streams", title: "Streams", num: true, cell: (one) => one.streams.length, sort: (one) => one.streams.length },
  { id: "read", title: "Read", num: true, cell: (one) => count(sum(one.streams.map((s) => s.read ?? 0))) },
];

function Sources({ sources }: { sources: SourceGlance[] }) {
  return (
    <Panel title="Sources" actions={<a href="/capture">Capture</a>}>
      <Table
        columns={SOURCE_COLUMNS}
        rows={sources}
        label="Sources"
        rowKey={(one) => one.name}
        onRow={(one) => go(`/capture/${encodeURIComponent(one.name)}`)}
        empty={
          <Empty icon="source" title="No source yet" command="headwater init">
            A source brings changes in: a database, a broker, files, HTTP.
          </Empty>
        }
      />
    </Panel>
  );
}

function SourceBadge({ source }: { source: SourceGlance }) {
  const under = source.snapshots.filter((one) => one.state === "running");
  if (under.length === 0 || source.error) return <Badge state={source.state} />;
  return <Badge tone="info">{plural(under.length, "snapshot")}</Badge>;
}

function modelColumns(now: number): TableColumn<ModelGlance>[] {
  return [
    { id: "name", title: "Model", head: true, cell: (one) => one.name, sort: (one) => one.name },
    { id: "state", title: "State", cell: (one) => <Badge state={one.state ?? "running"} />, sort: (one) => one.state },
    {
      id: "spark",
      title: "",
      cell: (one) => (
        <LiveSpark series={`model:${one.name}:rows_per_s`} label={`Rows per second of ${one.name}`} tone="series-2" />
      ),
    },
    { id: "rate", title: "Rows/s", num: true, cell: (one) => short(one.rows_per_s), sort: (one) => one.rows_per_s },
    { id: "rows", title: "Rows", num: true, cell: (one) => count(one.rows), sort: (one) => one.rows },
    { id: "busy", title: "Busy", num: true, cell: (one) => <Busy share={one.busy} />, sort: (one) => one.busy },
    {
      id: "state_bytes",
      title: "Memory",
      num: true,
      cell: (one) => bytes(one.state_bytes),
      sort: (one) => one.state_bytes,
    },
    {
      id: "watermark",
      title: "Watermark",
      num: true,
      sort: (one) => one.watermark_us,
      cell: (one) =>
        typeof one.watermark_us === "number" ? (
          <span title={utc(one.watermark_us)}>{span((now - one.watermark_us) / 1000)} ago</span>
        ) : (
          "–"
        ),
    },
    { id: "checks", title: "Checks", num: true, cell: (one) => <CheckCounts of={one} /> },
  ];
}

function Busy({ share }: { share: number | null | undefined }) {
  if (typeof share !== "number") return <>–</>;
  return (
    <span class="busy">
      <span class="meter">
        <span style={{ width: `${Math.round(Math.min(1, share) * 100)}%` }} class={share > 0.9 ? "hot" : ""} />
      </span>
      {Math.round(share * 100)} %
    </span>
  );
}

function CheckCounts({ of }: { of: ModelGlance }) {
  const { ok = 0, warn = 0, fail = 0 } = of.checks ?? {};
  if (ok + warn + fail === 0) return <>–</>;
  return (
    <a href="/checks">
      {fail > 0 && <span class="tone-fail">{fail} fail </span>}
      {warn > 0 && <span class="tone-warn">{warn} warn </span>}
      {fail + warn === 0 && <span class="tone-ok">{ok} ok</span>}
    </a>
  );
}

function Models({ models, now }: { models: ModelGlance[]; now: number }) {
  return (
    <Panel title="Models" actions={<a href="/graph">Graph</a>}>
      <Table
        columns={modelColumns(now)}
        rows={models}
        label="Models"
        rowKey={(one) => one.name}
        onRow={(one) => go(`/graph?node=model:${encodeURIComponent(one.name)}`)}
        empty={
          <Empty
            icon="model"
            title="No model yet"
            command="echo 'SELECT * FROM orders' > models/orders_seen.sql && headwater check"
          >
            A model is a SELECT in models/NAME.sql, kept up to date as changes arrive. Try one on the SQL page first.
          </Empty>
        }
      />
    </Panel>
  );
}

const TABLE_COLUMNS: TableColumn<TableGlance>[] = [
  { id: "name", title: "Table", head: true, cell: (one) => one.name, sort: (one) => one.name },
  { id: "rows", title: "Rows", num: true, cell: (one) => count(one.rows), sort: (one) => one.rows },
  { id: "files", title: "Files", num: true, cell: (one) => count(one.files), sort: (one) => one.files },
  { id: "bytes", title: "Size", num: true, cell: (one) => bytes(one.bytes), sort: (one) => one.bytes },
];

function Tables({ tables }: { tables: TableGlance[] }) {
  return (
    <Panel title="Tables" actions={<a href="/tables">All</a>}>
      <Table
        columns={TABLE_COLUMNS}
        rows={tables}
        label="Tables"
        height="362px"
        rowKey={(one) => one.name}
        onRow={(one) => go(`/tables/${encodeURIComponent(one.name)}`)}
        empty={
          <Empty icon="table" title="No table yet" command="headwater tables">
            Tables appear with the first epoch.
          </Empty>
        }
      />
    </Panel>
  );
}

const SYNC_COLUMNS: TableColumn<SyncGlance>[] = [
  { id: "name", title: "Sync", head: true, cell: (one) => one.name, sort: (one) => one.name },
  { id: "model", title: "Of", cell: (one) => one.model },
  { id: "type", title: "To", cell: (one) => <span class="muted">{one.type}</span> },
  { id: "state", title: "State", cell: (one) => <Badge state={one.state} />, sort: (one) => one.state },
  {
    id: "spark",
    title: "",
    cell: (one) => <LiveSpark series={`sync:${one.name}:pending`} label={`Waiting for ${one.name}`} tone="series-3" />,
  },
  { id: "pending", title: "Waiting", num: true, cell: (one) => count(one.pending), sort: (one) => one.pending },
  { id: "delivered", title: "Delivered", num: true, cell: (one) => count(one.delivered), sort: (one) => one.delivered },
  {
    id: "parked",
    title: "Parked",
    num: true,
    cell: (one) => <span class={one.parked ? "tone-warn" : ""}>{count(one.parked)}</span>,
    sort: (one) => one.parked,
  },
];

function Syncs({ syncs }: { syncs: SyncGlance[] }) {
  return (
    <Panel title="Syncs">
      <Table
        columns={SYNC_COLUMNS}
        rows={syncs}
        label="Syncs"
        rowKey={(one) => one.name}
        onRow={(one) => go(`/graph?node=sync:${encodeURIComponent(one.name)}`)}
      />
    </Panel>
  );
}

const EVENTS_SHOWN = 40;

function Events() {
  const entries = [...journal.value].reverse().slice(0, EVENTS_SHOWN);
  return (
    <Panel title="What happened" actions={<span>newest first</span>}>
      <ol class="events" tabIndex={0} aria-label="What happened, newest first">
        {entries.length === 0 && <li class="muted">Nothing yet.</li>}
        {entries.map((one) => (
          <li key={one.number} class={one.level}>
            <time title={utc(one.at_us)}>{clock(one.at_us)}</time>
            <span class="what">{one.event.replaceAll(/[._]/g, " ")}</span>
            <span class="muted">{told(one.fields)}</span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

function told(fields: Record<string, unknown>): string {
  return Object.entries(fields)
    .filter(([name, value]) => value !== null && value !== "" && name !== "hint")
    .map(([name, value]) =>
      ["message", "error", "source", "model", "table", "name"].includes(name) ? String(value) : figure(name, value),
    )
    .join(" · ");
}

/** A field of an event in words; its name says the unit. */
function figure(name: string, value: unknown): string {
  const [, what, unit] = /^(.*?)(?:_(s|ms|bytes))?$/.exec(name)!;
  const words = what!.replaceAll("_", " ");
  if (typeof value !== "number") return `${words} ${typeof value === "object" ? JSON.stringify(value) : value}`;
  const shown = unit === "s" ? span(value * 1000) : unit === "ms" ? span(value) : unit ? bytes(value) : count(value);
  return `${words} ${shown}`;
}

function sum(values: number[]): number {
  return values.reduce((all, one) => all + one, 0);
}

/** Several live series added up, second by second. */
function total(names: string[]): (number | null)[] {
  const { at, series } = figures.value;
  return at.map((_, i) => sum(names.map((name) => series[name]?.[i] ?? 0)));
}
