import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

/** The head of a page: its title (also the tab's), a sentence on what it is for, and what can be done. */
export function PageHead(props: {
  title: string;
  lead?: ComponentChildren;
  badge?: ComponentChildren;
  children?: ComponentChildren;
}) {
  useEffect(() => {
    document.title = `${props.title} · Headwater`;
  }, [props.title]);
  return (
    <div class="page-head">
      <h1>{props.title}</h1>
      {props.badge}
      {props.children && <div class="actions">{props.children}</div>}
      {props.lead && <p class="lead">{props.lead}</p>}
    </div>
  );
}

/** A frame with a heading. Without `padded`, its content reaches the edges, as tables do. */
export function Panel(props: {
  title?: ComponentChildren;
  actions?: ComponentChildren;
  padded?: boolean;
  class?: string;
  children?: ComponentChildren;
}) {
  return (
    <section class={`panel ${props.class ?? ""}`}>
      {props.title && (
        <header>
          <h2>{props.title}</h2>
          {props.actions && <div class="actions">{props.actions}</div>}
        </header>
      )}
      {props.padded ? <div class="body">{props.children}</div> : props.children}
    </section>
  );
}

/** One figure of a row of figures (`<div class="stats">`). */
export function Stat(props: {
  label: string;
  value: ComponentChildren;
  note?: ComponentChildren;
  children?: ComponentChildren;
}) {
  return (
    <div class="stat">
      <span class="label">{props.label}</span>
      <span class="value">{props.value}</span>
      {props.note && <span class="note">{props.note}</span>}
      {props.children}
    </div>
  );
}

/** Names and values, one under the other. */
export function Facts({ facts }: { facts: [string, ComponentChildren][] }) {
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </>
      ))}
    </dl>
  );
}
