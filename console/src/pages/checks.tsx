import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { get } from "../api/client";
import type { CheckLine, Checks, Outcome } from "../api/schema";
import { Badge } from "../components/badge";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { Facts, PageHead, Panel } from "../components/page";
import { useResource } from "../components/resource";
import { Table, type TableColumn } from "../components/table";
import { Segments } from "../components/tabs";
import { count, plural } from "../format/number";
import { clock, utc } from "../format/time";

const EVERY_MS = 2000;
const RANK: Record<string, number> = { fail: 0, warn: 1, unknown: 2, ok: 3 };
const SHOWN = 16;

/** What must be true of the rows, and whether it is. */
export default function ChecksPage() {
  const { data, problem } = useResource((signal) => get<Checks>("/v1/checks", {}, signal), [], EVERY_MS);
  const [shown, setShown] = useState<"all" | "wrong">("all");
  const [chosen, setChosen] = useState("");
  const checks = [...(data?.checks ?? [])].sort((a, b) => (RANK[a.state] ?? 2) - (RANK[b.state] ?? 2));
  const wrong = checks.filter((one) => one.state === "fail" || one.state === "warn");
  return (
    <>
      <PageHead
        title="Checks"
        badge={data && <Verdict checks={checks} wrong={wrong.length} />}
        lead="What must be true of the rows of streams and models. A check that fails warns, sets the rows aside as rejects, or stops the epoch, as its severity says."
      >
        {checks.length > 0 && (
          <Segments
            label="Which checks"
            options={[
              ["all", "All"],
              ["wrong", "Failing"],
            ]}
            chosen={shown}
            onChoose={setShown}
          />
        )}
      </PageHead>
      {problem && !data && <ProblemNote problem={problem} />}
      {!data && !problem && <Loading />}
      {data && (
        <Panel>
          <Table
            columns={COLUMNS}
            rows={shown === "wrong" ? wrong : checks}
            label="Checks"
            rowKey={idOf}
            onRow={(one) => setChosen(chosen === idOf(one) ? "" : idOf(one))}
            selected={(one) => idOf(one) === chosen}
            tone={(one) => (one.state === "fail" ? "bad" : "")}
            empty={checks.length ? <Empty icon="ok" title="No check fails" /> : <None />}
          />
        </Panel>
      )}
      {checks
        .filter((one) => idOf(one) === chosen)
        .map((one) => (
          <Closely key={idOf(one)} check={one} />
        ))}
    </>
  );
}

function idOf(one: CheckLine): string {
  return `${one.model} ${one.name}`;
}

/** One check: what it says, a row that fails it, and how it stood before. */
function Closely({ check }: { check: CheckLine }) {
  const facts: [string, ComponentChildren][] = [
    ["name", <code>{check.name}</code>],
    ["must be true", check.says],
    ["now", check.message],
  ];
  if (check.score !== null) facts.push(["away from the usual", `${check.score.toFixed(1)} deviations`]);
  if (check.example) facts.push(["a row that fails", <code>{check.example}</code>]);
  return (
    <Panel title={`${check.says || check.name}`} padded class="check-detail">
      <Facts facts={facts} />
      <Table
        columns={OUTCOMES}
        rows={check.history}
        label="How it stood before, newest first"
        rowKey={(one) => one.epoch}
        height="260px"
      />
    </Panel>
  );
}

const OUTCOMES: TableColumn<Outcome>[] = [
  {
    id: "at",
    title: "From",
    head: true,
    cell: (one) => <span title={utc(one.at_us)}>{clock(one.at_us)}</span>,
  },
  { id: "epoch", title: "Epoch", num: true, cell: (one) => count(one.epoch) },
  { id: "state", title: "State", cell: (one) => <Badge state={one.state} /> },
  { id: "failing", title: "Failing", num: true, cell: (one) => count(one.failing) },
  { id: "value", title: "Value", num: true, cell: (one) => count(one.value) },
];

function Verdict({ checks, wrong }: { checks: CheckLine[]; wrong: number }) {
  if (checks.length === 0) return null;
  const failing = checks.some((one) => one.state === "fail");
  const unknown = checks.filter((one) => one.state === "unknown").length;
  const passing = checks.length - wrong - unknown;
  if (wrong > 0) return <Badge tone={failing ? "fail" : "warn"}>{`${wrong} of ${checks.length} fail`}</Badge>;
  if (unknown === 0) return <Badge tone="ok">{`${plural(passing, "check")} pass`}</Badge>;
  return (
    <Badge tone={passing ? "ok" : "idle"}>{`${passing} of ${checks.length} pass, ${unknown} not known yet`}</Badge>
  );
}

function None() {
  return (
    <Empty icon="checks" title="No checks yet" command={"headwater checks"}>
      Write some under checks: in a model's front matter, such as not_null: [customer], or in checks/NAME.yml.
    </Empty>
  );
}

const COLUMNS: TableColumn<CheckLine>[] = [
  { id: "state", title: "State", cell: (one) => <Badge state={one.state} />, sort: (one) => RANK[one.state] },
  {
    id: "model",
    title: "Of",
    head: true,
    cell: (one) => <a href={`/graph?node=model:${encodeURIComponent(one.model)}`}>{one.model}</a>,
    sort: (one) => one.model,
  },
  {
    id: "name",
    title: "Check",
    cell: (one) => <span title={one.says ?? ""}>{one.says || one.name}</span>,
    sort: (one) => one.name,
  },
  {
    id: "kind",
    title: "Kind",
    cell: (one) => <span class="muted">{one.kind.replaceAll("_", " ")}</span>,
    sort: (one) => one.kind,
  },
  { id: "severity", title: "If it fails", cell: (one) => one.severity, sort: (one) => one.severity },
  {
    id: "failing",
    title: "Failing",
    num: true,
    cell: (one) => <span class={one.failing ? "tone-fail" : "muted"}>{count(one.failing)}</span>,
    sort: (one) => one.failing,
  },
  {
    id: "value",
    title: "Value",
    num: true,
    cell: (one) => (one.value == null ? "–" : typeof one.value === "number" ? count(one.value) : one.value),
  },
  { id: "history", title: "Before", cell: (one) => <Before outcomes={one.history ?? []} /> },
  {
    id: "at",
    title: "Looked at",
    num: true,
    cell: (one) => <span title={utc(one.at_us)}>{clock(one.at_us)}</span>,
    sort: (one) => one.at_us,
  },
];

/** The last outcomes as a row of marks, oldest first. */
function Before({ outcomes }: { outcomes: Outcome[] }) {
  if (outcomes.length === 0) return <span class="muted">–</span>;
  const shown = outcomes.slice(0, SHOWN).reverse();
  const wrong = shown.filter((one) => one.state !== "ok").length;
  return (
    <svg width={shown.length * 5} height="14" role="img" aria-label={`${wrong} of the last ${shown.length} failed`}>
      {shown.map((one, i) => (
        <rect
          key={i}
          x={i * 5}
          y={one.state === "ok" ? 4 : 0}
          width="3"
          height={one.state === "ok" ? 10 : 14}
          rx="1"
          fill={`var(--${one.state === "ok" ? "ok" : one.state === "fail" ? "fail" : one.state === "warn" ? "warn" : "idle"})`}
        />
      ))}
    </svg>
  );
}
