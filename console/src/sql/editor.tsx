/** The editor as a component: the page holds a handle to it, and the text stays CodeMirror's. */
import { useEffect, useRef } from "preact/hooks";
import type { Names } from "../api/schema";
import { mountEditor, type SqlEditor } from "../editor/sql_editor";

interface Props {
  text: string;
  names: Names | null;
  onReady: (editor: SqlEditor) => void;
  onRun: () => void;
  onExplain: () => void;
  onChange: (text: string) => void;
}

/** See above. */
export function Editor(props: Props) {
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<SqlEditor | null>(null);
  const now = useRef(props);
  now.current = props;

  useEffect(() => {
    if (!host.current) return;
    const made = mountEditor(host.current, {
      text: now.current.text,
      label: "SQL",
      onRun: () => now.current.onRun(),
      onExplain: () => now.current.onExplain(),
      onChange: (text) => now.current.onChange(text),
    });
    editor.current = made;
    now.current.onReady(made);
    return () => made.destroy();
  }, []);

  useEffect(() => {
    if (props.names) editor.current?.setNames(props.names);
  }, [props.names]);

  return <div class="sql-editor" ref={host} data-testid="sql-editor" />;
}
