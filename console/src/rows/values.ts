/** Rows as the API gives them, and how one value is shown. */
import type { Rows as Whole } from "../api/schema";

/** What JSON can hold; big integers, decimals and times come as text. */
export type Value = unknown;

/** Rows with their columns. */
export type Rows = Pick<Whole, "columns" | "rows">;

/** What a type is like, which decides its alignment and how it can be drawn. */
export type Kind = "number" | "time" | "text" | "bool" | "nested";

const NUMERIC = /^(u?(tiny|small|big|huge)?int(eger|8|16|32|64)?|decimal|numeric|float|double|real|half)/i;

/** The kind of a type, in DuckDB's or Arrow's words. */
export function kindOf(type: string): Kind {
  if (/\[\]$|^(struct|map|list|union|json)/i.test(type)) return "nested";
  if (NUMERIC.test(type)) return "number";
  if (/^(timestamp|date|time\b)/i.test(type)) return "time";
  return /^bool/i.test(type) ? "bool" : "text";
}

/** One value as text for a cell. */
export function textOf(value: Value, kind: Kind = "text"): string {
  if (value === null) return "null";
  if (typeof value === "object") return JSON.stringify(value);
  if (kind === "time" && typeof value === "string") return tidyTime(value);
  return String(value);
}

/** `2026-11-22T03:41:02.120000+00:00` as `2026-11-22 03:41:02.120`. */
function tidyTime(text: string): string {
  return text
    .replace(/^(\d{4}-\d\d-\d\d)T/, "$1 ")
    .replace(/(\.\d*?)0+(?=$|[+Z-])/, "$1")
    .replace(/\.(?=$|[+Z-])/, "")
    .replace(/(\+00(:?00)?|Z)$/, "");
}

/** A number of any value that holds one, else null. */
export function numberOf(value: Value): number | null {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value !== "string" || value.trim() === "") return null;
  const number = Number(value);
  return Number.isFinite(number) ? number : null;
}

/** Seconds since 1970 (UTC) of a time as the API writes it, else null. */
export function secondsOf(value: Value): number | null {
  if (typeof value !== "string") return null;
  const iso = value.replace(" ", "T").replace(/\+00$/, "Z");
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(iso) ? iso : iso.includes("T") ? `${iso}Z` : iso;
  const ms = Date.parse(zoned);
  return Number.isNaN(ms) ? null : ms / 1000;
}

/** Rows as tab-separated text, for a spreadsheet. */
export function asTsv({ columns, rows }: Rows): string {
  const line = (cells: string[]) => cells.map((cell) => cell.replace(/[\t\n]/g, " ")).join("\t");
  return [
    line(columns.map(({ name }) => name)),
    ...rows.map((row) => line(row.map((v) => (v === null ? "" : textOf(v))))),
  ].join("\n");
}
