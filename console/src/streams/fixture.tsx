/** A range of changes as the given rows of a model's test. */
import { useState } from "preact/hooks";
import { asProblem } from "../api/problem";
import { Code } from "../components/code";
import { Dialog } from "../components/dialog";
import { toast } from "../components/toast";
import { fixture } from "./api";

interface Props {
  stream: string;
  from: number;
  to: number;
  onClose: () => void;
}

/** Asks for the range, then shows the YAML and copies it. */
export function FixtureDialog(props: Props) {
  const [from, setFrom] = useState(String(props.from));
  const [to, setTo] = useState(String(props.to));
  const [text, setText] = useState<string | null>(null);
  const [problem, setProblem] = useState("");
  const make = async (event: Event) => {
    event.preventDefault();
    setProblem("");
    try {
      const made = await fixture(props.stream, Number(from), Number(to));
      setText(made);
      await navigator.clipboard.writeText(made).then(
        () => toast({ tone: "ok", text: "The fixture is on the clipboard" }),
        () => undefined,
      );
    } catch (error) {
      setProblem(asProblem(error).detail);
    }
  };
  return (
    <Dialog label="Copy as a test fixture" class="wide" onClose={props.onClose}>
      <div class="inside">
        <h2>Copy as a test fixture</h2>
        <p class="muted">
          The changes become the given rows of a model's test, retractions and times included: put them into a file in{" "}
          <code>tests/</code> and run <code>headwater test</code>.
        </p>
        <form class="fixture-range" onSubmit={make}>
          <label class="field">
            <span>From offset</span>
            <input class="input" type="number" min="0" value={from} onInput={(e) => setFrom(e.currentTarget.value)} />
          </label>
          <label class="field">
            <span>To offset, included</span>
            <input class="input" type="number" min="0" value={to} onInput={(e) => setTo(e.currentTarget.value)} />
          </label>
          <button type="submit" class="button primary">
            Make and copy
          </button>
        </form>
        {problem && (
          <p class="problem" role="alert">
            {problem}
          </p>
        )}
        {text !== null && <Code text={text} />}
      </div>
    </Dialog>
  );
}
