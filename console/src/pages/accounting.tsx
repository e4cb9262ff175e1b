import type { ComponentChildren } from "preact";
import { get } from "../api/client";
import type { Accounting, AsideLine, Line, SyncLine } from "../api/schema";
import { Badge } from "../components/badge";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { PageHead, Panel } from "../components/page";
import { useResource } from "../components/resource";
import { Table, type TableColumn } from "../components/table";
import { count } from "../format/number";

const EVERY_MS = 1000;

/** That nothing is lost, as sums that anybody can add up again. */
export default function AccountingPage() {
  const { data, problem } = useResource((signal) => get<Accounting>("/v1/accounting", {}, signal), [], EVERY_MS);
  const all = data ? [...data.streams, ...data.models, ...data.syncs, ...data.aside] : [];
  const broken = all.filter((one) => !one.holds);
  return (
    <>
      <PageHead
        title="Accounting"
        badge={
          data && (
            <Badge tone={broken.length ? "fail" : "ok"}>
              {broken.length ? `${broken.length} broken` : "all add up"}
            </Badge>
          )
        }
        lead="Every row that was read is landed, rejected, filtered, late, or on its way. Each is counted where it happens; a sum that does not come out is an alarm."
      />
      {problem && !data && <ProblemNote problem={problem} />}
      {!data && !problem && <Loading />}
      {broken.length > 0 && <Broken names={broken.map((one) => one.name)} />}
      {data && (
        <>
          <Identity title="Streams" accounts={data.streams} />
          <Identity title="Models" accounts={data.models} />
          {data.syncs.length > 0 && <Syncs accounts={data.syncs} />}
          {data.aside.length > 0 && <Aside accounts={data.aside} />}
        </>
      )}
    </>
  );
}

function Broken({ names }: { names: string[] }) {
  return (
    <div class="problem accounting-broken" role="alert">
      <p>
        <strong>The sum does not come out for {names.join(", ")}.</strong>
      </p>
      <p>Rows were counted in that were not counted out. Compare the tables with the log: headwater verify</p>
    </div>
  );
}

function Identity({ title, accounts }: { title: string; accounts: Line[] }) {
  const columns: TableColumn<Line>[] = [
    { id: "name", title: title.slice(0, -1), head: true, cell: (one) => one.name, sort: (one) => one.name },
    { id: "holds", title: "", cell: verdict },
    term("read", "Read", (one) => one.read),
    sign("="),
    term("landed", "Landed", (one) => one.landed),
    sign("+", 1),
    term("rejected", "Rejected", (one) => one.rejected, "tone-warn"),
    sign("+", 2),
    term("filtered", "Filtered", (one) => one.filtered),
    sign("+", 3),
    term("late", "Late", (one) => one.late, "tone-warn"),
    sign("+", 4),
    term("in_flight", "In flight", (one) => one.in_flight),
  ];
  return (
    <Panel title={title}>
      <Table
        columns={columns}
        rows={accounts}
        label={`${title}: read = landed + rejected + filtered + late + in flight`}
        rowKey={(one) => one.name}
        tone={(one) => (one.holds ? "" : "bad")}
        class="identity"
        empty={<Empty icon="accounting" title={`No ${title.toLowerCase()} yet`} command="headwater check" />}
      />
    </Panel>
  );
}

function term(id: string, title: string, of: (one: Line) => number, tone = ""): TableColumn<Line> {
  const cell = (one: Line) => <span class={of(one) === 0 ? "muted" : tone}>{count(of(one))}</span>;
  return { id, title, num: true, cell, sort: of };
}

function sign<T>(text: string, nth = 0): TableColumn<T> {
  return { id: `${text}${nth}`, title: "", cell: () => <span class="sign">{text}</span> };
}

function verdict(one: Line): ComponentChildren {
  if (one.holds) return <Badge tone="ok">holds</Badge>;
  return <Badge tone="fail">{one.difference === 0 ? "broken" : `off by ${count(one.difference)}`}</Badge>;
}

const SYNC_COLUMNS: TableColumn<SyncLine>[] = [
  { id: "name", title: "Sync", head: true, cell: (one) => one.name, sort: (one) => one.name },
  {
    id: "holds",
    title: "",
    cell: (one) => <Badge tone={one.holds ? "ok" : "fail"}>{one.holds ? "holds" : "broken"}</Badge>,
  },
  { id: "handed", title: "Handed", num: true, cell: (one) => count(one.handed), sort: (one) => one.handed },
  sign("="),
  { id: "delivered", title: "Delivered", num: true, cell: (one) => count(one.delivered), sort: (one) => one.delivered },
  sign("+", 1),
  { id: "superseded", title: "Superseded", num: true, cell: (one) => count(one.superseded) },
  sign("+", 2),
  { id: "parked", title: "Parked", num: true, cell: (one) => count(one.parked) },
  sign("+", 3),
  { id: "discarded", title: "Given up", num: true, cell: (one) => count(one.discarded + one.failed) },
  sign("+", 4),
  { id: "pending", title: "Waiting", num: true, cell: (one) => count(one.pending) },
];

function Syncs({ accounts }: { accounts: SyncLine[] }) {
  return (
    <Panel title="Syncs">
      <Table
        columns={SYNC_COLUMNS}
        rows={accounts}
        label="Syncs: handed = delivered + superseded + parked + given up + waiting"
        rowKey={(one) => one.name}
        tone={(one) => (one.holds ? "" : "bad")}
        class="identity"
      />
    </Panel>
  );
}

const ASIDE_COLUMNS: TableColumn<AsideLine>[] = [
  { id: "name", title: "Of", head: true, cell: (one) => one.name, sort: (one) => one.name },
  {
    id: "counts",
    title: "Rows",
    cell: (one) =>
      Object.entries(one.counts)
        .map(([name, rows]) => `${name.replaceAll("_", " ")} ${count(rows)}`)
        .join(" · "),
  },
  {
    id: "holds",
    title: "",
    num: true,
    cell: (one) => <Badge tone={one.holds ? "ok" : "fail"}>{one.holds ? "holds" : "broken"}</Badge>,
  },
];

function Aside({ accounts }: { accounts: AsideLine[] }) {
  return (
    <Panel title="Set aside by checks">
      <Table
        columns={ASIDE_COLUMNS}
        rows={accounts}
        label="Rows that checks set aside"
        rowKey={(one) => one.name}
        tone={(one) => (one.holds ? "" : "bad")}
      />
    </Panel>
  );
}
