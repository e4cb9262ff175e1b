"""Tables read again while their changes are followed (`headwater.capture.incremental`).

Every chunk is read as of a place of the binary log that is known exactly, so both watermarks are one: a transaction
before it is in the chunk, one after is not. The chunk is handed over as soon as the stream has come there, without the
rows that later changes in the same group name. A reading ends at the last key there was when it began, however many
rows are put behind it meanwhile: those the stream brings. A table without a key is read whole at one place, in parts.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater import failpoint
from headwater.capture.incremental import COMPLETE, FIRST, GIVEN_UP, Window, left_out, marker, moved
from headwater.capture.mysql.chunks import Chunk, Chunks
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
        self._window = Window()
        self._chunk: Chunk | None = None
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

    def require(self, tables: Sequence[tuple[str, int]]) -> None:
        """Reads tables that must be, database.table; see `history.Effect`."""
        for name, aim in tables:
            self._worklist.add(Task(name, aim))

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

    def follow(self, group: Group | None) -> Group | None:
        """Takes the stream's next group (None if there is none now) and adds to it what can be handed over.

        Raises:
            SourceUnavailable, SourceStopped: see `Reader.poll`.
        """
        if self._stream.parted:
            return self._touched(group) if group is not None else None
        if self._whole is not None and self._stream.reached >= self._whole.pinned.place.number:
            self._parts = self._read_whole(self._whole, group)
            self._whole = None
            return next(self._parts)
        group = self._touched(group) if group is not None else None
        batches = list(group.batches) if group is not None else []
        before = len(batches)
        batches += self._closed()
        if self._chunk is None and self._whole is None:
            batches += self._begin()
        bad: pa.RecordBatch | None = None
        if self._chunk is not None and self._stream.reached >= self._chunk.number:
            found, bad = self._hand_over(self._chunk)
            batches += found
        if len(batches) == before and bad is None:
            return group
        rejects = _joined(group.rejects if group is not None else None, bad)
        return Group(self.boundary(), tuple(batches), rejects, group.filtered if group is not None else {})

    def part(self) -> Group | None:
        """The next part of a table that is read whole; None if none is."""
        if self._parts is None:
            return None
        group = next(self._parts, None)
        if group is None:
            self._parts = None
        return group

    def _touched(self, group: Group) -> Group:
        """The stream's group, whose changes the window has seen; without those of tables without a key that are to be
        filled: the rows at hand are not all there were, and what will be read holds the changes already."""
        task = self._worklist.next()
        found = self._stream.table(task.table) if task is not None and task.begun else None
        if found is not None and found[1].key:
            for batch in group.batches:
                if batch.stream.name == found[1].stream.name:
                    self._window.touch(batch)
                    if task is not None and task.upto and moved(batch)[0].num_rows:
                        self._worklist.put(replace(task, upto=()))  # they may be behind it, and not whole
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

    def _closed(self) -> list[ChangeBatch]:
        """Ends of snapshots that were stopped."""
        batches: list[ChangeBatch] = []
        for task in self._worklist.to_close():
            found = self._stream.table(task.table)
            if found is not None:
                batches.append(self._mark(found[1], Op.SNAPSHOT_END, GIVEN_UP))
            self._worklist.put(replace(task, begun=False))
            self._chunk = None
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
            self._window = Window()
            marks = [self._mark(table, Op.SNAPSHOT_BEGIN, task.aim)]
            failpoint.reach("capture.reread.after_begin")
            task = replace(task, begun=True)
        self._worklist.put(task)
        try:
            if table.key:
                self._chunk = self._chunks.read(definition, table, task.where, task.after, task.upto)
                self._worklist.put(replace(task, upto=self._chunk.upto))
            else:
                self._whole = _Whole(definition, self._chunks.pin(definition), task.where)
            self._refused = 0
        except SourceStopped:
            self._refused += 1  # the stream will say how the table has changed, if it is not there already
            if self._stream.caught_up and self._refused > REFUSED_MOST:
                raise
        return marks

    def _hand_over(self, chunk: Chunk) -> tuple[list[ChangeBatch], pa.RecordBatch | None]:
        self._chunk = None
        task = self._worklist.next()
        found = self._stream.table(".".join(chunk.definition.full_name))
        if task is None or found is None or task.table != ".".join(chunk.definition.full_name):
            return [], None
        definition, table = found
        if definition.shape != chunk.definition.shape:
            self._window = Window()
            return [], None  # it has changed since: read once more
        batches: list[ChangeBatch] = []
        rejects: list[dict[str, object]] = []
        again = False

        def counts(commits: NDArray[np.uint64]) -> NDArray[np.bool_]:
            return commits >= np.uint64(chunk.number)

        for frames in chunk.frames:
            decoded = decode_text(as_read(table), frames.buffer, frames.begins, frames.ends, self._places(len(frames)))
            rejects += decoded.rejects
            if decoded.batch is not None:
                survivors = self._window.survivors(decoded.batch, counts)
                batches += [survivors.batch] if len(survivors.batch) else []
                again = again or survivors.again.num_rows > 0
        self._window.forget(counts)
        again = again or (not chunk.after and task.upto != chunk.upto)  # it ended where there may be more by now
        if not again:
            ended = not chunk.after
            task = replace(task, after=chunk.after, rows=task.rows + chunk.rows)
            if ended:
                batches.append(self._mark(table, Op.SNAPSHOT_END, COMPLETE))
                task = replace(task, state="done", begun=False)
            self._worklist.put(task)
            if ended:
                failpoint.reach("capture.reread.after_end")
            else:
                failpoint.reach("capture.reread.after_chunk")
        return batches, reject_batch(rejects)

    def _read_whole(self, whole: _Whole, group: Group | None) -> Generator[Group]:
        """TRUNCATE, all rows, and the group that the stream is at without what the rows hold: one transaction."""
        task = self._worklist.next()
        found = self._stream.table(".".join(whole.definition.full_name))
        number = whole.pinned.place.number
        try:
            if task is None or found is None or found[0].shape != whole.definition.shape:
                yield self._touched(group) if group is not None else Group(self.boundary())
                return
            table = found[1]
            yield Group(self.boundary(), (self._mark(table, Op.TRUNCATE, -1, number),), more=True)
            rows = 0
            text = query(table, whole.where)
            for frames in select(whole.pinned.connections[0], text, f"reading {table.qualified}"):
                rows += len(frames)
                yield self._rows(table, frames, number)
            self._worklist.put(replace(task, state="done", rows=rows))
            yield self._rest(self._touched(group) if group is not None else None, table, number)
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


def _joined(one: pa.RecordBatch | None, other: pa.RecordBatch | None) -> pa.RecordBatch | None:
    if one is None or other is None:
        return one if other is None else other
    return pa.Table.from_batches([one, other]).combine_chunks().to_batches()[0]


def first_tasks(tables: Sequence[Table], read: Sequence[str]) -> list[Task]:
    """What is left of an initial snapshot: tables that were not read to their end."""
    return [Task(table.qualified, FIRST) for table in tables if table.qualified not in read]
