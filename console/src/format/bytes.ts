import { NONE } from "./number";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Bytes in the unit that fits. */
export function bytes(value: number | null | undefined): string {
  if (typeof value !== "number" || !Number.isFinite(value)) return NONE;
  let unit = 0;
  let part = value;
  while (Math.abs(part) >= 1024 && unit < UNITS.length - 1) {
    part /= 1024;
    unit += 1;
  }
  return `${unit === 0 || Math.abs(part) >= 100 ? part.toFixed(0) : part.toFixed(1)} ${UNITS[unit]}`;
}
