import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

/** A modal window over the page; the browser keeps the focus in it, and Escape closes it. */
export function Dialog(props: { label: string; class?: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const shown = dialog.current!;
    if (!shown.open) shown.showModal();
    return () => shown.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class={props.class ?? ""}
      aria-label={props.label}
      onClose={props.onClose}
      onClick={(event) => event.target === dialog.current && props.onClose()}
    >
      {props.children}
    </dialog>
  );
}

export interface Question {
  title: string;
  text?: ComponentChildren;
  /** What the button says: the deed, not "OK". */
  confirm: string;
  danger?: boolean;
}

const asked = signal<(Question & { answer: (yes: boolean) => void }) | null>(null);

/** Asks before something is done that cannot be taken back; resolves to whether it shall be done. */
export function confirm(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    const answer = (yes: boolean) => {
      asked.value = null;
      resolve(yes);
    };
    asked.value = { ...question, answer };
  });
}

/** Where `confirm` asks; once in the page. */
export function Confirmation() {
  const question = asked.value;
  if (!question) return null;
  return (
    <Dialog label={question.title} onClose={() => question.answer(false)}>
      <div class="inside">
        <h2>{question.title}</h2>
        {question.text && <div class="muted">{question.text}</div>}
        <div class="buttons">
          <button type="button" class="button" onClick={() => question.answer(false)}>
            Cancel
          </button>
          <button
            type="button"
            class={`button ${question.danger ? "danger" : "primary"}`}
            onClick={() => question.answer(true)}
          >
            {question.confirm}
          </button>
        </div>
      </div>
    </Dialog>
  );
}
