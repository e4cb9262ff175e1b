// Short messages at the corner: what was done, or why not. Failures stay until they are closed.
import { signal } from "@preact/signals";
import { asProblem } from "../api/problem";
import { Icon } from "./icon";

export interface ToastMessage {
  text: string;
  hint?: string;
  tone?: "ok" | "info" | "fail";
}

const toasts = signal<(ToastMessage & { id: number })[]>([]);
let last = 0;
const SHOWN_MS = 5000;

/** Shows a message. */
export function toast(message: ToastMessage): void {
  const id = ++last;
  toasts.value = [...toasts.value, { ...message, id }].slice(-4);
  if (message.tone !== "fail") setTimeout(() => close(id), SHOWN_MS);
}

/** Shows why something failed. */
export function toastProblem(error: unknown): void {
  const { detail, hint } = asProblem(error);
  toast({ tone: "fail", text: detail, hint });
}

function close(id: number): void {
  toasts.value = toasts.value.filter((one) => one.id !== id);
}

/** Where they appear; once in the page. */
export function Toasts() {
  return (
    <div class="toasts" aria-live="polite" role="status">
      {toasts.value.map(({ id, text, hint, tone }) => (
        <div key={id} class={`toast ${tone ?? "info"}`}>
          <div>
            {text}
            {hint && <div class="muted">{hint}</div>}
          </div>
          <button type="button" class="button ghost small icon" aria-label="Close" onClick={() => close(id)}>
            <Icon name="close" size={12} />
          </button>
        </div>
      ))}
    </div>
  );
}
