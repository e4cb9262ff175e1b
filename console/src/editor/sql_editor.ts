/** The SQL editor: CodeMirror 6 in a shadow root, where its styles are constructed style sheets and not <style> tags,
 *  which the page's content security policy refuses. */
import {
  autocompletion,
  closeBrackets,
  closeBracketsKeymap,
  closeCompletion,
  completionKeymap,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, toggleComment } from "@codemirror/commands";
import { bracketMatching } from "@codemirror/language";
import { lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, Prec } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers, placeholder } from "@codemirror/view";
import type { Names } from "../api/schema";
import { languageOf } from "./completion";
import { editorTheme } from "./theme";

/** Where the server found a mistake; lines and columns count from 1. */
export interface Place {
  line: number;
  column: number;
  message: string;
}

/** What the page may ask of an editor. */
export interface SqlEditor {
  text(): string;
  setText(text: string): void;
  setNames(names: Names): void;
  /** Underlines a mistake and brings it into view; null takes the underline away. */
  mark(place: Place | null): void;
  focus(): void;
  destroy(): void;
}

interface Options {
  text: string;
  label: string;
  onRun: () => void;
  onExplain: () => void;
  onChange: (text: string) => void;
}

/** Makes an editor inside `host`, which must be empty. */
export function mountEditor(host: HTMLElement, options: Options): SqlEditor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  const language = new Compartment();
  const view = new EditorView({
    root,
    parent: root as unknown as HTMLElement,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        Prec.highest(keymap.of(keysOf(options))),
        lineNumbers(),
        history(),
        drawSelection(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false }),
        highlightActiveLine(),
        highlightSelectionMatches(),
        keymap.of([
          ...closeBracketsKeymap,
          ...completionKeymap,
          ...searchKeymap,
          ...historyKeymap,
          ...lintKeymap,
          ...defaultKeymap,
        ]),
        placeholder("SELECT … FROM a stream, a model or a table"),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": options.label }),
        EditorView.updateListener.of((update) => {
          if (update.docChanged) options.onChange(update.state.doc.toString());
        }),
        language.of(languageOf({ tables: {}, streams: {}, functions: [] })),
        editorTheme,
      ],
    }),
  });
  return {
    text: () => view.state.doc.toString(),
    setText: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    setNames: (names) => view.dispatch({ effects: language.reconfigure(languageOf(names)) }),
    mark: (place) => mark(view, place),
    focus: () => view.focus(),
    destroy: () => view.destroy(),
  };
}

function keysOf(options: Options) {
  const does = (act: () => void) => () => {
    act();
    return true;
  };
  return [
    { key: "Mod-Enter", run: does(options.onRun) },
    { key: "Mod-Shift-Enter", run: does(options.onExplain) },
    { key: "Mod-/", run: toggleComment },
  ];
}

/** Underlines the word at a place, or the last character where nothing follows it. */
function mark(view: EditorView, place: Place | null): void {
  closeCompletion(view);
  if (place === null) {
    view.dispatch(setDiagnostics(view.state, []));
    return;
  }
  const line = view.state.doc.line(Math.min(Math.max(place.line, 1), view.state.doc.lines));
  const from = Math.min(line.from + Math.max(place.column - 1, 0), line.to);
  const word = view.state.wordAt(from);
  const start = Math.min(word?.from ?? from, Math.max(line.to - 1, line.from));
  const to = Math.max(word?.to ?? from + 1, start + 1);
  const end = Math.min(to, view.state.doc.length);
  view.dispatch(setDiagnostics(view.state, [{ from: start, to: end, severity: "error", message: place.message }]));
  view.dispatch({ selection: { anchor: start }, scrollIntoView: true });
}
