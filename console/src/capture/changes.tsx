/** Changes of the tables' definitions that were met, newest first. */
import { Empty } from "../components/empty";
import { clock, utc } from "../format/time";
import type { SchemaChange } from "./api";

/** See above. */
export function Changes({ changes }: { changes: SchemaChange[] }) {
  if (!changes.length) return <Empty title="No definition has changed">Added and removed columns appear here.</Empty>;
  const inOrder = [...changes].sort((one, other) => other.at_us - one.at_us);
  return (
    <ol class="timeline">
      {inOrder.map((change, at) => (
        <li key={`${change.at_us}-${at}`} class={change.kind}>
          <time title={utc(change.at_us)}>{clock(change.at_us)}</time>
          <div>
            <b>{change.table ?? change.stream}</b> <span>{change.what}</span>
          </div>
        </li>
      ))}
    </ol>
  );
}
