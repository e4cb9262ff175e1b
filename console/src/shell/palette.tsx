import { useMemo, useState } from "preact/hooks";
import { overview } from "../api/live";
import { Dialog } from "../components/dialog";
import { Icon } from "../components/icon";
import { ofThePage, paletteShown, sheetShown } from "../keyboard";
import { address, PAGES } from "../pages";
import { go } from "../router";

interface Entry {
  icon: string;
  title: string;
  kind: string;
  run: () => void;
}

const SHOWN = 40;

/** Ctrl+K: pages, and everything in the project by name. */
export function Palette() {
  return paletteShown.value ? <Open /> : null;
}

function Open() {
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const all = useMemo(entries, []);
  const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = all
    .filter((entry) => wanted.every((word) => `${entry.title} ${entry.kind}`.toLowerCase().includes(word)))
    .slice(0, SHOWN);
  const close = () => {
    paletteShown.value = false;
  };
  const take = (entry: Entry | undefined) => {
    close();
    entry?.run();
  };
  const type = (event: { currentTarget: HTMLInputElement }) => {
    setText(event.currentTarget.value);
    setAt(0);
  };
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) {
      event.preventDefault();
      const next = (at + step + found.length) % found.length;
      setAt(next);
      document.getElementById(`palette-${next}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      take(found[at]);
    }
  };
  return (
    <Dialog label="Find" class="palette" onClose={close}>
      <input
        type="text"
        role="combobox"
        aria-label="Find a page, stream, model or table"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found.length ? `palette-${at}` : undefined}
        placeholder="Find a page, stream, model or table"
        value={text}
        onInput={type}
        onKeyDown={press}
      />
      {found.length === 0 && <p class="none">Nothing has that name.</p>}
      <ul id="palette-list" role="listbox" aria-label="Found" hidden={found.length === 0}>
        {found.map((entry, i) => (
          <li
            key={`${entry.kind} ${entry.title}`}
            id={`palette-${i}`}
            role="option"
            aria-selected={i === at}
            onMouseMove={() => setAt(i)}
            onClick={() => take(entry)}
            onKeyDown={press}
            tabIndex={-1}
          >
            <Icon name={entry.icon} size={14} />
            {entry.title}
            <span class="muted">{entry.kind}</span>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function entries(): Entry[] {
  const seen = overview.peek();
  const to = (path: string) => () => go(path);
  const named = (kind: string, names: string[], path: (name: string) => string): Entry[] =>
    names.map((name) => ({ icon: kind, title: name, kind, run: to(path(encodeURIComponent(name))) }));
  return [
    ...PAGES.map((page) => ({
      icon: page.icon,
      title: page.title,
      kind: `page · g ${page.key}`,
      run: to(address(page)),
    })),
    ...named("source", seen?.sources.map((one) => one.name) ?? [], (name) => `/capture/${name}`),
    ...named(
      "stream",
      seen?.sources.flatMap((one) => one.streams.map((s) => s.name)) ?? [],
      (name) => `/streams/${name}`,
    ),
    ...named("model", seen?.models.map((one) => one.name) ?? [], (name) => `/graph?node=model:${name}`),
    ...named("table", seen?.tables.map((one) => one.name) ?? [], (name) => `/tables/${name}`),
    ...named("sync", seen?.syncs.map((one) => one.name) ?? [], (name) => `/graph?node=sync:${name}`),
    {
      icon: "info",
      title: "Keyboard shortcuts",
      kind: "help · ?",
      run: showSheet,
    },
  ];
}

function showSheet(): void {
  sheetShown.value = true;
}

/** `?`: what the keys do. */
export function KeySheet() {
  if (!sheetShown.value) return null;
  const close = () => {
    sheetShown.value = false;
  };
  const rows: [string[], string][] = [
    [["ctrl", "k"], "Find anything"],
    [["/"], "Find anything"],
    [["?"], "This sheet"],
    [["esc"], "Close what is open"],
    [["p"], "Hold the view still, or go on"],
    ...PAGES.map((page): [string[], string] => [["g", page.key], page.title]),
    ...ofThePage.value.map((one): [string[], string] => [[one.keys], one.says]),
  ];
  return (
    <Dialog label="Keyboard shortcuts" class="wide" onClose={close}>
      <div class="inside">
        <h2>Keyboard shortcuts</h2>
        <ul class="keys">
          {rows.map(([keys, says]) => (
            <li key={keys.join()}>
              {says}
              <span>
                {keys.map((key) => (
                  <kbd key={key}>{key}</kbd>
                ))}
              </span>
            </li>
          ))}
        </ul>
        <div class="buttons">
          <button type="button" class="button" onClick={close}>
            Close
          </button>
        </div>
      </div>
    </Dialog>
  );
}
