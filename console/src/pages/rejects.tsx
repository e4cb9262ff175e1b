/** Rejects: every record that could not go on, by what it failed of, and the decision about it. */
import { useEffect, useState } from "preact/hooks";
import { Empty, Loading, ProblemNote } from "../components/empty";
import { PageHead, Panel } from "../components/page";
import { useResource } from "../components/resource";
import { Segments } from "../components/tabs";
import { count, plural } from "../format/number";
import { clock } from "../format/time";
import type { Cause, Reject } from "../api/schema";
import { causes, rejects, type Which } from "../rejects/api";
import { Causes, idOf } from "../rejects/causes";
import { RejectRecord } from "../rejects/record";
import { useDecision } from "../rejects/use_decision";
import { go } from "../router";

const EVERY_MS = 3000;

/** `/rejects` shows the causes, `/rejects/ID` one record beside them. */
export default function RejectsPage({ params }: { params: Record<string, string> }) {
  const [which, setWhich] = useState<Which>("open");
  const [chosen, setChosen] = useState<string | null | undefined>(undefined);
  const [round, setRound] = useState(0);
  const { data, problem, reload } = useResource((signal) => causes(which, signal), [which], EVERY_MS);
  const { act, replay } = useDecision(() => {
    reload();
    setRound((before) => before + 1);
  });
  const picked = params.id ? Number(params.id) : null;
  const shown = chosen === undefined && data?.[0] ? idOf(data[0]) : (chosen ?? null);
  const cause = data?.find((one) => idOf(one) === shown) ?? null;
  const waits = data?.reduce((sum, one) => sum + one.count, 0) ?? 0;
  return (
    <>
      <PageHead
        title="Rejects"
        lead={
          data && which === "open" && waits
            ? `${plural(waits, "record")} could not go on and ${waits === 1 ? "waits" : "wait"} for a decision. Nothing of them is lost.`
            : "Records that could not go on are kept whole here until they are replayed or discarded."
        }
      >
        <Segments
          label="Which"
          options={[
            ["open", "Waiting"],
            ["settled", "Settled"],
          ]}
          chosen={which}
          onChoose={setWhich}
        />
      </PageHead>
      {replay && (
        <p class="notice" role="status">
          Replaying: {count(replay.asked - replay.waiting)} of {count(replay.asked)} decided …
        </p>
      )}
      {problem && <ProblemNote problem={problem} />}
      {!data && !problem && <Loading />}
      {data && (
        <div class={`rejects-page ${picked ? "with-record" : ""}`}>
          <div>
            <Panel>
              {data.length ? (
                <Causes
                  causes={data}
                  chosen={shown}
                  onChoose={(one) => setChosen(shown === idOf(one) ? null : idOf(one))}
                  onDecide={(decision, one) =>
                    void act(decision, { cause: reasonOf(one) }, one.count, `${one.message}.`)
                  }
                />
              ) : (
                <Empty icon="ok" title={which === "open" ? "Nothing was rejected" : "Nothing was settled yet"}>
                  {which === "open" &&
                    "Every record that was read went on, or was filtered or late by a rule of its model."}
                </Empty>
              )}
            </Panel>
            {cause && <Entries key={idOf(cause)} cause={cause} round={round} picked={picked} />}
          </div>
          {picked !== null && (
            <RejectRecord
              id={picked}
              round={round}
              onDecide={(decision, one) => void act(decision, { ids: [one.id] }, 1, `${one.message}.`)}
              onClose={() => go("/rejects", { replace: true })}
            />
          )}
        </div>
      )}
    </>
  );
}

function reasonOf({ stream, stage, reason }: Cause) {
  return { stream, stage, reason };
}

/** The records of a cause, some at a time. */
function Entries({ cause, round, picked }: { cause: Cause; round: number; picked: number | null }) {
  const [shown, setShown] = useState<Reject[]>([]);
  const [next, setNext] = useState<number | null>(null);
  const [problem, setProblem] = useState<unknown>(null);
  const more = async (after: number | null, signal?: AbortSignal) => {
    try {
      const page = await rejects(cause, after, signal);
      setShown((before) => (after === null ? page.rejects : [...before, ...page.rejects]));
      setNext(page.next_after);
    } catch (error) {
      if (!signal?.aborted) setProblem(error);
    }
  };
  useEffect(() => {
    const stop = new AbortController();
    void more(null, stop.signal);
    return () => stop.abort();
  }, [idOf(cause), round]);
  return (
    <Panel title={`${cause.reason.replaceAll("_", " ")} in ${cause.stream}`}>
      {problem !== null && <ProblemNote problem={problem} />}
      <div class="table-wrap" tabIndex={0} role="region" aria-label="Records of this cause">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">id</th>
              <th scope="col">key</th>
              <th scope="col">what it failed of</th>
              <th scope="col" class="num">
                tried
              </th>
              <th scope="col">last</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((one) => (
              <tr key={one.id} aria-selected={one.id === picked}>
                <th scope="row">
                  <a href={`/rejects/${one.id}`}>{one.id}</a>
                </th>
                <td class="mono">{one.key || "–"}</td>
                <td class="says" title={one.message}>
                  {one.message}
                </td>
                <td class="num">{count(one.attempts)}</td>
                <td>{clock(one.last_seen_us)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {next !== null && (
        <p class="more">
          <button type="button" class="button small" onClick={() => void more(next)}>
            More
          </button>
        </p>
      )}
    </Panel>
  );
}
