import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

export interface Tab {
  id: string;
  label: ComponentChildren;
  content: () => ComponentChildren;
}

/** Tabs; arrows move between them. Who shows them keeps which one is `chosen`. */
export function Tabs(props: { label: string; tabs: Tab[]; chosen: string; onChoose: (id: string) => void }) {
  const base = useId();
  const at = Math.max(
    0,
    props.tabs.findIndex((tab) => tab.id === props.chosen),
  );
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = props.tabs[(at + step + props.tabs.length) % props.tabs.length]!;
    props.onChoose(next.id);
    document.getElementById(`${base}-${next.id}`)?.focus();
  };
  const shown = props.tabs[at];
  return (
    <>
      <div class="tabs" role="tablist" aria-label={props.label} onKeyDown={move}>
        {props.tabs.map((tab, i) => (
          <button
            key={tab.id}
            type="button"
            id={`${base}-${tab.id}`}
            role="tab"
            aria-selected={i === at}
            aria-controls={`${base}-panel`}
            tabIndex={i === at ? 0 : -1}
            onClick={() => props.onChoose(tab.id)}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <div id={`${base}-panel`} role="tabpanel" aria-labelledby={`${base}-${shown?.id}`} class="tab-panel">
        {shown?.content()}
      </div>
    </>
  );
}

/** A few choices, one of which holds. */
export function Segments<T extends string>(props: {
  label: string;
  options: [T, ComponentChildren][];
  chosen: T;
  onChoose: (value: T) => void;
}) {
  return (
    <div class="segments" role="group" aria-label={props.label}>
      {props.options.map(([value, label]) => (
        <button key={value} type="button" aria-pressed={value === props.chosen} onClick={() => props.onChoose(value)}>
          {label}
        </button>
      ))}
    </div>
  );
}
