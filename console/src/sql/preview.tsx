/** A SELECT as a model: its key, how each part is kept up to date, first rows; and saving it to the project. */
import { useState } from "preact/hooks";
import { toast } from "../components/toast";
import { span } from "../format/time";
import { RowTable } from "../rows/row_table";
import { type Preview, saveModel } from "./api";

interface Props {
  preview: Preview;
  sql: string;
  /** Of an existing model that is being changed. */
  model: { name: string; digest: string } | null;
  onSaved: (name: string, digest: string) => void;
}

/** See above. */
export function PreviewPanel({ preview, sql, model, onSaved }: Props) {
  const problems = preview.problems.map((one) => (typeof one === "string" ? { message: one } : one));
  return (
    <div class="preview">
      <div class="preview-facts">
        <Fact title="Reads" words={preview.reads} />
        <Fact title="Key" words={preview.key.length ? preview.key : ["none: rows are told apart by all columns"]} />
        <div>
          <h3>Kept up to date by</h3>
          <ol class="ways">
            {preview.incremental.map(({ operator, way }, at) => (
              <li key={`${operator}-${at}`}>
                <code>{operator}</code>
                <span>{way}</span>
              </li>
            ))}
          </ol>
        </div>
      </div>
      {problems.map(({ message, hint }: { message: string; hint?: string }) => (
        <p class="notice warn" key={message}>
          {message}
          {hint && <small>{hint}</small>}
        </p>
      ))}
      <Save sql={sql} model={model} onSaved={onSaved} />
      <h3>
        First rows <small>in {span(preview.elapsed_ms)}</small>
      </h3>
      <RowTable columns={preview.columns} rows={preview.rows} label="First rows" strong={preview.key} />
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
            pattern="[A-Za-z_][A-Za-z0-9_]*"
            title="Letters, digits and _"
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
