// Which page is shown: real paths, so that a link can be sent to somebody, and the browser's own history.
import { signal } from "@preact/signals";

export const path = signal(location.pathname);
export const query = signal(new URLSearchParams(location.search));

/** Shows `to` (a path, perhaps with a query). */
export function go(to: string, { replace = false } = {}): void {
  if (to === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  follow();
  if (!replace) scrollTo(0, 0);
}

/** Sets parts of the query without leaving the page; null takes a part away. */
export function setQuery(parts: Record<string, string | number | null>): void {
  const next = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(parts)) {
    if (value === null || value === "") next.delete(name);
    else next.set(name, String(value));
  }
  const text = next.toString();
  go(location.pathname + (text ? `?${text}` : ""), { replace: true });
}

/** What `pattern` ("/streams/:name") makes of `at`; null if it does not fit. */
export function match(pattern: string, at: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = at.replace(/(?<=.)\/$/, "").split("/");
  if (given.length > wanted.length) return null;
  const params: Record<string, string> = {};
  for (const [i, part] of wanted.entries()) {
    const optional = part.endsWith("?");
    const value = given[i];
    if (value === undefined || value === "") {
      if (!optional && part !== "") return null;
    } else if (part.startsWith(":")) params[part.slice(1, optional ? -1 : undefined)] = decodeURIComponent(value);
    else if (part !== value) return null;
  }
  return params;
}

function follow(): void {
  if (location.pathname === "/overview") history.replaceState(null, "", `/${location.search}`);
  path.value = location.pathname;
  query.value = new URLSearchParams(location.search);
}

addEventListener("popstate", follow);

/** Links to our own pages are followed without loading anything. */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const link = (event.target as Element).closest?.("a[href]");
  if (!(link instanceof HTMLAnchorElement) || link.target || link.origin !== location.origin) return;
  if (link.hasAttribute("download") || link.pathname.startsWith("/v1/") || link.pathname === "/metrics") return;
  if (link.getAttribute("href")!.startsWith("#")) return;
  event.preventDefault();
  go(link.pathname + link.search);
});

follow();
