// The pages of the console. A page is a line here, a module in pages/ and, where it needs one, a CSS file that
// styles/index.css imports. Its module is fetched when it is first looked at.
import type { ComponentType } from "preact";

export interface PageProps {
  params: Record<string, string>;
}

export interface Page {
  /** As of the router: ":name" takes a part, ":name?" one that may be missing. */
  path: string;
  title: string;
  icon: string;
  /** `g` and this letter show the page. */
  key: string;
  group: "Watch" | "Data" | "Operate";
  /** Without margins and page scrolling. */
  full?: boolean;
  load: () => Promise<{ default: ComponentType<PageProps> }>;
}

// biome-ignore format: a table
export const PAGES: readonly Page[] = [
  { path: "/", title: "Overview", icon: "overview", key: "o", group: "Watch", load: () => import("./pages/overview") },
  {
    path: "/graph",
    title: "Graph",
    icon: "graph",
    key: "g",
    group: "Watch",
    full: true,
    load: () => import("./pages/graph"),
  },
  {
    path: "/streams/:name?",
    title: "Streams",
    icon: "streams",
    key: "s",
    group: "Data",
    load: () => import("./pages/streams"),
  },
  { path: "/sql/:model?", title: "SQL", icon: "sql", key: "q", group: "Data", load: () => import("./pages/sql") },
  {
    path: "/tables/:name?",
    title: "Tables",
    icon: "tables",
    key: "t",
    group: "Data",
    load: () => import("./pages/tables"),
  },
  {
    path: "/capture/:source?",
    title: "Capture",
    icon: "capture",
    key: "c",
    group: "Operate",
    load: () => import("./pages/capture"),
  },
  {
    path: "/rejects/:id?",
    title: "Rejects",
    icon: "rejects",
    key: "r",
    group: "Operate",
    load: () => import("./pages/rejects"),
  },
  {
    path: "/checks",
    title: "Checks",
    icon: "checks",
    key: "h",
    group: "Operate",
    load: () => import("./pages/checks"),
  },
  {
    path: "/accounting",
    title: "Accounting",
    icon: "accounting",
    key: "a",
    group: "Operate",
    load: () => import("./pages/accounting"),
  },
  {
    path: "/checkpoints",
    title: "Checkpoints",
    icon: "checkpoints",
    key: "k",
    group: "Operate",
    load: () => import("./pages/checkpoints"),
  },
  { path: "/plan", title: "Plan", icon: "plan", key: "p", group: "Operate", load: () => import("./pages/plan") },
];

/** The address of a page without what may be missing. */
export function address(page: Page): string {
  return page.path.replace(/\/:.*$/, "") || "/";
}
