// The token that the server asks for, where it has one: kept for this tab only, sent as a header.
import { signal } from "@preact/signals";

const KEY = "headwater-token";

/** Whether the server refused us for want of a (right) token: the shell then asks for one. */
export const tokenWanted = signal<"no" | "missing" | "wrong">("no");

/** Changes whenever a token was given: what waits for one begins again. */
export const tokenGiven = signal(0);

/** The headers that show the token. */
export function authorization(): Record<string, string> {
  const token = sessionStorage.getItem(KEY);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** Called at every 401. */
export function refused(): void {
  tokenWanted.value = sessionStorage.getItem(KEY) ? "wrong" : "missing";
}

/** Keeps `token` and lets everything ask again. */
export function giveToken(token: string): void {
  sessionStorage.setItem(KEY, token.trim());
  tokenWanted.value = "no";
  tokenGiven.value += 1;
}
