"""One table with a key, read in chunks of its key's order beside the stream (`headwater.capture.incremental`).

It is read up to the last key there was when its reading began: what is put behind that is brought by the stream, so the
reading ends however fast the table grows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from psycopg import sql

from headwater import failpoint
from headwater.capture.incremental import COMPLETE, FIRST, GIVEN_UP, PART, Counts, Window, marker, moved
from headwater.capture.postgres.chunk_reader import Call, ChunkRead
from headwater.capture.postgres.chunks import beyond, key_texts, last_key, these
from headwater.capture.postgres.desk import Desk
from headwater.capture.postgres.rows import Decoded, Places, decode_copy, reject_batch
from headwater.capture.postgres.table import Layout, Table
from headwater.capture.postgres.visibility import Commits, Ids32, Lsns, View, among, may_be_late
from headwater.capture.worklist import Task
from headwater.change import ChangeBatch, Group, Op
from headwater.schema import StreamSchema

AGAIN_MOST = 10
"""So often rows that change faster than they are read are read once more, in a stream that has their values already; in
one that lacks rows it is done until it succeeds."""

Keys = tuple[tuple[str, ...], ...]


class KeyedReading:
    """A table in hand.

    Args:
        desk: what it works with.
        table: the table, an `upsert` stream.

    Attributes:
        table: the table, as the stream describes it.
    """

    def __init__(self, desk: Desk, table: Table) -> None:
        self.table = table
        self._desk = desk
        self._known: Table | None = table
        self._again: Keys = ()
        self._passed: tuple[str, ...] | None = None
        self._last = self._chunk_asked = False
        self._tries = 0
        self._asked: Keys = ()
        self._asked_rows = 0
        self._rekeyed = False  # changes have come under another key: what they named cannot be compared
        self._restart()

    def _restart(self) -> None:
        """Begins to take note of changes; which transactions run now is asked for after that."""
        self._window, self._commits = Window(), Commits()
        self._before: View | None = None
        self._ids: set[int] = set()

    @property
    def read_through(self) -> bool:
        """Whether every row was read, but those whose keys the task has noted."""
        return self._last and self._passed is None

    def observe(self, group: Group, lsns: Lsns, ids: Ids32) -> None:
        """Takes note of what the stream brings."""
        self._commits.add(lsns, ids)
        if self._before is not None:
            self._ids.update(self._before.whole(ids).tolist())
        for batch in group.batches:
            if batch.stream.name == self.table.stream_name:
                self._rekeyed |= not _same_key(batch.stream, self.table.stream)
                self._window.touch(batch)

    def begin(self, task: Task) -> Group | None:
        """Tells the stream, once for a task, that it is being read."""
        self._desk.work.put(replace(task, state="running", begun=True))
        if task.begun:
            return None
        group = self._desk.mark(self.table, Op.SNAPSHOT_BEGIN, task.aim)
        failpoint.reach("capture.reread.after_begin")
        return group

    def step(self, task: Task) -> Group | None:
        """Reads the next chunk, or hands one over."""
        desk = self._desk
        if not desk.asked:
            desk.submit(self._question(task))
            return None
        found = desk.look(task)
        if not isinstance(found, ChunkRead):
            if found is not None:
                self._take_view(task, found)
            return None
        if self._before is None or may_be_late(found.view, self._before, self._ids):
            self._wait(task)
            return None
        if not desk.has_come_to(found.high):
            return None
        desk.take()
        return self._hand_over(task, found)

    def _question(self, task: Task) -> Call:
        """What is to be read next."""
        desk = self._desk
        self._known = desk.relations.named(task.table)
        table = self._known or self.table
        if self._before is None:
            return partial(desk.reader.view, table)
        self._asked = self._again
        if not self._asked and (self._last or self._chunk_asked):  # in turn with chunks, so that neither starves
            self._asked, self._chunk_asked = task.again, False
        if self._asked:
            return partial(desk.reader.chunk, table, [these(table, self._asked)], None)
        conditions = [beyond(table, task.after), sql.SQL(task.where) if task.where else None]
        self._asked_rows, self._chunk_asked = desk.rows, True
        return partial(desk.reader.chunk, table, conditions, desk.rows, task.upto)

    def _take_view(self, task: Task, found: object) -> None:
        assert isinstance(found, tuple)
        self._before, expected = found
        self._desk.work.put(replace(task, expected=task.expected if expected is None else expected))
        self._desk.take()

    def _wait(self, task: Task) -> None:
        """A transaction that ran when this began runs still, and may have been sent before that."""
        self._desk.take()
        self._restart()
        self._desk.work.put(replace(task, message="waits for transactions that began before it to end"))
        self._desk.later()

    def _hand_over(self, task: Task, read: ChunkRead) -> Group | None:
        """A chunk's group: the stream has brought all that it holds."""
        if self._desk.relations.named(task.table) is not self._known:  # its definition has changed in the stream since
            return None
        adopted = self._desk.relations.adopt(read.table, reached=True)
        same = _same_key(adopted.stream, self.table.stream)
        if self._rekeyed or not same or adopted.changelog != self.table.changelog:
            self._desk.work.put(
                replace(task, state="waiting", begun=False, after=(), upto=(), again=())
            )  # from its beginning
            return None
        self.table = adopted
        commit, ordinal, boundary = self._desk.place(len(read))
        batches, rejects = self._survivors(read, commit, ordinal)
        self._commits.forget(read.view)
        self._window.forget(partial(among, known=self._commits.unseen(read.view)))
        task = self._advanced(task, read)
        if self._again or task.again or not self._last:
            self._desk.work.put(task)
            group = Group(self._desk.course.boundary(boundary.position.ordinal), batches, reject_batch(rejects))
            failpoint.reach("capture.reread.after_chunk")
            return group
        self._desk.work.put(replace(task, state="done", begun=False))
        commit, ordinal, boundary = self._desk.place(1)
        ended = GIVEN_UP if task.aim == PART else COMPLETE
        end = marker(self.table.stream, Op.SNAPSHOT_END, ended, commit, ordinal)
        failpoint.reach("capture.reread.after_end")
        return Group(boundary, (*batches, end), reject_batch(rejects))

    def _advanced(self, task: Task, read: ChunkRead) -> Task:
        """The task after this reading. A chunk counts as read once the keys of it that are to be read once more are,
        so that a crash in between loses none. A key under which a row has come that the reading could not see yet is
        not read."""
        task = replace(task, message="")
        if not self._asked:
            self._last = len(read) < self._asked_rows
            if not self._last:
                self._desk.pace(read.seconds)
            self._passed = last_key(read.table, read.frames[-1][len(read.frames[-1]) - 1]) if len(read) else task.after
            task = replace(task, rows=task.rows + len(read), upto=read.upto)
        self._tries = self._tries + 1 if self._again else 0
        if self._tries > AGAIN_MOST and task.aim != FIRST:
            self._again, self._tries = (), 0
        if self._again:
            return task
        if self._passed is None:
            unsettled = {key for keys in self._window.named() for key in key_texts(self.table, keys)}
            settled = set(self._asked) - unsettled
            return replace(task, again=tuple(key for key in task.again if key not in settled))
        passed, self._passed = self._passed, None
        return replace(task, after=passed)

    def _survivors(
        self, read: ChunkRead, commit: int, ordinal: int
    ) -> tuple[tuple[ChangeBatch, ...], list[dict[str, object]]]:
        """Decodes the rows and leaves out those that a change beats; notes those that must be read once more."""
        layout = fitted(self.table, read.table)
        counts: Counts = partial(among, known=self._commits.unseen(read.view))
        batches, rejects, again = [], [], []
        for frames in read.frames:
            ordinals = np.arange(ordinal, ordinal + len(frames), dtype=np.int64)
            ordinal += len(frames)
            decoded = decode_copy(layout, frames, Places(np.full(len(frames), commit, np.uint64), ordinals, None))
            if decoded.batch is None:
                rejects += decoded.rejects
                continue
            survivors = self._window.survivors(decoded.batch, counts)
            batches += [survivors.batch] if len(survivors.batch) else []
            again += [survivors.again] if survivors.again.num_rows else []
            rejects += _kept(decoded, decoded.batch, survivors.batch)
        self._again = tuple(key for rows in again for key in key_texts(self.table, rows))
        return tuple(batches), rejects


def _same_key(one: StreamSchema, other: StreamSchema) -> bool:
    """Whether rows of two versions of a stream have the same key, of the same types."""
    keys = ([(name, stream.columns.field(name).type) for name in stream.key] for stream in (one, other))
    return next(keys) == next(keys)


def with_moved(task: Task, table: Table, batch: ChangeBatch, *, read_through: bool) -> Task:
    """The task, with the keys noted under which rows have come that it would pass over.

    Args:
        task: what is done with the table.
        table: the table.
        batch: changes of it.
        read_through: every row was read but those that are noted, so that only where these go is of interest: however
            many keys move, the reading comes to its end.
    """
    were, rows = moved(batch)
    if not rows.num_rows:
        return task
    noted = dict.fromkeys(task.again)
    for old, new in zip(key_texts(table, were), key_texts(table, rows), strict=True):
        if not read_through or old in noted:
            noted[new] = None
    return replace(task, again=tuple(noted))


def _kept(decoded: Decoded, before: ChangeBatch, after: ChangeBatch) -> list[dict[str, object]]:
    """The rejects, without those of rows that a change beats."""
    if not decoded.rejects:
        return []
    beaten = np.setdiff1d(before.rows.column("_ordinal").to_numpy(), after.rows.column("_ordinal").to_numpy())
    places = {f"{before.rows.column('_commit')[0].as_py()}:{ordinal}" for ordinal in beaten.tolist()}
    return [reject for reject in decoded.rejects if reject["position"] not in places]


def fitted(table: Table, read: Table) -> Layout:
    """How rows with the columns of `read` map to the table's."""
    places = {column.name: place for place, column in enumerate(read.columns)}
    return Layout(table, tuple(places.get(column.name, -1) for column in table.columns), len(read.columns))
