/** Rejects by what they failed of: a line each, with what can be done about all of it. */
import { Badge } from "../components/badge";
import { count } from "../format/number";
import { clock, utc } from "../format/time";
import type { Cause } from "../api/schema";
import type { Decision } from "./api";

interface Props {
  causes: Cause[];
  chosen: string | null;
  onChoose: (cause: Cause) => void;
  onDecide: (decision: Decision, cause: Cause) => void;
}

/** Tells causes apart. */
export function idOf({ stream, stage, reason, state }: Cause): string {
  return [stream, stage, reason, state].join("|");
}

/** See above. */
export function Causes({ causes, chosen, onChoose, onDecide }: Props) {
  return (
    <ul class="causes">
      {causes.map((cause) => (
        <li key={idOf(cause)} class={chosen === idOf(cause) ? "chosen" : undefined}>
          <button type="button" class="cause" aria-expanded={chosen === idOf(cause)} onClick={() => onChoose(cause)}>
            <b class="cause-count">{count(cause.count)}</b>
            <span class="cause-what">
              <span class="cause-title">
                <b>{cause.reason.replaceAll("_", " ")}</b> in <code>{cause.stream}</code>
              </span>
              <span class="cause-message">{cause.message}</span>
              <small>
                {cause.stage} · first <time title={utc(cause.first_seen_us)}>{clock(cause.first_seen_us)}</time>, last{" "}
                <time title={utc(cause.last_seen_us)}>{clock(cause.last_seen_us)}</time>
              </small>
            </span>
            <Badge state={cause.state} />
          </button>
          {(cause.state === "open" || cause.state === "requested") && (
            <div class="actions">
              {cause.replays && (
                <button
                  type="button"
                  class="button small"
                  disabled={cause.state !== "open"}
                  onClick={() => onDecide("replay", cause)}
                >
                  Replay all
                </button>
              )}
              <button type="button" class="button small" onClick={() => onDecide("discard", cause)}>
                Discard all
              </button>
            </div>
          )}
        </li>
      ))}
    </ul>
  );
}
