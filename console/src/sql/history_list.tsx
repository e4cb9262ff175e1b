/** Statements that were run before; a click puts one back into the editor. */
import { plural } from "../format/number";
import { ago } from "../format/time";
import type { Entry } from "./history";

interface Props {
  entries: Entry[];
  onPick: (sql: string) => void;
  onForget: () => void;
}

/** See above. */
export function HistoryList({ entries, onPick, onForget }: Props) {
  if (!entries.length) return <p class="muted">Nothing has been run in this browser yet.</p>;
  return (
    <div class="history">
      <ol>
        {entries.map((entry) => (
          <li key={entry.sql}>
            <button type="button" onClick={() => onPick(entry.sql)}>
              <code>{entry.sql}</code>
              <small>
                {ago(entry.at_ms * 1000, Date.now() * 1000)}
                {entry.ok ? ` · ${plural(entry.rows ?? 0, "row")}` : " · failed"}
              </small>
            </button>
          </li>
        ))}
      </ol>
      <button type="button" class="button ghost small" onClick={onForget}>
        Forget them all
      </button>
    </div>
  );
}
