"""Tables read again while their changes are followed (`headwater.capture.incremental`).

Every chunk is read as of a place of the binary log that is known exactly and that the stream has yet to come to, so
both watermarks are one: a transaction before it is in the chunk, one after is not. The chunk is handed over when the
stream has come there, between the changes before and after. A reading ends at the last key there was when it began,
however many rows are put behind it meanwhile: those the stream brings. Of rows that move with values left out (minimal
row images) the new keys are noted and read once more. A table without a key is read whole at one place, in parts.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa

from headwater import failpoint
from headwater.capture.incremental import COMPLETE, FIRST, GIVEN_UP, WHOLE, left_out, marker, moved
from headwater.capture.mysql.chunks import Chunk, Chunks, is_ordered, keys_of
from headwater.capture.mysql.definition import TableDefinition
from headwater.capture.mysql.packets import Frames, select
from headwater.capture.mysql.pinned import Pinned
from headwater.capture.mysql.rows import Places, decode_text, reject_batch
from headwater.capture.mysql.snapshot import query
from headwater.capture.mysql.stream import Stream
from headwater.capture.mysql.table import Table, as_read
from headwater.capture.request import Progress, Request
from headwater.capture.worklist import Task, Worklist
from headwater.change import ChangeBatch, Group, Op
from headwater.errors import SourceStopped, UserError
from headwater.position import Boundary, Resume

REFUSED_MOST = 40
"""So often is a table asked for again that is not as the stream has told so far: it may have changed a moment ago."""

MOVED_MOST = 1000
"""So many keys that must be read once more are remembered; beyond, a table of which rows are missing is read again from
its beginning."""

AHEAD_MOST = 50
"""So often in a row is a table looked at without going on with the stream."""

ORDINAL = "ordinal"
"""Where a resume point says how many rows snapshots have handed over."""


@dataclass
class _Whole:
    """A table without a key that waits to be read at one place."""

    definition: TableDefinition
    pinned: Pinned
    where: str


class Snapshots:
    """The snapshots that are asked for of a reading, one after the other.

    Args:
        stream: what is followed.
        chunks: reads tables.
        worklist: what is to be done.
        ordinal: of the next row that is handed over; it only rises, so that no two rows stand at one position.
    """

    def __init__(self, stream: Stream, chunks: Chunks, worklist: Worklist, ordinal: int = 0) -> None:
        self._stream = stream
        self._chunks = chunks
        self._worklist = worklist
        self._chunk: Chunk | None = None
        self._through, self._keys_asked = "", False
        self._ahead = 0
        self._since: dict[str, int] = {}
        self._whole: _Whole | None = None
        self._parts: Generator[Group] | None = None
        self._place, self._ordinal = 0, ordinal
        self._refused = 0

    @property
    def text(self) -> str:
        """The tasks, for a resume point."""
        return self._worklist.text()

    def boundary(self) -> Boundary:
        """Where the stream is, after all that was added to it."""
        return self._stream.boundary(self._ordinal)

    @property
    def kept(self) -> Resume:
        """What a resume point keeps of them."""
        return {"snapshots": self.text, ORDINAL: self._ordinal}

    def ask(self, request: Request) -> None:
        """See `Reader.ask`.

        Raises:
            UserError: it cannot be done.
        """
        tables = self._named(request.tables) if request.action == "snapshot" else request.tables
        if request.where:
            for name in tables:
                found = self._stream.table(name)
                if found is not None and not found[1].key:
                    raise UserError(
                        f"{name} has no key: rows of it cannot be read in part", hint="leave the condition out"
                    )
                if found is not None:
                    self._chunks.require_condition(found[1], request.where)
        self._worklist.ask(request, tables)

    def require(self, tables: Sequence[tuple[str, int, int]]) -> None:
        """Reads tables that must be; see `Stream.take_unread`."""
        for name, aim, commit in tables:
            self._since[name] = commit
            self._worklist.add(Task(name, aim, unknown=aim == WHOLE))

    def _named(self, names: Sequence[str]) -> list[str]:
        """The captured tables meant by patterns on database.table; a name without a database is of any.

        Raises:
            UserError: one of the patterns means none.
        """
        known = sorted(table.qualified for table in self._stream.tables())
        wanted: dict[str, None] = {}
        for pattern in names or ("*",):
            full = pattern if "." in pattern else f"*.{pattern}"
            found = [name for name in known if fnmatchcase(name, full)]
            if not found:
                raise UserError(
                    f"no captured table is called {pattern!r}", hint=f"captured are: {', '.join(known[:20])}"
                )
            wanted.update(dict.fromkeys(found))
        return list(wanted)

    @property
    def filling(self) -> bool:
        """Whether streams lack rows that an initial snapshot did not come to."""
        return any(task.aim == FIRST for task in self._worklist.unfinished())

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return self._worklist.progress()

    @property
    def idle(self) -> bool:
        """Whether nothing is to be done."""
        working = self._chunk or self._whole or self._parts
        return not working and self._worklist.next() is None and not self._worklist.to_close()

    @property
    def waits(self) -> bool:
        """Whether the stream is to wait: it is ahead of what can be read of a table."""
        return not self.idle and bool(self._ahead % AHEAD_MOST)

    def follow(self, group: Group | None) -> Group | None:
        """Takes the stream's next group (None if there is none now) and adds to it what can be handed over.

        Raises:
            SourceUnavailable, SourceStopped: see `Reader.poll`.
        """
        group = self._without_unfilled(group) if group is not None else None
        if self._stream.parted:
            self._note_moved(group.batches if group is not None else ())
            return group
        if self._whole is not None and self._stream.reached >= self._whole.pinned.place.number:
            self._parts = self._read_whole(self._whole, group)
            self._whole = None
            return next(self._parts)
        batches = group.batches if group is not None else ()
        added, rejects = self._added(batches)
        if added == list(batches) and rejects is None:
            return group
        rejects = _joined(group.rejects if group is not None else None, rejects)
        return Group(self.boundary(), tuple(added), rejects, group.filtered if group is not None else {})

    def _added(self, batches: Sequence[ChangeBatch]) -> tuple[list[ChangeBatch], pa.RecordBatch | None]:
        """The stream's batches with what is handed over among them: the rows of a chunk stand exactly at its place."""
        closed, before = self._closed(), self._with_begun(list(batches))
        found, after = list[ChangeBatch](), list[ChangeBatch]()
        bad: pa.RecordBatch | None = None
        chunk = self._chunk
        if chunk is not None and self._stream.reached >= chunk.number:
            before, after = _cut(before, chunk.number)
            self._note_moved(before)
            found, bad = self._hand_over(chunk)
            self._note_moved(after)
        else:
            self._note_moved(before)
        added = [*before, *found, *after, *closed]
        if self._chunk is None and self._whole is None:
            added += self._begin()
        return added, bad

    def part(self) -> Group | None:
        """The next part of a table that is read whole; None if none is."""
        if self._parts is None:
            return None
        group = next(self._parts, None)
        if group is None:
            self._parts = None
        return group

    def _without_unfilled(self, group: Group) -> Group:
        """The stream's group without the changes of tables without a key that are to be filled: the rows at hand are
        not all there were, and what will be read holds the changes already."""
        unfilled = {task.table for task in self._worklist.unfinished() if task.aim == FIRST}
        bags = {table.stream.name for table in self._stream.tables() if table.qualified in unfilled and not table.key}
        if not bags:
            return group
        filtered = dict(group.filtered)
        for batch in group.batches:
            if batch.stream.name in bags:
                filtered[batch.stream.name] = filtered.get(batch.stream.name, 0) + len(batch)
        kept = tuple(batch for batch in group.batches if batch.stream.name not in bags)
        return replace(group, batches=kept, filtered=filtered)

    def _note_moved(self, batches: Sequence[ChangeBatch]) -> None:
        """Notes the keys under which rows have come of which not everything was sent: what the reading has passed, or
        will not come to, must be read there once more."""
        for task in self._worklist.unfinished() if batches else ():
            found = self._stream.table(task.table)
            if task.begun and found is not None and is_ordered(found[1]):
                for batch in batches:
                    if batch.stream.name == found[1].stream.name:
                        self._note_moved_in(task.table, found[1], batch)

    def _note_moved_in(self, name: str, table: Table, batch: ChangeBatch) -> None:
        were, rows = moved(batch)
        task = self._worklist.get(name)
        if task is None or not rows.num_rows:
            return
        old, new = keys_of(table, were), keys_of(table, rows)
        noted = dict.fromkeys(task.again)
        for before, now in zip(old or (), new or (), strict=True):
            if name != self._through or before in noted:  # read to its end, only what was noted may be lost
                noted[now] = None
        if (old is None or len(noted) > MOVED_MOST) and (task.aim == FIRST or task.unknown):
            self._begin_again(task)
        else:
            self._worklist.put(replace(task, again=tuple(noted)[:MOVED_MOST]))

    def _begin_again(self, task: Task) -> None:
        """So many rows have moved that the table is read from its beginning."""
        self._worklist.put(replace(task, after=(), upto=(), again=()))
        if self._through == task.table:
            self._through = ""
        if self._chunk is not None and ".".join(self._chunk.definition.full_name) == task.table:
            self._chunk = None

    def _closed(self) -> list[ChangeBatch]:
        """Ends of snapshots that were stopped."""
        batches: list[ChangeBatch] = []
        for task in self._worklist.to_close():
            found = self._stream.table(task.table)
            if found is not None:
                batches.append(self._mark(found[1], Op.SNAPSHOT_END, GIVEN_UP))
            self._worklist.put(replace(task, begun=False))
            self._chunk, self._through = None, ""
        return batches

    def _with_begun(self, batches: list[ChangeBatch]) -> list[ChangeBatch]:
        """The stream's batches, in which streams that lack rows are told so before the first change that takes them for
        granted."""
        for task in self._worklist.unfinished():
            found = self._stream.table(task.table)
            if task.aim == FIRST and not task.begun and found is not None and found[1].key:
                since = self._since.pop(task.table, 0) + 2  # between that and the next, at a position of its own
                before, after = _cut(batches, since)
                batches = [*before, self._mark(found[1], Op.SNAPSHOT_BEGIN, FIRST, since if before else None), *after]
                self._worklist.put(replace(task, begun=True))
                failpoint.reach("capture.reread.after_begin")
        return batches

    def _begin(self) -> list[ChangeBatch]:
        """Goes on with the next task: reads its next chunk."""
        task = self._worklist.next()
        if task is None:
            return []
        found = self._stream.table(task.table)
        if found is None:
            self._worklist.put(replace(task, state="stopped", begun=False))
            return []
        definition, table = found
        if task.state == "waiting":
            expected = task.expected if task.expected is not None else self._chunks.expected(table)
            task = replace(task, state="running", expected=expected)
        marks = []
        if table.key and not task.begun:
            marks = [self._mark(table, Op.SNAPSHOT_BEGIN, task.aim)]
            failpoint.reach("capture.reread.after_begin")
            task = replace(task, begun=True)
        self._worklist.put(task)
        try:
            self._read(task, definition, table)
            self._refused = 0
        except SourceStopped:
            self._ahead = 0
            self._refused += 1  # the stream will say how the table has changed, if it is not there already
            if self._stream.caught_up and self._refused > REFUSED_MOST:
                raise
        return marks

    def _read(self, task: Task, definition: TableDefinition, table: Table) -> None:
        """Reads a table's next chunk, or takes hold of a table that is read whole, at a place that the stream has yet
        to come to."""
        since = self._stream.place.number
        if not table.key:
            pinned = self._chunks.pin(definition, since)
            self._whole = _Whole(definition, pinned, task.where) if pinned is not None else None
        elif task.again and (self._through == task.table or not self._keys_asked):  # in turn, so that neither starves
            self._chunk = self._chunks.read_keys(definition, table, task.where, task.again, since)
            self._keys_asked = self._chunk is not None
        else:
            self._keys_asked = False
            self._chunk = self._chunks.read(definition, table, task.where, task.after, task.upto, since)
            self._worklist.put(replace(task, upto=self._chunk.upto if self._chunk is not None else task.upto))
        self._ahead = self._ahead + 1 if self._chunk is None and self._whole is None else 0

    def _hand_over(self, chunk: Chunk) -> tuple[list[ChangeBatch], pa.RecordBatch | None]:
        """The chunk's rows: all that came before its place was handed over, and nothing after it."""
        self._chunk = None
        task = self._worklist.next()
        found = self._stream.table(".".join(chunk.definition.full_name))
        if task is None or found is None or task.table != ".".join(chunk.definition.full_name):
            return [], None
        definition, table = found
        if definition.shape != chunk.definition.shape:
            return [], None  # it has changed since: read once more
        batches: list[ChangeBatch] = []
        rejects: list[dict[str, object]] = []
        for frames in chunk.frames:
            places = self._places(len(frames), chunk.number)
            decoded = decode_text(as_read(table), frames.buffer, frames.begins, frames.ends, places)
            rejects += decoded.rejects
            batches += [decoded.batch] if decoded.batch is not None else []
        task = self._advanced(task, chunk)
        ended = self._through == task.table and not task.again
        if ended:
            batches.append(self._mark(table, Op.SNAPSHOT_END, COMPLETE, chunk.number))
            task, self._through = replace(task, state="done", begun=False), ""
        self._worklist.put(task)
        if ended:
            failpoint.reach("capture.reread.after_end")
        else:
            failpoint.reach("capture.reread.after_chunk")
        return batches, reject_batch(rejects)

    def _advanced(self, task: Task, chunk: Chunk) -> Task:
        """The task after a chunk."""
        if chunk.asked:
            return replace(task, again=tuple(key for key in task.again if key not in set(chunk.asked)))
        if not chunk.after:
            self._through = task.table
        return replace(task, after=chunk.after or task.after, rows=task.rows + chunk.rows)

    def _read_whole(self, whole: _Whole, group: Group | None) -> Generator[Group]:
        """TRUNCATE, all rows, and the group that the stream is at without what the rows hold: one transaction."""
        task = self._worklist.next()
        found = self._stream.table(".".join(whole.definition.full_name))
        number = whole.pinned.place.number
        try:
            if task is None or found is None or found[0].shape != whole.definition.shape:
                yield group if group is not None else Group(self.boundary())
                return
            table = found[1]
            yield Group(self.boundary(), (self._mark(table, Op.TRUNCATE, -1, number),), more=True)
            rows = 0
            text = query(table, whole.where)
            for frames in select(whole.pinned.connections[0], text, f"reading {table.qualified}"):
                rows += len(frames)
                yield self._rows(table, frames, number)
            self._worklist.put(replace(task, state="done", rows=rows))
            yield self._rest(group, table, number)
        finally:
            whole.pinned.close()

    def _rows(self, table: Table, frames: Frames, number: int) -> Group:
        places = self._places(len(frames), number)
        decoded = decode_text(as_read(table), frames.buffer, frames.begins, frames.ends, places)
        batches = (decoded.batch,) if decoded.batch is not None else ()
        return Group(self.boundary(), batches, reject_batch(decoded.rejects), more=True)

    def _rest(self, group: Group | None, table: Table, number: int) -> Group:
        batches: list[ChangeBatch] = []
        filtered: dict[str, int] = {}
        for batch in group.batches if group is not None else ():
            kept = batch
            if batch.stream.name == table.stream.name:
                kept, count = left_out(batch, lambda commits: commits < np.uint64(number))
                filtered[batch.stream.name] = filtered.get(batch.stream.name, 0) + count
            batches += [kept] if len(kept) else []
        rejects = group.rejects if group is not None else None
        boundary = self.boundary()
        return Group(boundary, tuple(batches), rejects, {name: count for name, count in filtered.items() if count})

    def _places(self, rows: int, number: int | None = None) -> Places:
        """Positions just before the place where the stream is, or before `number`."""
        first = self._take(rows, number)
        ordinals = np.arange(first, first + rows, dtype=np.int64)
        return Places(np.full(rows, self._place - 1, np.uint64), ordinals, None)

    def _take(self, count: int, number: int | None = None) -> int:
        self._place = self._stream.place.number if number is None else number
        first, self._ordinal = self._ordinal, self._ordinal + count
        return first

    def _mark(self, table: Table, op: Op, weight: int, number: int | None = None) -> ChangeBatch:
        first = self._take(1, number)
        return marker(table.stream, op, weight, self._place - 1, first)

    def close(self) -> None:
        """Gives up what is being read."""
        if self._parts is not None:
            self._parts.close()
        if self._whole is not None:
            self._whole.pinned.close()


def _cut(batches: Sequence[ChangeBatch], number: int) -> tuple[list[ChangeBatch], list[ChangeBatch]]:
    """The changes before a place, and those after it."""
    before, after = list[ChangeBatch](), list[ChangeBatch]()
    for batch in batches:
        early = batch.rows.column("_commit").to_numpy() < np.uint64(number)
        for part, taken in ((before, early), (after, ~early)):
            if taken.all():
                part.append(batch)
            elif taken.any():
                part.append(ChangeBatch(batch.stream, batch.rows.filter(pa.array(taken))))
    return before, after


def _joined(one: pa.RecordBatch | None, other: pa.RecordBatch | None) -> pa.RecordBatch | None:
    if one is None or other is None:
        return one if other is None else other
    return pa.Table.from_batches([one, other]).combine_chunks().to_batches()[0]


def first_tasks(tables: Sequence[Table], read: Sequence[str]) -> list[Task]:
    """What is left of an initial snapshot: tables that were not read to their end."""
    return [Task(table.qualified, FIRST) for table in tables if table.qualified not in read]
