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
  if (theme === "system") {
    localStorage.removeItem(KEY);
    delete document.documentElement.dataset.theme;
  } else {
    localStorage.setItem(KEY, theme);
    document.documentElement.dataset.theme = theme;
  }
  dispatchEvent(new Event("themechange"));
}

/** Whether what is shown now is dark. */
export function isDark(): boolean {
  const theme = chosenTheme();
  return theme === "system" ? matchMedia("(prefers-color-scheme: dark)").matches : theme === "dark";
}

const kept = chosenTheme();
if (kept !== "system") document.documentElement.dataset.theme = kept;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));
