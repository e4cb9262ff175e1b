import { useEffect, useState } from "preact/hooks";
import { get, post } from "../api/client";
import { Badge, type Tone } from "../components/badge";
import { confirm } from "../components/dialog";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { Icon } from "../components/icon";
import { PageHead, Panel } from "../components/page";
import { useResource } from "../components/resource";
import { Table, type TableColumn } from "../components/table";
import { toast, toastProblem } from "../components/toast";
import { bytes } from "../format/bytes";
import { count } from "../format/number";
import { ChangeUnderWay } from "../plan/change";
import type { Apply as Change, Plan, PlanItem } from "../api/schema";

const EVERY_MS = 700;
const CANARIES: [string, string][] = [
  ["", "swap as soon as it has caught up"],
  ["10", "compare both for 10 s first"],
  ["60", "compare both for 1 min first"],
  ["600", "compare both for 10 min first"],
];

/** What the project's files would change, and the change itself, without stopping the rest. */
export default function PlanPage() {
  const plan = useResource((signal) => post<Plan>("/v1/plan", {}, signal), []);
  const change = useResource((signal) => get<Change>("/v1/apply", {}, signal), [], EVERY_MS);
  const under = change.data && change.data.id !== null ? change.data : null;
  const over = under?.over ?? true;
  useEffect(() => {
    if (over) plan.reload();
  }, [over, under?.id]);
  const again = () => {
    plan.reload();
    change.reload();
  };
  return (
    <>
      <PageHead
        title="Plan"
        lead="What the files of the project would change of what runs. A changed model is built beside the old one, catches up, and takes its place at one epoch; everything else goes on."
      >
        <button type="button" class="button" onClick={again}>
          <Icon name="reload" size={14} /> Read the files again
        </button>
      </PageHead>
      {under && <ChangeUnderWay change={under} onDone={again} />}
      {plan.problem && !plan.data && <ProblemNote problem={plan.problem} />}
      {!plan.data && !plan.problem && <Loading />}
      {plan.data && <Planned plan={plan.data} busy={!over} onBegun={again} />}
    </>
  );
}

function Planned({ plan, busy, onBegun }: { plan: Plan; busy: boolean; onBegun: () => void }) {
  const moving = plan.items.filter((item) => item.consequence !== "nothing");
  const [all, setAll] = useState(false);
  if (plan.mistakes.length > 0) return <Mistakes plan={plan} />;
  return (
    <>
      {plan.restart.length > 0 && (
        <p class="notice warn">
          The settings of {plan.restart.join(", ")} have changed: they take effect when <code>headwater run</code> is
          started again.
        </p>
      )}
      <Panel
        title={moving.length ? "What would change" : "Changes"}
        actions={
          <label>
            <input type="checkbox" checked={all} onChange={(event) => setAll(event.currentTarget.checked)} /> show what
            stays
          </label>
        }
      >
        <Table
          columns={ITEMS}
          rows={all ? plan.items : moving}
          label="What would change"
          rowKey={(item) => `${item.kind} ${item.name}`}
          empty={
            <Empty icon="ok" title="The files say what runs" command="$EDITOR models/NAME.sql">
              Apply a model and look here again, or write one on the SQL page.
            </Empty>
          }
        />
        {plan.can_apply && !busy && <Apply plan={plan} onBegun={onBegun} />}
      </Panel>
      <Needs plan={plan} />
      <Versions plan={plan} busy={busy} onBegun={onBegun} />
    </>
  );
}

function Mistakes({ plan }: { plan: Plan }) {
  return (
    <Panel title="The files have mistakes">
      <ul class="mistakes">
        {plan.mistakes.map((one) => (
          <li key={`${one.file}:${one.line}:${one.message}`}>
            <code>
              {one.file}
              {one.line > 0 && `:${one.line}`}
            </code>
            <p>
              <strong>{one.message}</strong>
            </p>
            {one.hint && <p class="muted">{one.hint}</p>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

const CONSEQUENCES: Record<string, Tone> = {
  rebuild: "info",
  create: "ok",
  refuse: "fail",
  leave: "warn",
  nothing: "idle",
};

const ITEMS: TableColumn<PlanItem>[] = [
  { id: "kind", title: "Kind", cell: (item) => <span class="muted">{item.kind}</span>, sort: (item) => item.kind },
  { id: "name", title: "Name", head: true, cell: (item) => item.name, sort: (item) => item.name },
  { id: "state", title: "State", cell: (item) => item.state, sort: (item) => item.state },
  {
    id: "consequence",
    title: "Then",
    cell: (item) => <Badge tone={CONSEQUENCES[item.consequence] ?? "info"}>{item.consequence}</Badge>,
    sort: (item) => item.consequence,
  },
  { id: "reason", title: "Why", cell: (item) => <span title={item.reason}>{item.reason}</span> },
];

function Apply({ plan, onBegun }: { plan: Plan; onBegun: () => void }) {
  const [canary, setCanary] = useState("");
  const apply = async () => {
    const names = plan.items
      .filter((item) => item.kind === "model" && item.consequence !== "nothing")
      .map((item) => item.name);
    const sure = await confirm({
      title: "Apply the project's files?",
      text: `${names.join(", ") || "The changes"}: built beside what runs, then swapped in at one epoch. A rollback brings the old version back.`,
      confirm: "Apply",
    });
    if (!sure) return;
    try {
      await post("/v1/apply", { digest: plan.digest, confirm: true, ...(canary ? { canary_s: Number(canary) } : {}) });
      toast({ tone: "ok", text: "The change has begun." });
      onBegun();
    } catch (error) {
      toastProblem(error);
    }
  };
  return (
    <div class="plan-apply">
      <label class="field">
        <span>When the new version is ready</span>
        <select class="select" value={canary} onChange={(event) => setCanary(event.currentTarget.value)}>
          {CANARIES.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <button type="button" class="button primary" onClick={apply}>
        Apply
      </button>
    </div>
  );
}

function Needs({ plan }: { plan: Plan }) {
  const rows = plan.needs.flatMap((need) => need.inputs.map((input) => ({ model: need.model, ...input })));
  if (rows.length === 0 && (plan.kept.length === 0 || !plan.can_apply)) return null;
  return (
    <Panel
      title="What building takes"
      actions={plan.kept.length > 0 && <span>state is kept of {plan.kept.map((one) => one.model).join(", ")}</span>}
    >
      <Table
        columns={NEEDS}
        rows={rows}
        label="What building takes"
        rowKey={(one) => `${one.model} ${one.name}`}
        empty={<Empty icon="ok" title="No history has to be read" />}
      />
    </Panel>
  );
}

const NEEDS: TableColumn<{ model: string; name: string; rows: number | null; bytes: number | null; where: string }>[] =
  [
    { id: "model", title: "Model", head: true, cell: (one) => one.model },
    { id: "name", title: "Reads", cell: (one) => one.name },
    { id: "where", title: "From", cell: (one) => <span class="muted">{one.where}</span> },
    { id: "rows", title: "Rows", num: true, cell: (one) => count(one.rows) },
    { id: "bytes", title: "Size", num: true, cell: (one) => bytes(one.bytes) },
  ];

function Versions({ plan, busy, onBegun }: { plan: Plan; busy: boolean; onBegun: () => void }) {
  const models = Object.entries(plan.versions).filter(([, versions]) => versions > 1);
  if (models.length === 0) return null;
  const rollBack = async (model: string) => {
    const text = `The version of ${model} that ran before is built again and swapped in, and its file is put back.`;
    if (!(await confirm({ title: `Roll ${model} back?`, text, confirm: "Roll back", danger: true }))) return;
    try {
      await post("/v1/rollback", { model, confirm: true });
      toast({ tone: "ok", text: `Rolling ${model} back.` });
      onBegun();
    } catch (error) {
      toastProblem(error);
    }
  };
  return (
    <Panel title="Versions that ran">
      <ul class="plan-versions">
        {models.map(([model, versions]) => (
          <li key={model}>
            <strong>{model}</strong>
            <span class="muted">{count(versions)} versions</span>
            <button
              type="button"
              class="button small"
              disabled={busy}
              onClick={() => rollBack(model)}
              aria-label={`Roll ${model} back`}
            >
              Roll back
            </button>
          </li>
        ))}
      </ul>
    </Panel>
  );
}
