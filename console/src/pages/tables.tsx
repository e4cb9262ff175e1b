/** Tables: what is in the lake, its past, its files, and how other engines read it. */
import { useState } from "preact/hooks";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { PageHead, Stat } from "../components/page";
import { useResource } from "../components/resource";
import { type Tab, Tabs } from "../components/tabs";
import { bytes } from "../format/bytes";
import { count, plural } from "../format/number";
import { clock, utc } from "../format/time";
import type { TableDetail, TableEntry, TableSnapshot } from "../api/schema";
import { table, tables } from "../tables/api";
import { Difference } from "../tables/difference";
import { Files } from "../tables/files";
import { Maintenance } from "../tables/maintenance";
import { OpenIn } from "../tables/open_in";
import { counted } from "../tables/counted";
import { Travel } from "../tables/travel";

const LIST_MS = 4000;
const DETAIL_MS = 3000;

/** `/tables` shows the first, `/tables/NAME` one of them. */
export default function TablesPage({ params }: { params: Record<string, string> }) {
  const { data: all, problem } = useResource(tables, [], LIST_MS);
  if (!all) return problem ? <ProblemNote problem={problem} /> : <Loading />;
  if (!all.length) {
    return (
      <>
        <PageHead title="Tables" />
        <Empty icon="tables" title="No table yet">
          A table is made when the first epoch of its stream or model commits.
        </Empty>
      </>
    );
  }
  const chosen = params.name ?? all[0]!.name;
  return (
    <>
      <PageHead title="Tables" />
      <div class="two-sides">
        <nav class="panel side-list" aria-label="Tables">
          <ul>
            {all.map((one) => (
              <TableLine key={one.name} table={one} chosen={one.name === chosen} />
            ))}
          </ul>
        </nav>
        {all.some(({ name }) => name === chosen) ? (
          <Detail key={chosen} name={chosen} />
        ) : (
          <Empty title={`There is no table ${chosen}`}>Choose one of the list.</Empty>
        )}
      </div>
    </>
  );
}

function TableLine({ table, chosen }: { table: TableEntry; chosen: boolean }) {
  return (
    <li>
      <a href={`/tables/${encodeURIComponent(table.name)}`} aria-current={chosen ? "page" : undefined}>
        <b>{table.name}</b>
        <span class="muted">{bytes(table.bytes)}</span>
        <small>{[table.kind, `${count(table.rows)} rows`].filter(Boolean).join(" · ")}</small>
      </a>
    </li>
  );
}

function Detail({ name }: { name: string }) {
  const { data, problem, reload } = useResource((signal) => table(name, signal), [name], DETAIL_MS);
  const [tab, setTab] = useState("travel");
  if (!data) return problem ? <ProblemNote problem={problem} /> : <Loading />;
  const snapshots = counted(data);
  return (
    <section class="table-detail" aria-label={`Table ${name}`}>
      <Facts table={data} snapshots={snapshots} />
      {data.held && <div class="notice warn">{data.held}</div>}
      {problem && <ProblemNote problem={problem} />}
      <div class="panel">
        <Tabs label="What of the table" tabs={tabsOf(data, snapshots, reload)} chosen={tab} onChoose={setTab} />
      </div>
    </section>
  );
}

function tabsOf(data: TableDetail, snapshots: TableSnapshot[], reload: () => void): Tab[] {
  const past = (content: () => preact.JSX.Element) =>
    snapshots.length ? content : () => <Empty title="No table snapshot yet">The first epoch makes one.</Empty>;
  return [
    { id: "travel", label: "Rows in time", content: past(() => <Travel table={data} snapshots={snapshots} />) },
    { id: "diff", label: "Diff", content: past(() => <Difference table={data} snapshots={snapshots} />) },
    { id: "files", label: "Files", content: () => <Files table={data} /> },
    { id: "maintenance", label: "Maintenance", content: () => <Maintenance table={data} onDone={reload} /> },
    { id: "open", label: "Open in …", content: () => <OpenIn table={data} /> },
  ];
}

function Facts({ table, snapshots }: { table: TableDetail; snapshots: TableSnapshot[] }) {
  const now = snapshots.at(-1);
  return (
    <div class="stats table-stats">
      <Stat label="Rows" value={count(table.rows)} note={table.key.length ? `key ${table.key.join(", ")}` : "no key"} />
      <Stat label="Size" value={bytes(table.bytes)} note={plural(table.files_total, "file")} />
      <Stat
        label="Table snapshots"
        value={count(table.snapshots_total)}
        note={`${table.kind} of ${table.feeds.replace(":", " ") || "another writer"}`}
      />
      <Stat
        label="Last commit"
        value={<span title={utc(now?.at_us)}>{clock(now?.at_us)}</span>}
        note={now?.epoch != null ? `epoch ${count(now.epoch)}` : "of another writer"}
      />
    </div>
  );
}
