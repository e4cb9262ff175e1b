// The JSON API, by fetch. Errors are thrown as `Problem`; state is changed with application/json only.
import { Problem, problemOf } from "./problem";
import { authorization, refused } from "./token";

export type Query = Record<string, string | number | boolean | null | undefined>;

/** `path` with the parts of `query` that have a value. */
export function withQuery(path: string, query: Query = {}): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") parts.set(name, String(value));
  }
  const text = parts.toString();
  return text ? `${path}?${text}` : path;
}

/** The answer to GET `path`. */
export async function get<T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> {
  return (await ask("GET", withQuery(path, query), undefined, signal)).json() as Promise<T>;
}

/** The answer to GET `path` as text, such as a fixture in YAML. */
export async function getText(path: string, query?: Query, signal?: AbortSignal): Promise<string> {
  return (await ask("GET", withQuery(path, query), undefined, signal)).text();
}

export async function post<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await ask("POST", path, body, signal)).json() as Promise<T>;
}

export async function put<T>(path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  return (await ask("PUT", path, body, signal)).json() as Promise<T>;
}

export async function del<T>(path: string, body: unknown = {}, signal?: AbortSignal): Promise<T> {
  return (await ask("DELETE", path, body, signal)).json() as Promise<T>;
}

/** A response that is 2xx; everything else is thrown. */
export async function ask(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const sent: RequestInit = { method, headers: { accept: "application/json, text/*", ...authorization() } };
  if (signal) sent.signal = signal;
  if (method !== "GET") {
    sent.body = JSON.stringify(body ?? {});
    (sent.headers as Record<string, string>)["content-type"] = "application/json";
  }
  let response: Response;
  try {
    response = await fetch(path, sent);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, {
      title: "not connected",
      detail: "Headwater does not answer.",
      hint: "Is it still running? Start it with: headwater run",
    });
  }
  if (response.status === 401) refused();
  if (!response.ok) throw await problemOf(response);
  return response;
}
