import { useEffect } from "preact/hooks";
import { ofThePage, type Shortcut } from "../keyboard";

/** Adds shortcuts for as long as the component is shown; the `?` sheet lists them. */
export function useShortcuts(shortcuts: Shortcut[], inputs: unknown[]): void {
  useEffect(() => {
    ofThePage.value = [...ofThePage.peek(), ...shortcuts];
    return () => {
      ofThePage.value = ofThePage.peek().filter((one) => !shortcuts.includes(one));
    };
  }, inputs);
}
