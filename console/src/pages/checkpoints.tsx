import { get } from "../api/client";
import { overview } from "../api/live";
import type { Checkpoint, Checkpoints } from "../api/schema";
import { Badge } from "../components/badge";
import { Chart } from "../components/chart";
import { Code, CopyButton } from "../components/code";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { PageHead, Panel, Stat } from "../components/page";
import { useResource } from "../components/resource";
import { Table, type TableColumn } from "../components/table";
import { bytes } from "../format/bytes";
import { count, plural } from "../format/number";
import { ago, clock, span, utc } from "../format/time";

const EVERY_MS = 2000;

const COLUMNS: TableColumn<Checkpoint>[] = [
  { id: "epoch", title: "Epoch", head: true, cell: (one) => count(one.epoch), sort: (one) => one.epoch },
  {
    id: "at",
    title: "Made",
    cell: (one) => <span title={utc(one.at_us)}>{clock(one.at_us)}</span>,
    sort: (one) => one.at_us,
  },
  { id: "took", title: "Took", num: true, cell: (one) => span(one.duration_ms), sort: (one) => one.duration_ms },
  { id: "bytes", title: "Written", num: true, cell: (one) => bytes(one.new_bytes), sort: (one) => one.new_bytes },
  { id: "whole", title: "Whole", num: true, cell: (one) => bytes(one.bytes), sort: (one) => one.bytes },
  { id: "files", title: "Files", num: true, cell: (one) => count(one.files), sort: (one) => one.files },
  { id: "kept", title: "", cell: (one) => one.kept && <GoBack epoch={one.epoch} /> },
];

/** One that is kept can be gone back to, by a command for a project that is stopped. */
function GoBack({ epoch }: { epoch: number }) {
  const command = `headwater checkpoint restore ${epoch}`;
  return (
    <span class="go-back">
      <Badge tone="ok">kept</Badge>
      <CopyButton text={command} label={`Copy: ${command}`} />
    </span>
  );
}

/** From where a restart goes on, and what it cost to be able to. */
export default function CheckpointsPage() {
  const { data, problem } = useResource((signal) => get<Checkpoints>("/v1/checkpoints", {}, signal), [], EVERY_MS);
  return (
    <>
      <PageHead
        title="Checkpoints"
        lead="A checkpoint keeps the state of all models after an epoch. After a crash the project begins at the last one and runs the epochs behind it again, with the same ranges of the log."
      />
      {problem && !data && <ProblemNote problem={problem} />}
      {!data && !problem && <Loading />}
      {data && (data.history.length > 0 || data.current ? <Kept {...data} /> : <None />)}
      {data && <Restoring text={data.restore} />}
    </>
  );
}

function None() {
  return (
    <Panel>
      <Empty icon="checkpoints" title="No checkpoint yet" command="headwater status">
        The first is written a checkpoint_interval after the start (under run in headwater.yml).
      </Empty>
    </Panel>
  );
}

function Kept({ current: newest, history, epochs_since, interval_s }: Checkpoints) {
  const current = history.find((one) => one.epoch === newest?.epoch);
  const now = overview.value?.now_us ?? Date.now() * 1000;
  const oldest = [...history].sort((a, b) => a.at_us - b.at_us);
  const at = oldest.map((one) => one.at_us / 1e6);
  return (
    <>
      <section class="stats checkpoints-now" aria-label="The last checkpoint">
        <Stat
          label="Last checkpoint"
          value={current ? `epoch ${count(current.epoch)}` : "none yet"}
          note={current ? ago(current.at_us, now) : ""}
        />
        <Stat label="Took" value={span(current?.duration_ms)} note={`every ${span(interval_s * 1000)}`} />
        <Stat
          label="Written"
          value={bytes(current?.new_bytes)}
          note={current ? `of ${bytes(current.bytes)}, ${plural(current.files, "file")}` : ""}
        />
        <Stat label="To run again after a crash" value={count(epochs_since)} note="epochs" />
      </section>
      {oldest.length > 2 && (
        <div class="grid checkpoints-charts">
          <Panel title="Took" padded>
            <Chart
              at={at}
              kind="bars"
              height={140}
              label="How long checkpoints took"
              series={[{ label: "took", values: oldest.map((one) => one.duration_ms) }]}
              format={span}
            />
          </Panel>
          <Panel title="Written" padded>
            <Chart
              at={at}
              kind="bars"
              height={140}
              label="Bytes that checkpoints wrote"
              series={[{ label: "written", values: oldest.map((one) => one.new_bytes), colour: "series-2" }]}
              format={bytes}
              binary
            />
          </Panel>
        </div>
      )}
      <Panel title="History" actions={<span>newest first</span>}>
        <Table
          columns={COLUMNS}
          rows={[...oldest].reverse()}
          label="Checkpoints, newest first"
          rowKey={(one) => one.epoch}
          height="420px"
        />
      </Panel>
      {current && <Parts parts={current.parts} />}
    </>
  );
}

/** What the last checkpoint is made of, the largest first. */
function Parts({ parts }: { parts: Checkpoint["parts"] }) {
  const rows = Object.entries(parts).sort(([, a], [, b]) => b - a);
  if (rows.length === 0) return null;
  return (
    <Panel title="What the last one holds">
      <Table
        columns={PARTS}
        rows={rows}
        label="Parts of the last checkpoint"
        rowKey={([name]) => name}
        height="320px"
      />
    </Panel>
  );
}

const PARTS: TableColumn<[string, number]>[] = [
  { id: "name", title: "State of", head: true, cell: ([name]) => name.replace(":", " "), sort: ([name]) => name },
  { id: "bytes", title: "Size", num: true, cell: ([, size]) => bytes(size), sort: ([, size]) => size },
];

function Restoring({ text }: { text: string }) {
  return (
    <Panel title="Restoring" padded class="checkpoints-restore">
      <p>
        After a crash nothing need be decided: a start goes on from the last checkpoint, and asks each table and
        destination which epoch it holds already.
      </p>
      {text && <Code text={text} wrap label="How to go back to an earlier checkpoint" />}
    </Panel>
  );
}
