import type { ComponentChildren } from "preact";
import { asProblem } from "../api/problem";
import { Code } from "./code";
import { Icon } from "./icon";

/** What stands where there is nothing yet: what would be here, and the command that brings it. */
export function Empty(props: { icon?: string; title: string; command?: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Icon name={props.icon ?? "info"} />
      <h3>{props.title}</h3>
      {props.children && <p>{props.children}</p>}
      {props.command && <Code text={props.command} line />}
    </div>
  );
}

/** What went wrong and the mend, as the server says them. */
export function ProblemNote({ problem }: { problem: unknown }) {
  const { detail, hint } = asProblem(problem);
  return (
    <div class="problem" role="alert">
      <p>
        <strong>{detail}</strong>
      </p>
      {hint && <p>{hint}</p>}
    </div>
  );
}

/** Stands for what is on its way. */
export function Loading() {
  return (
    <div class="loading" role="status">
      Loading…
    </div>
  );
}
