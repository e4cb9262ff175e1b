/** One reject whole: what it failed of, the record raw, and what it would have been as rows. */
import { useState } from "preact/hooks";
import { Badge } from "../components/badge";
import { Code } from "../components/code";
import { Loading, ProblemNote } from "../components/empty";
import { useResource } from "../components/resource";
import { Segments } from "../components/tabs";
import { bytes } from "../format/bytes";
import { count } from "../format/number";
import { clock, utc } from "../format/time";
import type { RejectDetail } from "../api/schema";
import { type Decision, reject } from "./api";

interface Props {
  id: number;
  round: number;
  onDecide: (decision: Decision, one: RejectDetail) => void;
  onClose: () => void;
}

/** See above. */
export function RejectRecord({ id, round, onDecide, onClose }: Props) {
  const { data: one, problem } = useResource((signal) => reject(id, signal), [id, round]);
  return (
    <aside class="panel reject-record" aria-label={`Reject ${id}`}>
      <header>
        <h2>Reject {id}</h2>
        {one && <Badge state={one.state} />}
        <div class="actions">
          <button type="button" class="button ghost small" onClick={onClose}>
            Close
          </button>
        </div>
      </header>
      <div class="body">
        {problem && <ProblemNote problem={problem} />}
        {!one && !problem && <Loading />}
        {one && <Whole one={one} onDecide={onDecide} />}
      </div>
    </aside>
  );
}

function Whole({ one, onDecide }: { one: RejectDetail; onDecide: Props["onDecide"] }) {
  return (
    <>
      <p class="reject-message">{one.message}</p>
      <dl class="facts">
        <dt>stage</dt>
        <dd>
          {one.stage} · {one.reason}
        </dd>
        <dt>stream</dt>
        <dd>{one.stream}</dd>
        {one.key && <dt>key</dt>}
        {one.key && <dd class="mono">{one.key}</dd>}
        {one.position && <dt>position</dt>}
        {one.position && <dd class="mono">{one.position}</dd>}
        <dt>tried</dt>
        <dd title={`${utc(one.first_seen_us)} to ${utc(one.last_seen_us)}`}>
          {one.attempts === 1 ? "once" : `${count(one.attempts)} times`}, last {clock(one.last_seen_us)}
        </dd>
      </dl>
      {(one.state === "open" || one.state === "requested") && (
        <div class="reject-deeds">
          {one.stage !== "gap" && (
            <button
              type="button"
              class="button primary"
              disabled={one.state === "requested"}
              onClick={() => onDecide("replay", one)}
            >
              Replay
            </button>
          )}
          <button type="button" class="button" onClick={() => onDecide("discard", one)}>
            Discard
          </button>
        </div>
      )}
      <h3>Decoded</h3>
      <Decoded one={one} />
      <Raw one={one} />
    </>
  );
}

function Decoded({ one }: { one: RejectDetail }) {
  const { rows, undecodable } = one;
  if (undecodable !== null) return <p class="muted">{undecodable}</p>;
  if (!rows.length) return <p class="muted">There are no rows in it.</p>;
  return (
    <>
      {rows.map((row, at) => (
        <dl class="facts values" key={at}>
          {Object.entries(row).map(([name, value]) => [
            <dt key={name}>{name}</dt>,
            <dd key={`${name}=`} class={value === null ? "null" : undefined}>
              {value === null ? (
                "null"
              ) : (
                <Long text={typeof value === "object" ? JSON.stringify(value) : String(value)} />
              )}
            </dd>,
          ])}
        </dl>
      ))}
    </>
  );
}

const LONG = 300;

/** A value as it is; of a very long one the beginning, and the rest when it is asked for. */
function Long({ text }: { text: string }) {
  const [whole, setWhole] = useState(false);
  if (whole || text.length <= LONG + 50) return <>{text}</>;
  return (
    <>
      {text.slice(0, LONG)}…{" "}
      <button type="button" class="button small" onClick={() => setWhole(true)}>
        {count(text.length - LONG)} more
      </button>
    </>
  );
}

function Raw({ one }: { one: RejectDetail }) {
  const [as, setAs] = useState<"text" | "hex">(one.raw_text === null ? "hex" : "text");
  return (
    <>
      <div class="raw-head">
        <h3>
          Raw · {bytes(one.bytes)}
          {one.truncated && ", the beginning of it"}
        </h3>
        {one.raw_text !== null && (
          <Segments
            label="Show the raw record as"
            options={[
              ["text", "Text"],
              ["hex", "Hex"],
            ]}
            chosen={as}
            onChoose={setAs}
          />
        )}
      </div>
      <Code
        text={as === "text" ? (one.raw_text ?? "") : hex(one.raw_base64)}
        wrap={as === "text"}
        label="The raw record"
      />
    </>
  );
}

const SHOWN = 4096;

/** Bytes as `hexdump -C` shows them. */
function hex(base64: string): string {
  const data = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const lines: string[] = [];
  for (let at = 0; at < Math.min(data.length, SHOWN); at += 16) {
    const part = [...data.subarray(at, at + 16)];
    const digits = part.map((one) => one.toString(16).padStart(2, "0")).join(" ");
    const text = part.map((one) => (one >= 32 && one < 127 ? String.fromCharCode(one) : "·")).join("");
    lines.push(`${at.toString(16).padStart(6, "0")}  ${digits.padEnd(47)}  ${text}`);
  }
  if (data.length > SHOWN) lines.push(`… ${data.length - SHOWN} bytes more`);
  return lines.join("\n");
}
