/** Changes of the tables' definitions that were met, newest first. */
import { Empty } from "../components/empty";
import { count } from "../format/number";
import { clock, utc } from "../format/time";
import type { SchemaChange } from "../api/schema";

/** See above. */
export function Changes({ changes }: { changes: SchemaChange[] }) {
  if (!changes.length) return <Empty title="No definition has changed">Added and removed columns appear here.</Empty>;
  const inOrder = [...changes].sort((one, other) => other.at_us - one.at_us);
  return (
    <ol class="timeline">
      {inOrder.map((change, at) => (
        <li key={`${change.at_us}-${at}`}>
          <time title={utc(change.at_us)}>{clock(change.at_us)}</time>
          <div>
            <b>{change.stream}</b> <span class="muted">from epoch {count(change.epoch)} on</span>
            <ul>
              {change.changes.map((one) => (
                <li key={`${one.what}-${one.column}`}>{saidOf(one)}</li>
              ))}
            </ul>
          </div>
        </li>
      ))}
    </ol>
  );
}

function saidOf({ what, column, was, now }: SchemaChange["changes"][number]) {
  const name = <code>{column}</code>;
  if (what === "added")
    return (
      <>
        {name} was added, {now.toLowerCase()}
      </>
    );
  if (what === "removed") return <>{name} was removed</>;
  if (what === "renamed") {
    return (
      <>
        <code>{was}</code> is called <code>{now}</code>
      </>
    );
  }
  const [before, after] = [was.toLowerCase(), now.toLowerCase()];
  return what === "key" ? (
    `the key was ${before || "none"}, is ${after || "none"}`
  ) : (
    <>
      {name} was {before}, is {after}
    </>
  );
}
