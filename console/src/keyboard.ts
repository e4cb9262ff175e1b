// Shortcuts: `g` and a letter show a page, a key alone does something on the page, none while somebody types.
import { signal } from "@preact/signals";
import { held } from "./api/hold";
import { address, PAGES } from "./pages";
import { go } from "./router";

export const sheetShown = signal(false);
export const paletteShown = signal(false);

export interface Shortcut {
  keys: string;
  says: string;
  run: () => void;
}

/** Shortcuts of the page that is shown; a page adds its own with `useShortcuts`. */
export const ofThePage = signal<Shortcut[]>([]);

const CHORD_MS = 1200;
let began = -Infinity; // when `g` was pressed; not 0, or all keys of the first second after loading were of a chord

/** Listens from now on. */
export function listenToKeys(): void {
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      paletteShown.value = !paletteShown.value;
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
    if (document.querySelector("dialog[open]")) return;
    if (press(event.key)) event.preventDefault();
  });
}

function press(key: string): boolean {
  const inChord = performance.now() - began < CHORD_MS;
  began = -Infinity;
  if (inChord) {
    const page = PAGES.find((one) => one.key === key);
    if (page) go(address(page));
    return page !== undefined;
  }
  if (key === "g") began = performance.now();
  else if (key === "?") sheetShown.value = true;
  else if (key === "/") paletteShown.value = true;
  else if (key === "p") held.value = !held.peek();
  else {
    const found = ofThePage.value.find((one) => one.keys === key);
    found?.run();
    return found !== undefined;
  }
  return true;
}

/** Whether a key belongs to what has the focus. The composed path sees into shadow roots, where the editor is. */
function isTyping(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
