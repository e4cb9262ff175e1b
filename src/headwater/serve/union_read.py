"""Mirrors as of the last durable change: tables joined with the end of the log, from any process, without a lock.

One end of the log is taken for each source, and every table of that source is brought to it, from the offset that the
table itself names. So the tables need not hold the same epoch, and yet all of an answer is of one moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow.dataset as pads

from headwater.change import ChangeBatch
from headwater.errors import UserError
from headwater.lake.moment import Moment, time_text
from headwater.lake.table_format import Committed, Lake, TableSpec
from headwater.log.view import PartitionView, open_for_reading
from headwater.project.definition import Project
from headwater.project.discovery import state_identity
from headwater.project.table_shape import KIND_PROPERTY
from headwater.serve.progress import Done, read_done
from headwater.serve.relation import Relation
from headwater.serve.tail_of_log import NotToBeJoined, Tail, TailReader

_LOOKS = 5

MOST_CHANGES = 2_000_000
"""A table that is further behind the log is read as it is: to join so many changes takes longer than to wait."""


@dataclass(frozen=True)
class Mark:
    """Where the log of a source ends.

    Attributes:
        view: the log.
        offset: its end.
        position: the source's commit position there, None if nothing has come yet.
        commit_us: the source's time of the last transaction; 0 if unknown.
    """

    view: PartitionView
    offset: int
    position: int | None
    commit_us: int


@dataclass(frozen=True)
class _Pinned:
    """A table snapshot, and what its commit said."""

    name: str
    base: pads.Dataset
    spec: TableSpec
    said: Mapping[str, str]


@dataclass
class UnionRead:
    """The mirrors of a project at one moment. Made for one answer.

    Args:
        project: whose.
        lake: its lake.

    Attributes:
        marks: by source, the end of its log.
        changes: how many changes of the log were joined to tables.
    """

    project: Project
    lake: Lake
    marks: dict[str, Mark] = field(default_factory=dict)
    changes: int = 0
    _done: Done | None = None

    def relations(self, names: Sequence[str]) -> list[Relation]:
        """The mirrors of these names.

        The state is read before the tables and the tables before the log, so that each holds all that was read before.

        Raises:
            NotToBeJoined: one cannot be joined with the log just now.
        """
        self._done = read_done(self.project.state)
        pinned = [self._pinned(name) for name in names]
        self.marks = {source.name: self._mark(source.name) for source in self.project.sources}
        return [Relation(one.name, one.base, self._tail(one)) for one in pinned]

    def note(self) -> str:
        """What the answer is as of, for people."""
        said = []
        for source, mark in self.marks.items():
            at = f"position {mark.position}" if mark.position is not None else "its beginning"
            when = f" ({time_text(mark.commit_us)})" if mark.commit_us else ""
            said.append(f"{source} at {at}{when}")
        joined = f"; {self.changes:,} changes not yet in the tables" if self.changes else ""
        return f"as of the last durable change: {', '.join(said)}{joined}"

    def _mark(self, source: str) -> Mark:
        try:
            view = open_for_reading(self.project.state / "log" / source)
        except UserError as error:
            raise NotToBeJoined(f"the log of {source!r} cannot be read: {error.message}") from error
        head = view.head
        try:
            boundary = view.boundary_at(head)
        except UserError:
            return Mark(view, head, None, 0)
        return Mark(view, head, boundary.position.commit, boundary.commit_time_us)

    def _pinned(self, name: str) -> _Pinned:
        table = self.lake.open_table(name)
        kind = table.spec.properties.get(KIND_PROPERTY, "mirror")
        if kind != "mirror":
            raise NotToBeJoined(f"table {name!r} is made as {kind}")
        for _ in range(_LOOKS):  # until no commit comes between the two questions
            committed = table.committed()
            newest = next((one for one in table.snapshots() if one.current), None)
            if newest is None or committed is None or newest.epoch is None or committed.held is not None:
                break
            if newest.epoch == committed.epoch:
                self._require_ours(name, committed)
                base = table.dataset(Moment(snapshot=newest.snapshot))
                return _Pinned(name, base, table.spec, committed.properties)
        held = committed.held if committed is not None else None
        raise NotToBeJoined(f"table {name!r} is {f'held: {held}' if held else 'not as this project committed it'}")

    def _require_ours(self, name: str, committed: Committed) -> None:
        if committed.properties.get("state") != state_identity(self.project.state):
            raise NotToBeJoined(f"table {name!r} was last written with another state folder")
        if self._done is not None and committed.epoch < self._done.tables.get(name, 0):
            raise NotToBeJoined(f"table {name!r} is older than the state, and will be built anew")

    def _tail(self, pinned: _Pinned) -> Tail:
        batches: list[ChangeBatch] = []
        for source, mark in self.marks.items():
            if pinned.name in mark.view.counts:
                batches += self._batches(pinned, source, mark)
        try:
            tail = TailReader(pinned.spec.columns, pinned.spec.key, pinned.base).read(batches)
        except NotToBeJoined as reason:
            raise NotToBeJoined(f"table {pinned.name!r} is read as it is: {reason}") from reason
        self.changes += tail.changes
        return tail

    def _batches(self, pinned: _Pinned, source: str, mark: Mark) -> list[ChangeBatch]:
        """The changes of a table from where it ends to the end of the log."""
        done = self._done.offsets.get(source, 0) if self._done is not None else 0
        start = max(int(pinned.said.get(f"source.{source}.offset", 0)), done)
        if not mark.view.base <= start <= mark.offset:
            raise NotToBeJoined(f"the log of {source!r} does not go on where table {pinned.name!r} ends")
        found, count = [], 0
        for record in mark.view.read(start, mark.offset):
            if record.stream is not None and record.stream.name == pinned.name:
                found.append(ChangeBatch(record.stream, record.rows))
                count += record.rows.num_rows
            if count > MOST_CHANGES:
                raise NotToBeJoined(f"table {pinned.name!r} is more than {MOST_CHANGES:,} changes behind the log")
        return found
