/** Replaying and discarding: asked first, done, and its end told once the epochs that replay have run. */
import { useEffect, useRef, useState } from "preact/hooks";
import { confirm } from "../components/dialog";
import { toast, toastProblem } from "../components/toast";
import { count, plural } from "../format/number";
import { type Choice, type Decision, decide, reject, rejects } from "./api";

const LOOK_EVERY_MS = 500;
const LOOKS = 120;

/** What is known of a replay under way, for the page to show. */
export type Replay = { asked: number; waiting: number } | null;

/** See above; `onChange` is called whenever entries may have moved. */
export function useDecision(onChange: () => void) {
  const [replay, setReplay] = useState<Replay>(null);
  const gone = useRef(false);
  useEffect(
    () => () => {
      gone.current = true;
    },
    [],
  );

  const act = async (decision: Decision, choice: Choice, many: number, about: string) => {
    if (!(await confirm(questionOf(decision, many, about)))) return;
    try {
      const { moved } = await decide(decision, choice);
      onChange();
      if (decision === "discard") toast({ tone: "ok", text: `${plural(moved, "reject")} discarded` });
      else if (moved) await follow(choice, moved);
      else toast({ tone: "info", text: "Nothing was left to replay" });
    } catch (error) {
      toastProblem(error);
    }
  };

  const follow = async (choice: Choice, moved: number) => {
    for (let look = 0; look < LOOKS && !gone.current; look += 1) {
      const { waiting, again } = await standing(choice);
      setReplay({ asked: moved, waiting });
      if (!waiting) {
        tell(moved, again);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
    setReplay(null);
    onChange();
  };

  return { act, replay };
}

/** How many still wait for their epoch, and how many are open (again). */
async function standing(choice: Choice): Promise<{ waiting: number; again: number }> {
  if ("ids" in choice) {
    const now = await Promise.all(choice.ids.slice(0, 100).map((id) => reject(id)));
    const of = (state: string) => now.filter((one) => one.state === state).length;
    return { waiting: of("requested"), again: of("open") };
  }
  // Of the entries themselves: what the causes say may be some seconds old.
  const [waiting, again] = await Promise.all([
    rejects({ ...choice.cause, state: "requested" }, null),
    rejects({ ...choice.cause, state: "open" }, null),
  ]);
  return { waiting: waiting.rejects.length, again: again.rejects.length };
}

function tell(moved: number, again: number): void {
  const through = Math.max(0, moved - again);
  if (!again)
    toast({ tone: "ok", text: `${plural(through, "reject")} replayed: ${through === 1 ? "it" : "all"} went through` });
  else if (!through) {
    toast({
      tone: "fail",
      text: `${plural(again, "reject")} failed again`,
      hint: "Mend what they failed of, then replay.",
    });
  } else
    toast({ tone: "info", text: `${count(through)} of ${count(moved)} went through, ${count(again)} failed again` });
}

function questionOf(decision: Decision, many: number, about: string) {
  if (decision === "replay") {
    return {
      title: `Replay ${plural(many, "reject")}?`,
      text: `${about} The records go through the pipeline again in the next epochs. What fails again stays here.`,
      confirm: many === 1 ? "Replay it" : `Replay ${count(many)}`,
    };
  }
  return {
    title: `Discard ${plural(many, "reject")}?`,
    text: `${about} The records are given up and count as rejected. They stay in the ledger for a while (rejects: keep_settled).`,
    confirm: many === 1 ? "Discard it" : `Discard ${count(many)}`,
    danger: true,
  };
}
