import { useState } from "preact/hooks";
import { Icon } from "./icon";
import { toast } from "./toast";

/** Puts `text` on the clipboard and says so. */
export async function copy(text: string, what = "Copied"): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    toast({
      tone: "fail",
      text: `${what}: the browser does not let this page use the clipboard; mark the text instead.`,
    });
    return false;
  }
}

/** A button that copies `text`. */
export function CopyButton({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  const press = async (event: Event) => {
    event.stopPropagation();
    if (await copy(text)) {
      setDone(true);
      setTimeout(() => setDone(false), 1500);
    }
  };
  return (
    <button
      type="button"
      class="button ghost small icon"
      onClick={press}
      aria-label={done ? "Copied" : label}
      title={label}
    >
      <Icon name={done ? "check" : "copy"} size={14} />
    </button>
  );
}

/** Text as it stands, with a button that copies it. `line` is for commands, `wrap` for what is wider than the page. */
export function Code({ text, line, wrap, label }: { text: string; line?: boolean; wrap?: boolean; label?: string }) {
  return (
    <div class={`code ${line ? "line" : ""} ${wrap ? "wrap" : ""}`}>
      <pre tabIndex={0} aria-label={label ?? (line ? "Command" : "Text")} role="region">
        {text}
      </pre>
      <CopyButton text={text} />
    </div>
  );
}
