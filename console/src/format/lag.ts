/** How far a source is behind, in what it counts: a broker does not say how many bytes are left. */
import { bytes } from "./bytes";
import { plural } from "./number";

export function lag(amount: number | null, unit: string): string {
  return unit === "messages" && amount !== null ? plural(amount, "message") : bytes(amount);
}
