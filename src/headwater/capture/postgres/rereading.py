"""Tables that are read while their changes are followed: asked for by the user, new, or left unread by a crash.

A table with a key is read in chunks, any other whole at one place of the stream; one table at a time. Neither takes a
lock that a writer would wait for. How far each is stands in the worklist, and so in every resume point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headwater import failpoint
from headwater.capture.incremental import FIRST, GIVEN_UP, marker
from headwater.capture.postgres.desk import Desk
from headwater.capture.postgres.keyed_reading import KeyedReading, with_moved
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.visibility import Ids32, Lsns
from headwater.capture.postgres.whole_reading import WholeReading, settled, without_held
from headwater.capture.worklist import Task
from headwater.change import ChangeBatch, Group, Op
from headwater.errors import UserError

MOVED_MOST = 1000
"""So many keys that must be read once more are remembered; beyond, the table is read again from its beginning."""


class Rereading:
    """Does what is on the worklist, a step at a time, between two groups of the stream.

    Args:
        desk: what it works with.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._current: KeyedReading | WholeReading | None = None
        self._parts: Iterator[Group] | None = None

    @property
    def busy(self) -> bool:
        """Whether there is something to do, so that the stream should not be waited for long."""
        work = self._desk.work
        return self._parts is not None or work.next() is not None or bool(work.to_close() or work.noted())

    @property
    def torn(self) -> bool:
        """Whether a group is handed over in parts: nothing of the stream may come in between."""
        return self._parts is not None

    def observe(self, group: Group, lsns: Lsns, ids: Ids32) -> Group:
        """Takes note of a group of the stream and of the transactions in it; leaves out what was read already."""
        if self._current is not None:
            self._current.observe(group, lsns, ids)
        for batch in group.batches if self._desk.work.unfinished() else ():
            self._note_moved(batch)
        noted = self._desk.work.noted()
        group = without_held(noted, group, lsns, ids) if noted and len(group) else group
        return self._without_unread(group)

    def _without_unread(self, group: Group) -> Group:
        """The group without the changes of tables that lack rows, or whose rows are not known, and that will be emptied
        and filled: what they change may not be there, and what they bring is read."""
        unread = set()
        for task in self._desk.work.unfinished():
            table = self._desk.relations.named(task.table)
            to_be_read = task.state == "waiting" or not task.note
            lacks = task.aim == FIRST or task.unknown
            if lacks and to_be_read and table is not None and table.changelog != "upsert":
                unread.add(table.stream_name)
        if not any(batch.stream.name in unread for batch in group.batches):
            return group
        filtered = dict(group.filtered)
        for batch in group.batches:
            if batch.stream.name in unread:
                filtered[batch.stream.name] = filtered.get(batch.stream.name, 0) + len(batch)
        kept = tuple(batch for batch in group.batches if batch.stream.name not in unread)
        return replace(group, batches=kept, filtered=filtered)

    def _note_moved(self, batch: ChangeBatch) -> None:
        for task in self._desk.work.unfinished():
            table = self._desk.relations.named(task.table)
            if task.begun and table is not None and table.stream_name == batch.stream.name:
                self._note_moved_in(task, table, batch)

    def _note_moved_in(self, task: Task, table: Table, batch: ChangeBatch) -> None:
        reading = self._current
        in_hand = isinstance(reading, KeyedReading) and reading.table.oid == table.oid
        through = isinstance(reading, KeyedReading) and in_hand and reading.read_through
        task = with_moved(task, table, batch, read_through=through)
        if len(task.again) > MOVED_MOST and not through:
            task = replace(task, again=(), after=(), upto=())
            if in_hand:  # what it has read so far would be taken for read
                self._current = None
                self._desk.drop()
        self._desk.work.put(task)

    def step(self) -> Group | None:
        """Something to hand over here; None if there is nothing now.

        Raises:
            SourceUnavailable: a connection broke.
        """
        if self._parts is not None:
            part = next(self._parts, None)
            if part is not None:
                return part
            self._parts = None
        begun = self._begin_all()
        if begun is not None:
            return begun
        work = self._desk.work
        for task in work.noted():
            done = settled(self._desk, task)
            if done is not None:
                work.put(done)
                return self._desk.note()
        for task in work.to_close():
            return self._close(task)
        next_one = work.next()
        if next_one is None:
            self._rest()
            return None
        if self._desk.waits or next_one.note:
            return None
        return self._go_on(next_one)

    def _begin_all(self) -> Group | None:
        """Tells every keyed stream that lacks rows so, before any change of it comes that takes them for granted."""
        found = [(task, self._desk.relations.named(task.table)) for task in self._desk.work.unfinished()]
        new = [(task, table) for task, table in found if task.aim == FIRST and not task.begun and table is not None]
        new = [(task, table) for task, table in new if table.changelog == "upsert"]
        if not new:
            return None
        for task, _ in new:
            self._desk.work.put(replace(task, begun=True))
        commit, ordinal, boundary = self._desk.place(len(new))
        streams = enumerate(table.stream for _, table in new)
        markers = [marker(stream, Op.SNAPSHOT_BEGIN, FIRST, commit, ordinal + at) for at, stream in streams]
        failpoint.reach("capture.reread.after_begin")
        return Group(boundary, tuple(markers))

    def _go_on(self, task: Task) -> Group | None:
        table = self._desk.relations.named(task.table)
        if table is None:
            self._desk.end(task, "the table is not captured")
            return self._desk.note()
        reading = self._current
        if reading is None or reading.table.oid != table.oid:
            self._desk.drop()
            if table.changelog == "upsert":
                reading = self._current = KeyedReading(self._desk, table)
                return reading.begin(task)
            reading = self._current = WholeReading(self._desk, table)
        group = reading.step(task) if isinstance(reading, KeyedReading) else self._whole(reading, task)
        after = self._desk.work.get(task.table)
        if after is None or after.state != "running" or after.note:
            self._current = None
        return group

    def _whole(self, reading: WholeReading, task: Task) -> Group | None:
        if task.where:
            self._desk.end(task, "a table without a key can only be read whole: leave --where out")
            return self._desk.note()
        self._parts = reading.step(task)
        return next(self._parts, None) if self._parts is not None else None

    def _close(self, task: Task) -> Group:
        """Ends a snapshot that was stopped; one that was to fill a table stays open, for rows are still missing."""
        self._current = None
        self._desk.drop()
        self._desk.work.put(replace(task, begun=False))
        table = self._desk.relations.named(task.table)
        if task.aim == FIRST or table is None:
            return self._desk.note()
        return self._desk.mark(table, Op.SNAPSHOT_END, GIVEN_UP)

    def _rest(self) -> None:
        """There is nothing to do: nothing is kept open."""
        if self._current is not None:
            self._current = None
            self._desk.drop()

    def require_possible(self, tables: list[str], where: str) -> None:
        """Looks whether tables can be read again.

        Raises:
            UserError: one cannot.
        """
        for name in tables:
            table = self._desk.relations.named(name)
            if table is None:
                raise UserError(f"table {name} is not captured", hint="headwater status lists the streams")
            if where and table.changelog != "upsert":
                raise UserError(
                    f"table {name} has no key by which rows could be replaced, so it can only be read whole",
                    hint="leave --where out",
                )

    def close(self) -> None:
        """Gives up connection and thread."""
        self._desk.close()
