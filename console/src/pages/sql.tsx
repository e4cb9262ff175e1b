/** SQL: ask the project's tables, models and streams; try a SELECT as a model, and save it. */
import { useState } from "preact/hooks";
import { Empty, Loading } from "../components/empty";
import { Icon } from "../components/icon";
import { PageHead } from "../components/page";
import { Segments } from "../components/tabs";
import { query } from "../router";
import { Editor } from "../sql/editor";
import { Explain } from "../sql/explain";
import { HistoryList } from "../sql/history_list";
import { NamesList } from "../sql/names";
import { PreviewPanel } from "../sql/preview";
import { Result } from "../sql/result";
import { type Opened, type Outcome, useRoom } from "../sql/room";

/** See above. `/sql/NAME` opens a model, `/sql?q=...` a statement. */
export default function SqlPage({ params }: { params: Record<string, string> }) {
  const room = useRoom(params.model ?? null, query.value.get("q"));
  const [side, setSide] = useState<"tables" | "history">("tables");
  const ask = (table: string) => {
    room.editor.current?.setText(`SELECT *\nFROM ${table}\nLIMIT 100`);
    void room.act("run");
  };
  return (
    <div class="sql-page">
      <PageHead
        title={room.model ? room.model.name : "SQL"}
        lead={
          room.model
            ? `The model in ${room.model.path}. Preview it, save it, then see what applying it does.`
            : "DuckDB's SQL over what is in the lake and, beyond it, in the log. It reads and cannot write."
        }
      />
      <div class="sql-room">
        <section class="panel sql-desk" aria-label="Statement">
          <Editor
            text={room.first}
            names={room.known}
            onReady={(editor) => {
              room.editor.current = editor;
              if (matchMedia("(hover: hover)").matches) editor.focus(); // no keyboard over a phone's page unasked
            }}
            onRun={() => void room.act("run")}
            onExplain={() => void room.act("explain")}
            onChange={(text) => room.keep(text)}
          />
          <Bar room={room} />
        </section>
        <aside class="panel sql-side" aria-label="Tables and history">
          <Segments
            label="Show"
            options={[
              ["tables", "Tables"],
              ["history", "History"],
            ]}
            chosen={side}
            onChoose={setSide}
          />
          {side === "tables" && (room.known ? <NamesList names={room.known} onTable={ask} /> : <Loading />)}
          {side === "history" && (
            <HistoryList
              entries={room.past}
              onPick={(sql) => room.editor.current?.setText(sql)}
              onForget={room.forget}
            />
          )}
        </aside>
        <section class="panel sql-outcome" aria-label="Result" aria-busy={room.busy !== null}>
          {shown(room.outcome, room.model, (name, digest) =>
            room.setModel({ name, digest, path: `models/${name}.sql` }),
          )}
        </section>
      </div>
    </div>
  );
}

function Bar({ room }: { room: ReturnType<typeof useRoom> }) {
  const idle = room.busy === null;
  return (
    <div class="sql-bar">
      {idle ? (
        <button type="button" class="button primary" onClick={() => void room.act("run")} title="Ctrl+Enter">
          <Icon name="play" size={13} /> Run
        </button>
      ) : (
        <button type="button" class="button" onClick={room.cancel}>
          <Icon name="stop" size={13} /> Stop
        </button>
      )}
      <button type="button" class="button" onClick={() => void room.act("explain")} disabled={!idle}>
        Explain
      </button>
      <button type="button" class="button" onClick={() => void room.act("preview")} disabled={!idle}>
        Preview as a model
      </button>
      <label class="sql-at">
        As of
        <input
          class="input"
          value={room.at}
          placeholder="now"
          title="A time, 5 minutes ago, epoch 42, snapshot 123…, tag NAME"
          onInput={(event) => room.setAt(event.currentTarget.value.trim())}
        />
      </label>
      {!idle && <span class="running">{room.busy === "preview" ? "Trying it on live data" : "Running"} …</span>}
    </div>
  );
}

function shown(outcome: Outcome | null, model: Opened | null, onSaved: (name: string, digest: string) => void) {
  if (outcome === null) {
    return (
      <Empty icon="sql" title="Nothing asked yet">
        Press Ctrl+Enter, or choose a table to look into.
      </Empty>
    );
  }
  if (outcome.kind === "answer") return <Result answer={outcome.answer} />;
  if (outcome.kind === "plan") return <Explain plan={outcome.plan} />;
  if (outcome.kind === "preview") {
    return (
      <PreviewPanel key={outcome.sql} preview={outcome.preview} sql={outcome.sql} model={model} onSaved={onSaved} />
    );
  }
  return (
    <div class="problem sql-error" role="alert">
      <strong>{outcome.message}</strong>
      {outcome.place && <small>{outcome.place}</small>}
      {outcome.hint && <p>{outcome.hint}</p>}
    </div>
  );
}
