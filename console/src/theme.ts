// Light or dark: the system's choice until the reader makes one, which is kept. Loaded before the first paint.
export type Theme = "system" | "light" | "dark";

const KEY = "headwater-theme";

/** What the reader chose; `system` if nothing. */
export function chosenTheme(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

/** Shows `theme` from now on, and keeps it. */
export function chooseTheme(theme: Theme): void {
  if (theme === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, theme);
  show();
}

/** Whether what is shown now is dark. */
export function isDark(): boolean {
  return document.documentElement.dataset.theme === "dark";
}

const system = matchMedia("(prefers-color-scheme: dark)");

function show(): void {
  const theme = chosenTheme();
  document.documentElement.dataset.theme = theme === "system" ? (system.matches ? "dark" : "light") : theme;
  dispatchEvent(new Event("themechange"));
}

system.addEventListener("change", show);
if (!document.documentElement.dataset.theme) show();
