/** A SELECT as a model: its key, how each part is kept up to date, first rows; and saving it to the project. */
import { useState } from "preact/hooks";
import { toast } from "../components/toast";
import { span } from "../format/time";
import { RowTable } from "../rows/row_table";
import type { ModelPreview } from "../api/schema";
import { saveModel } from "./api";

interface Props {
  preview: ModelPreview;
  sql: string;
  /** Of an existing model that is being changed. */
  model: { name: string; digest: string } | null;
  onSaved: (name: string, digest: string) => void;
}

/** See above. */
export function PreviewPanel({ preview, sql, model, onSaved }: Props) {
  const fails = preview.problems.some(({ level }) => level === "fail");
  return (
    <div class="preview">
      {!fails && <Facts preview={preview} />}
      {preview.problems.map(({ level, message, hint, line }) => (
        <div class={level === "fail" ? "problem" : "notice warn"} key={message}>
          <p>
            <strong>{message}</strong>
            {line > 0 && <small class="muted"> line {line}</small>}
          </p>
          {hint && <p>{hint}</p>}
        </div>
      ))}
      {!fails && <Save sql={sql} model={model} onSaved={onSaved} />}
      {!fails && (
        <>
          <h3>
            First rows <small>in {span(preview.elapsed_ms)}</small>
          </h3>
          <RowTable columns={preview.columns} rows={preview.rows} label="First rows" strong={preview.key} />
        </>
      )}
    </div>
  );
}

function Facts({ preview }: { preview: ModelPreview }) {
  return (
    <div class="preview-facts">
      <Fact title="Reads" words={preview.reads} />
      <Fact title="Key" words={preview.key.length ? preview.key : ["all columns"]} />
      <div>
        <h3>Kept up to date by</h3>
        <ol class="ways">
          {preview.incremental.map(({ operator, way, detail, last_resort }, at) => (
            <li key={`${operator}-${at}`}>
              <code>{operator}</code>
              <span>{way}</span>
              {detail && <small class="muted">{detail}</small>}
              {last_resort && <small class="tone-warn">{last_resort}</small>}
            </li>
          ))}
        </ol>
      </div>
    </div>
  );
}

function Fact({ title, words }: { title: string; words: string[] }) {
  return (
    <div>
      <h3>{title}</h3>
      <p class="words">
        {words.map((word) => (
          <code key={word}>{word}</code>
        ))}
      </p>
    </div>
  );
}

function Save({ sql, model, onSaved }: Omit<Props, "preview">) {
  const [name, setName] = useState(model?.name ?? "");
  const [saved, setSaved] = useState<{ name: string; path: string } | null>(null);
  const [error, setError] = useState("");
  const save = async (event: Event) => {
    event.preventDefault();
    setError("");
    try {
      const answer = await saveModel(name, sql, model?.name === name ? model.digest : undefined);
      setSaved({ name, path: answer.path });
      onSaved(name, answer.digest);
      toast({ tone: "ok", text: `Saved as ${answer.path}` });
    } catch (failed) {
      setError(failed instanceof Error ? failed.message : String(failed));
    }
  };
  return (
    <form class="save" onSubmit={save}>
      <label>
        Save to the project as
        <span class="path">
          models/
          <input
            class="input mono"
            value={name}
            onInput={(event) => setName(event.currentTarget.value.trim())}
            pattern="[a-z][a-z0-9_]*"
            title="Small letters, digits and _"
            placeholder="name"
            spellcheck={false}
            autocomplete="off"
            required
          />
          .sql
        </span>
      </label>
      <button type="submit" class={`button ${saved ? "" : "primary"}`}>
        Save
      </button>
      {saved && (
        <p class="notice ok" role="status">
          <span>
            <b>{saved.path}</b> is written. Nothing runs it yet.
          </span>
          <a class="button primary" href="/plan">
            See what applying it does
          </a>
        </p>
      )}
      {error && (
        <p class="problem" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
