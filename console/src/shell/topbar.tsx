import { useEffect, useState } from "preact/hooks";
import { held } from "../api/hold";
import { connection, heardAt, overview } from "../api/live";
import { Badge } from "../components/badge";
import { Icon } from "../components/icon";
import { count } from "../format/number";
import { span } from "../format/time";
import { paletteShown } from "../keyboard";
import { chooseTheme, chosenTheme, type Theme } from "../theme";

/** The project's name and state, search, and the theme. */
export function TopBar({ onMenu, open }: { onMenu: () => void; open: boolean }) {
  const seen = overview.value;
  return (
    <header class="top">
      <button
        type="button"
        class="button ghost icon menu"
        aria-label="Pages"
        aria-expanded={open}
        aria-controls="navigation"
        onClick={onMenu}
      >
        <Icon name="menu" />
      </button>
      <span class="project">{seen?.project ?? "…"}</span>
      <State />
      {seen && (
        <span class="quiet wide">
          epoch <span data-testid="epoch">{count(seen.epoch)}</span>
        </span>
      )}
      <span class="gap" />
      <button
        type="button"
        class="search"
        title="Find a page, stream, model or table"
        onClick={() => {
          paletteShown.value = true;
        }}
      >
        <Icon name="search" size={14} />
        <span>Find</span>
        <kbd aria-hidden="true">ctrl k</kbd>
      </button>
      <Hold />
      <ThemeSwitch />
    </header>
  );
}

function State() {
  if (connection.value === "lost") return <Badge tone="fail">not connected</Badge>;
  if (!overview.value) return <Badge tone="idle">connecting</Badge>;
  return <Badge state={overview.value.state} />;
}

/** Holds the view still: figures that change while one reads them are hard to read. */
function Hold() {
  const on = held.value;
  return (
    <button
      type="button"
      class={`button ghost hold ${on ? "on" : "icon"}`}
      aria-label={on ? "Held still: go on" : "Hold the view still"}
      title={on ? "What is shown stands still, the project goes on (p)" : "Hold the view still (p)"}
      onClick={() => {
        held.value = !on;
      }}
    >
      <Icon name={on ? "play" : "pause"} />
      {on && <span>Held still</span>}
    </button>
  );
}

const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const ICONS: Record<Theme, string> = { system: "system", light: "sun", dark: "moon" };

function ThemeSwitch() {
  const [theme, setTheme] = useState(chosenTheme());
  const press = () => {
    chooseTheme(NEXT[theme]);
    setTheme(NEXT[theme]);
  };
  return (
    <button
      type="button"
      class="button ghost icon"
      aria-label={`Theme: ${theme}; switch to ${NEXT[theme]}`}
      title={`Theme: ${theme}`}
      onClick={press}
    >
      <Icon name={ICONS[theme]} />
    </button>
  );
}

/** Said on every page while nothing is heard: what is shown below is old. */
export function Lost() {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  const heard = heardAt.value;
  return (
    <div class="lost" role="alert">
      <strong>Not connected.</strong>
      <span>
        {heard ? `What you see is ${span(Math.max(0, now - heard))} old.` : "Headwater does not answer."} Trying again…
      </span>
      <span>
        If it was stopped: <code>headwater run</code>
      </span>
    </div>
  );
}
