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

/** Says what was chosen. Where nothing was, the styles follow the system by themselves: all at once, and no script is
 *  between. `themechange` is for what is drawn on canvases. */
function show(): void {
  const theme = chosenTheme();
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  dispatchEvent(new Event("themechange"));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
show();
