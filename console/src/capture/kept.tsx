/** What the source's server keeps for us, beside what it is allowed to. */
import { bytes } from "../format/bytes";
import { percent } from "../format/number";
import type { CapturedSource } from "../api/schema";

/** Bytes kept and the budget, from the answer or from the figures of the source's kind; null where there are none. */
export function keptOf(source: CapturedSource): { kept: number; budget: number | null; what: string } | null {
  const figure = (name: string) => {
    const value = source.figures[name];
    return typeof value === "number" ? value : null;
  };
  const kept = source.retained_bytes ?? figure("wal_kept_bytes") ?? figure("log_behind_bytes");
  if (kept === null || kept === undefined) return null;
  const budget = figure("wal_budget_bytes") ?? figure("log_budget_bytes");
  const what = source.type === "mysql" ? "Binary log not read yet" : "WAL that the server keeps for this slot";
  return { kept, budget, what };
}

/** See above: a bar that turns amber at half and red at nine tenths of the budget. */
export function Kept({ source }: { source: CapturedSource }) {
  const found = keptOf(source);
  if (!found) return null;
  const { kept, budget, what } = found;
  const part = budget ? kept / budget : null;
  const tone = part === null || part < 0.5 ? "ok" : part < 0.9 ? "warn" : "fail";
  return (
    <div class="kept">
      <p>
        <span class="muted">{what}</span>
        <b>{bytes(kept)}</b>
        {budget !== null && (
          <span class="muted">
            of {bytes(budget)} allowed{part !== null && `, ${percent(part)}`}
          </span>
        )}
      </p>
      {part !== null && (
        <div class={`meter ${tone}`}>
          <div style={{ width: `${Math.max(0.4, Math.min(100, part * 100))}%` }} />
        </div>
      )}
    </div>
  );
}
