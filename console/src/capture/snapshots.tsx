/** How far the reading of each table is, and steering it. */
import { useState } from "preact/hooks";
import { Badge } from "../components/badge";
import { confirm } from "../components/dialog";
import { Empty } from "../components/empty";
import { Icon } from "../components/icon";
import { toast, toastProblem } from "../components/toast";
import { count, percent } from "../format/number";
import type { CapturedSource, Snapshot } from "../api/schema";
import { type Action, steer } from "./api";

const SAID: Record<Action, string> = {
  start: "will be read again",
  pause: "is paused",
  resume: "goes on",
  stop: "is given up",
};

/** See above. */
export function Snapshots({ source, onSteered }: { source: CapturedSource; onSteered: () => void }) {
  const [busy, setBusy] = useState("");
  const act = async (action: Action, table: string) => {
    const asks = action === "start" || action === "stop";
    if (asks && !(await confirm(questionOf(action, table, source.name)))) return;
    setBusy(table);
    try {
      const { state, why } = await steer(source.name, action, [table]);
      if (state === "refused") toast({ tone: "fail", text: why ?? "The source refused it" });
      else
        toast({
          tone: "ok",
          text: `${action === "start" ? "" : "The reading of "}${table.replace("*.", "")} ${SAID[action]}`,
        });
      onSteered();
    } catch (error) {
      toastProblem(error);
    } finally {
      setBusy("");
    }
  };
  const known = new Set(source.snapshots.map(({ table }) => table.split(".").at(-1)));
  const others = source.streams.filter((stream) => !known.has(stream));
  if (!source.snapshots.length && !source.can_snapshot) {
    return <Empty title="No table is being read">Changes are followed as they come.</Empty>;
  }
  return (
    <>
      {source.snapshots.length > 0 && (
        <ul class="snapshots">
          {source.snapshots.map((one) => (
            <Line key={one.table} one={one} busy={busy === one.table} onAct={(action) => void act(action, one.table)} />
          ))}
        </ul>
      )}
      {source.can_snapshot && others.length > 0 && (
        <ReadAgain streams={others} busy={busy !== ""} onRead={(stream) => void act("start", `*.${stream}`)} />
      )}
    </>
  );
}

/** Tables that are followed can be read once more, beside what comes. */
function ReadAgain(props: { streams: string[]; busy: boolean; onRead: (stream: string) => void }) {
  const [chosen, setChosen] = useState("");
  const stream = props.streams.includes(chosen) ? chosen : props.streams[0]!;
  return (
    <div class="reread">
      <p class="muted">Changes are followed as they come. A table can be read again beside them.</p>
      <select
        class="select"
        aria-label="Table to read again"
        value={stream}
        onChange={(event) => setChosen(event.currentTarget.value)}
      >
        {props.streams.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
      <button type="button" class="button small" disabled={props.busy} onClick={() => props.onRead(stream)}>
        <Icon name="reload" size={13} /> Read again
      </button>
    </div>
  );
}

function questionOf(action: Action, pattern: string, source: string) {
  const table = pattern.replace("*.", "");
  if (action === "stop") {
    return {
      title: `Stop reading ${table}?`,
      text: "What was read so far stays. To have the table whole it must be read again from its beginning.",
      confirm: "Stop reading",
      danger: true,
    };
  }
  return {
    title: `Read ${table} again?`,
    text: `All its rows are read from ${source} while changes are followed. Rows that the source no longer has are gone afterwards.`,
    confirm: "Read again",
  };
}

interface LineProps {
  one: Snapshot;
  busy: boolean;
  onAct: (action: Action) => void;
}

function Line({ one, busy, onAct }: LineProps) {
  const part = one.state === "done" ? 1 : one.expected ? Math.min(1, one.rows / one.expected) : null;
  return (
    <li>
      <div class="snapshot-name">
        <b>{one.table}</b>
        <Badge state={one.state} />
      </div>
      <div class="snapshot-part">
        <progress class={one.state} value={part ?? undefined} max={1} aria-label={`How far ${one.table} is`} />
        <span class="muted">
          {count(one.rows)}
          {one.expected !== null && one.state !== "done" && ` of about ${count(one.expected)}`} rows
          {part !== null && one.state !== "done" && ` · ${percent(part)}`}
          {one.message && ` · ${one.message}`}
        </span>
      </div>
      <div class="actions">
        {(one.state === "running" || one.state === "waiting") && deed("pause", "Pause", "pause")}
        {one.state === "paused" && deed("resume", "Resume", "play")}
        {(one.state === "running" || one.state === "waiting" || one.state === "paused") && deed("stop", "Stop", "stop")}
        {(one.state === "done" || one.state === "stopped") && deed("start", "Read again", "reload")}
      </div>
    </li>
  );

  function deed(action: Action, word: string, icon: string) {
    return (
      <button
        type="button"
        class="button small"
        disabled={busy}
        aria-label={`${word} ${one.table}`}
        onClick={() => onAct(action)}
      >
        <Icon name={icon} size={13} /> {word}
      </button>
    );
  }
}
