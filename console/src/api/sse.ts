// Server-sent events by fetch, so that the token goes along as a header, which EventSource cannot send.
import { ask } from "./client";
import { asProblem, type Problem } from "./problem";

export interface Listener {
  signal: AbortSignal;
  on: (event: string, data: unknown) => void;
  /** Called when a connection stands, and with the problem when it broke; it is then tried again. */
  state?: (connected: boolean, problem?: Problem) => void;
}

const SILENCE_MS = 20_000; // heartbeats come more often than that: without one the connection is dead
const WAITS_MS = [300, 600, 1_000, 2_000, 3_000];

/** Hands every event of `path` to `on`, and connects again and again until `signal` says stop or the server refuses. */
export async function stream(path: string, { signal, on, state }: Listener): Promise<void> {
  for (let tries = 0; !signal.aborted; tries += 1) {
    const attempt = new AbortController();
    const give = () => attempt.abort();
    signal.addEventListener("abort", give, { once: true });
    let silence = setTimeout(give, SILENCE_MS);
    try {
      const response = await ask("GET", path, undefined, attempt.signal);
      state?.(true);
      await events(response, on, () => {
        tries = 0;
        clearTimeout(silence);
        silence = setTimeout(give, SILENCE_MS);
      });
      if (!signal.aborted) state?.(false);
    } catch (error) {
      if (signal.aborted) return;
      const problem = asProblem(error);
      state?.(false, problem);
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) return;
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", give);
    }
    await wait(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)]!, signal);
  }
}

async function events(response: Response, on: Listener["on"], alive: () => void): Promise<void> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop()!;
    for (const block of blocks) hand(block, on);
  }
}

function hand(block: string, on: Listener["on"]): void {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  if (data.length) on(event, JSON.parse(data.join("\n")));
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", end, { once: true });
  });
}
