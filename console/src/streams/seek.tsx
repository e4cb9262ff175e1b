/** Where in a stream to look, and which changes: followed live, or a page from an offset or a time on. */
import { useState } from "preact/hooks";
import { Segments } from "../components/tabs";
import type { Stream } from "../api/schema";
import type { Seek } from "./api";

interface Props {
  stream: Stream;
  live: boolean;
  filter: string;
  filterProblem: string;
  onLive: (live: boolean) => void;
  onSeek: (seek: Seek) => void;
  onFilter: (filter: string) => void;
}

type By = "latest" | "earliest" | "offset" | "time";

/** See above. */
export function SeekBar(props: Props) {
  const [by, setBy] = useState<By>("latest");
  const [offset, setOffset] = useState("");
  const [time, setTime] = useState("");
  const [filter, setFilter] = useState(props.filter);
  const go = (event: Event) => {
    event.preventDefault();
    props.onFilter(filter.trim());
    props.onSeek(seekOf(by, offset, time));
  };
  const choose = (next: By) => {
    setBy(next);
    if (next === "latest" || next === "earliest") props.onSeek(seekOf(next, offset, time));
  };
  return (
    <form class="seek-bar" onSubmit={go}>
      <Segments
        label="How to read"
        options={[
          ["live", "Live"],
          ["browse", "Browse"],
        ]}
        chosen={props.live ? "live" : "browse"}
        onChoose={(how) => props.onLive(how === "live")}
      />
      {!props.live && (
        <div class="seek-place">
          <select
            class="select"
            aria-label="Begin at"
            value={by}
            onChange={(event) => choose(event.currentTarget.value as By)}
          >
            <option value="latest">newest first</option>
            <option value="earliest">from the beginning</option>
            <option value="offset">from offset</option>
            {props.stream.timed && <option value="time">from time</option>}
          </select>
          {by === "offset" && (
            <input
              class="input"
              type="number"
              aria-label="Offset"
              placeholder={String(props.stream.base)}
              min="0"
              value={offset}
              onInput={(event) => setOffset(event.currentTarget.value)}
            />
          )}
          {by === "time" && props.stream.timed && (
            <input
              class="input"
              type="datetime-local"
              step="1"
              aria-label="Time"
              value={time}
              onInput={(event) => setTime(event.currentTarget.value)}
            />
          )}
        </div>
      )}
      <input
        class="input seek-filter mono"
        aria-label="Filter, an SQL condition"
        aria-invalid={props.filterProblem !== ""}
        placeholder={`filter: ${exampleOf(props.stream)}`}
        spellcheck={false}
        autocomplete="off"
        value={filter}
        onInput={(event) => setFilter(event.currentTarget.value)}
      />
      <button type="submit" class="button">
        {props.live ? "Filter" : "Show"}
      </button>
    </form>
  );
}

/** A seek from what was put in; times are of this place. */
export function seekOf(by: By, offset: string, time: string): Seek {
  if (by === "earliest") return { from: "earliest" };
  if (by === "offset" && offset !== "") return { offset: Number(offset) };
  const ms = by === "time" ? new Date(time).getTime() : Number.NaN;
  return Number.isNaN(ms) ? { from: "latest", reverse: true } : { at_us: ms * 1000 };
}

/** A condition that this stream's columns can meet. */
function exampleOf({ columns }: Stream): string {
  const number = columns.find(({ type }) => /int|decimal|double|float/i.test(type));
  return number ? `${number.name} > 100` : `${columns[0]?.name ?? "name"} LIKE 'a%'`;
}
