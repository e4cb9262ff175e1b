"""Compares a project with what ran last: what exists, what is new, what changed, and what the next run will do.

Nothing is ever dropped by a plan: what is no longer named stays where it is, and is no longer updated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from headwater.project.definition import Project, keeps_past
from headwater.project.recorded import Recorded, RecordedStream, RecordedTable, describe
from headwater.schema import StreamSchema

Kind = Literal["settings", "source", "stream", "model", "table"]
State = Literal["exists", "new", "changed", "removed"]
Consequence = Literal[
    "nothing", "open", "snapshot", "evolve", "refuse", "build", "rebuild", "create", "replace", "compare", "relayout",
    "leave", "restart"
]  # fmt: skip
"""What the next run does.

- `open`: a source is opened with its new settings; what is captured already stays.
- `snapshot`: a stream is read whole, then followed.
- `evolve`: a stream's table gets its new columns; what is there stays.
- `refuse`: the run will not begin, as what is there cannot be read as it would have to be now.
- `build`, `rebuild`: a model is computed from the whole of its inputs.
- `create`, `replace`: a table is made; its rows are replaced, in one table snapshot.
- `compare`: what a table keeps of the past stays, and what is different now is added to it.
- `relayout`: new files of a table are partitioned or sorted in another way.
- `leave`: what is no longer named stays as it is.
- `restart`: settings that a start takes over: what runs goes on as it is, and `headwater apply` changes nothing of it.
"""


@dataclass(frozen=True)
class Item:
    """One thing of the project, and what becomes of it.

    Attributes:
        kind: what it is.
        name: its name.
        state: how it compares with what ran last.
        consequence: what the next run does about it.
        reason: why, in a few words; empty when nothing happens.
    """

    kind: Kind
    name: str
    state: State
    consequence: Consequence
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """All items: sources, streams, models in order of their dependencies, tables, and settings that changed.

    Attributes:
        items: see `Item`.
        streams_known: whether the streams are known; if not, the plan leaves streams and their tables out.
    """

    items: tuple[Item, ...]
    streams_known: bool = True

    @property
    def changes(self) -> tuple[Item, ...]:
        """The items that something happens to, or that are no longer named."""
        return tuple(item for item in self.items if item.state != "exists" or item.consequence != "nothing")

    def to_json(self) -> dict[str, object]:
        """The plan as `headwater plan --json` prints it."""
        return {"v": 1, "streams_known": self.streams_known, "items": [asdict(item) for item in self.items]}


def plan(project: Project, recorded: Recorded | None, streams: Sequence[StreamSchema] = ()) -> Plan:
    """What the next run of `project` will do.

    Args:
        project: the project as it is now.
        recorded: what ran last; None if nothing did.
        streams: the streams of its sources, as far as they are known.
    """
    before = recorded or Recorded()
    now = describe(project, streams)
    if not streams:
        now = _without_streams(now, before)
    if before.streams and set(now.sources) <= set(before.sources):
        left_out = sorted(set(now.streams) - set(before.streams))
        now = _without(now, left_out)
    else:
        left_out = []
    found = [*_sources(before.sources, now.sources), *_streams(before, now)]
    found += [Item("stream", name, "new", "snapshot", _LATE_COMER) for name in left_out]
    models = list(_models(before, now, {item.name for item in found if item.kind == "stream" and _moves(item)}))
    rebuilt = {item.name for item in models if item.consequence == "rebuild"}
    settings = _settings(before.settings, now.settings)
    return Plan(
        (*found, *models, *_tables(before.tables, now.tables, rebuilt), *settings), streams_known=bool(now.streams)
    )


def _without_streams(now: Recorded, before: Recorded) -> Recorded:
    """While the sources cannot be asked, the streams are taken to be those that ran last."""
    mirrored = {name: table for name, table in before.tables.items() if table.of == "stream"}
    return now.model_copy(update={"streams": before.streams, "tables": {**mirrored, **now.tables}})


def _without(now: Recorded, left_out: Sequence[str]) -> Recorded:
    """The project without streams that the next run does not capture, and without their tables."""
    streams = {name: stream for name, stream in now.streams.items() if name not in left_out}
    tables = {name: table for name, table in now.tables.items() if table.of == "model" or name not in left_out}
    return now.model_copy(update={"streams": streams, "tables": tables})


def _moves(item: Item) -> bool:
    return item.state in ("new", "changed")


def _state(name: str, before: Mapping[str, object], now: Mapping[str, object]) -> State:
    if name not in before:
        return "new"
    if name not in now:
        return "removed"
    return "exists" if before[name] == now[name] else "changed"


def _names(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Names in the order of now, then those that are gone."""
    return [*now, *(name for name in sorted(before) if name not in now)]


_SOURCE: Mapping[State, tuple[Consequence, str]] = {
    "exists": ("nothing", ""),
    "new": ("open", "it never ran"),
    "changed": ("open", "its settings changed; what is captured already stays"),
    "removed": ("leave", "it is no longer in headwater.yml; what was made for it in the foreign system stays"),
}
_STREAM: Mapping[State, tuple[Consequence, str]] = {
    "exists": ("nothing", ""),
    "new": ("snapshot", "it was never captured"),
    "removed": (
        "leave",
        "its source no longer feeds it; if its table was dropped, the run stops until `tables` leaves it out",
    ),
}


_LATE_COMER = (
    "it was made after its source was first read: it is published, its rows are read beside the stream, and then its "
    "changes are followed"
)


def _settings(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Item]:
    for name in _names(before, now) if before else ():
        state = _state(name, before, now)
        if state != "exists":
            yield Item("settings", name, state, "restart", "a start of headwater run takes it over, apply does not")


def _sources(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Item]:
    for name in _names(before, now):
        state = _state(name, before, now)
        yield Item("source", name, state, *_SOURCE[state])


def _streams(before: Recorded, now: Recorded) -> Iterator[Item]:
    for name in _names(before.streams, now.streams):
        state = _state(name, before.streams, now.streams)
        outcome = _STREAM[state] if state != "changed" else _changed(before.streams[name], now.streams[name])
        yield Item("stream", name, state, *outcome)


def _changed(before: RecordedStream, now: RecordedStream) -> tuple[Consequence, str]:
    """What a stream's new columns or key mean: columns may come and go, but not change their type."""
    mend = "move the state folder away to begin anew"
    if before.key != now.key:
        return "refuse", f"its key was ({', '.join(before.key)}) and is now ({', '.join(now.key)}); {mend}"
    old, new = dict(before.columns), dict(now.columns)
    retyped = [name for name in old.keys() & new.keys() if old[name] != new[name]]
    if retyped:
        name = min(retyped)
        return "refuse", f"its column {name} was {old[name]} and is now {new[name]}; {mend}"
    added, dropped = sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys())
    words = [f"new columns: {', '.join(added)}"] if added else []
    words += [f"dropped columns, null from now on: {', '.join(dropped)}"] if dropped else []
    return "evolve", "; ".join(words) or "its columns are in another order"


def _models(before: Recorded, now: Recorded, moved: set[str]) -> Iterator[Item]:
    """`moved` holds the streams that are new or changed; models that are computed anew join them on the way down."""
    moved = {name.casefold() for name in moved}
    for name, model in now.models.items():
        cause = next((read for read in model.inputs if read.casefold() in moved), None)
        item = _model(name, before, model.fingerprint, cause)
        if item.consequence != "nothing":
            moved.add(name.casefold())
        yield item
    for name in sorted(set(before.models) - set(now.models)):
        yield Item("model", name, "removed", "leave", "its file is gone; its table stays and is no longer updated")


def _model(name: str, before: Recorded, fingerprint: str, cause: str | None) -> Item:
    if name not in before.models:
        return Item("model", name, "new", "build", "it never ran")
    if before.models[name].fingerprint != fingerprint:
        return Item("model", name, "changed", "rebuild", "its SQL or settings changed")
    if cause is not None:
        return Item("model", name, "exists", "rebuild", f"it reads {cause!r}, which is new or changes")
    return Item("model", name, "exists", "nothing")


def _tables(before: Mapping[str, RecordedTable], now: Mapping[str, RecordedTable], rebuilt: set[str]) -> Iterator[Item]:
    for name in _names(before, now):
        state = _state(name, before, now)
        if state == "new":
            yield Item("table", name, state, "create", "it is not in the lake yet")
        elif state == "removed":
            yield Item("table", name, state, "leave", "nothing feeds it any more; drop it in the lake if you like")
        elif state == "changed":
            yield Item("table", name, state, *_changed_table(before[name], now[name], rebuilt=name in rebuilt))
        elif (now[name].source or name) in rebuilt:
            yield Item("table", name, state, *_rebuilt_table(now[name]))
        else:
            yield Item("table", name, state, "nothing")


def _changed_table(before: RecordedTable, now: RecordedTable, *, rebuilt: bool) -> tuple[Consequence, str]:
    """What other settings of a table mean."""
    if before.kind != now.kind:
        mend = "give it another name under `tables`, and the former one stays as it is"
        return "refuse", f"it was made as {before.kind} and is to be {now.kind}; {mend}"
    if (before.key, before.of, before.source) != (now.key, now.of, now.source):
        if keeps_past(now.kind):
            return "refuse", "its key or its origin changed, and what it keeps of the past has the former one"
        return "replace", "its key or its origin changed"
    if rebuilt:
        return _rebuilt_table(now)
    return "relayout", f"its layout was {before.layout} and is now {now.layout}: new files only; headwater maintain"


def _rebuilt_table(table: RecordedTable) -> tuple[Consequence, str]:
    if keeps_past(table.kind):
        return "compare", "its model is rebuilt: what is different then is one more change"
    return "replace", "its model is rebuilt"
