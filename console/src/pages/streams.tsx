/** Streams: what has come and what comes, decoded or as it stands in the log. */
import { useState } from "preact/hooks";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { PageHead } from "../components/page";
import { useResource } from "../components/resource";
import { Segments } from "../components/tabs";
import { count, rate } from "../format/number";
import type { Record as LogRecord, Stream } from "../api/schema";
import { type Seek, streams } from "../streams/api";
import { RecordDetail } from "../streams/detail";
import { FixtureDialog } from "../streams/fixture";
import { Records } from "../streams/records";
import { SeekBar } from "../streams/seek";
import { useRecords } from "../streams/use_tail";

const EVERY_MS = 2000;

/** `/streams` shows the first, `/streams/NAME` one of them. */
export default function StreamsPage({ params }: { params: Record<string, string> }) {
  const { data: all, problem } = useResource(streams, [], EVERY_MS);
  const chosen = all?.find(({ name }) => name === params.name) ?? (params.name ? undefined : all?.[0]);
  if (!all) return problem ? <ProblemNote problem={problem} /> : <Loading />;
  if (!all.length) {
    return (
      <>
        <PageHead title="Streams" />
        <Empty icon="streams" title="No stream yet">
          A stream appears when its source has sent something.
        </Empty>
      </>
    );
  }
  return (
    <>
      <PageHead title="Streams" />
      <div class="two-sides">
        <nav class="panel side-list" aria-label="Streams">
          <ul>
            {all.map((stream) => (
              <StreamLine key={stream.name} stream={stream} chosen={stream.name === chosen?.name} />
            ))}
          </ul>
        </nav>
        {chosen ? (
          <Browser key={chosen.name} stream={chosen} />
        ) : (
          <Empty title={`There is no stream ${params.name}`}>Choose one of the list.</Empty>
        )}
      </div>
    </>
  );
}

function StreamLine({ stream, chosen }: { stream: Stream; chosen: boolean }) {
  return (
    <li>
      <a href={`/streams/${encodeURIComponent(stream.name)}`} aria-current={chosen ? "page" : undefined}>
        <b>{stream.name}</b>
        <span class="muted">{rate(stream.rows_per_s)}</span>
        <small>
          {stream.source} · {count(stream.changes)} changes
        </small>
      </a>
    </li>
  );
}

function Browser({ stream }: { stream: Stream }) {
  const [live, setLive] = useState(true);
  const [seek, setSeek] = useState<Seek>({ from: "latest", reverse: true });
  const [filter, setFilter] = useState("");
  const [raw, setRaw] = useState(false);
  const [picked, setPicked] = useState<LogRecord | null>(null);
  const [copying, setCopying] = useState(false);
  const shown = useRecords(stream.name, live, seek, filter, stream.columns);
  const first = shown.records.at(-1)?.offset ?? stream.base;
  const last = shown.records[0]?.offset ?? first;
  return (
    <div class="stream-browser">
      <section class="panel" aria-label={`Changes of ${stream.name}`}>
        <header>
          <h2>{stream.name}</h2>
          <span class="muted">{aboutOf(stream)}</span>
          <div class="actions">
            <Segments
              label="Show the rows"
              options={[
                ["decoded", "Decoded"],
                ["raw", "Raw"],
              ]}
              chosen={raw ? "raw" : "decoded"}
              onChoose={(as) => setRaw(as === "raw")}
            />
            <button type="button" class="button small" onClick={() => setCopying(true)}>
              Copy as a test fixture
            </button>
          </div>
        </header>
        <SeekBar
          stream={stream}
          live={live}
          filter={filter}
          filterProblem={shown.problem?.detail ?? ""}
          onLive={setLive}
          onSeek={setSeek}
          onFilter={setFilter}
        />
        {shown.problem ? (
          <div class="problem" role="alert">
            <strong>{shown.problem.detail}</strong>
            {shown.problem.hint && <p>{shown.problem.hint}</p>}
          </div>
        ) : (
          <Records shown={shown} raw={raw} strong={stream.key} picked={picked} onPick={setPicked} />
        )}
        <Foot live={live} shown={shown} stream={stream} onSeek={setSeek} />
      </section>
      {picked && <RecordDetail record={picked} columns={shown.columns} onClose={() => setPicked(null)} />}
      {copying && (
        <FixtureDialog
          stream={stream.name}
          from={Math.max(first, last - 9)}
          to={last}
          onClose={() => setCopying(false)}
        />
      )}
    </div>
  );
}

function aboutOf(stream: Stream): string {
  const key = stream.key.length ? `key ${stream.key.join(", ")}` : "no key";
  const rejects = stream.rejects ? `${count(stream.rejects)} rejected` : "";
  return [`from ${stream.source}`, key, rejects].filter(Boolean).join(" · ");
}

interface FootProps {
  live: boolean;
  shown: ReturnType<typeof useRecords>;
  stream: Stream;
  onSeek: (seek: Seek) => void;
}

/** How far the stream goes, and the way to what comes before and after. */
function Foot({ live, shown, stream, onSeek }: FootProps) {
  const newest = shown.records[0]?.offset;
  const oldest = shown.records.at(-1)?.offset;
  const last = Math.max(stream.head - 1, live ? (newest ?? 0) : 0);
  const kept = `the log keeps offsets ${stream.base} to ${last}`;
  return (
    <footer class="stream-foot">
      <p class="muted" role="status">
        {live ? (
          <>
            <span class={`pulse ${shown.connected ? "on" : ""}`} />
            {shown.connected ? "Live" : "Connecting"} · {count(shown.came)} came
            {shown.skipped > 0 && `, ${count(shown.skipped)} too many to show`} · {kept}
          </>
        ) : (
          kept
        )}
      </p>
      {!live && (
        <div class="actions">
          <button
            type="button"
            class="button small"
            disabled={oldest === undefined || oldest <= stream.base}
            onClick={() => onSeek({ offset: oldest ?? stream.head, reverse: true })}
          >
            Older
          </button>
          <button
            type="button"
            class="button small"
            disabled={newest === undefined || newest + 1 >= stream.head}
            onClick={() => onSeek({ offset: (newest ?? 0) + 1 })}
          >
            Newer
          </button>
        </div>
      )}
    </footer>
  );
}
