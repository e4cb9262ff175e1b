const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const SHORT: [number, string][] = [
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

export const NONE = "–";

/** A whole number with thousands apart. */
export function count(value: number | null | undefined): string {
  return typeof value === "number" && Number.isFinite(value) ? whole.format(value) : NONE;
}

/** A number in at most five characters: 950, 12.3k, 4.0M. */
export function short(value: number | null | undefined): string {
  if (typeof value !== "number" || !Number.isFinite(value)) return NONE;
  for (const [unit, name] of SHORT) {
    if (Math.abs(value) >= unit) {
      const part = value / unit;
      return `${Math.abs(part) >= 100 ? whole.format(part) : one.format(part)}${name}`;
    }
  }
  return Math.abs(value) < 10 ? one.format(value) : whole.format(value);
}

/** Rows per second, in short. */
export function rate(value: number | null | undefined): string {
  return typeof value === "number" ? `${short(value)}/s` : NONE;
}

/** A part of one as per cent. */
export function percent(value: number | null | undefined): string {
  return typeof value === "number" ? `${one.format(value * 100)} %` : NONE;
}

/** "1 row", "2 rows". */
export function plural(value: number, word: string, many = `${word}s`): string {
  return `${count(value)} ${value === 1 ? word : many}`;
}
