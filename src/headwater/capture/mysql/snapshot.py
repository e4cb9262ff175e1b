"""The initial snapshot: every captured table read whole, as of one place of the binary log, on several connections.

Large tables with an integer key are cut into ranges of it, so that the connections share the work. The connections
only take bytes from their sockets; rows are decoded, in the order in which they arrive, where the groups are made.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pymysql

from headwater import failpoint
from headwater.capture.incremental import FIRST, marker
from headwater.capture.mysql.connection import Connection, execute, quoted
from headwater.capture.mysql.packets import Frames, select
from headwater.capture.mysql.pinned import Pinned
from headwater.capture.mysql.resume import DONE, RUNNING, Standing, boundary_before
from headwater.capture.mysql.rows import Places, decode_text, reject_batch, truncation
from headwater.capture.mysql.table import Table, as_read
from headwater.capture.mysql.types import select_expression
from headwater.change import ChangeBatch, Group, Op
from headwater.errors import SourceUnavailable
from headwater.position import Boundary

RANGE_ROWS = 250_000
"""About how many rows one range of a table has."""

WAITING_MOST = 8
"""Blocks of rows that wait to be decoded at most, so that memory stays bounded when the log is slow."""

STEP_S = 0.2
READ = "read"
"""Where a resume point names the tables that an unfinished snapshot has read to their end, as JSON."""


@dataclass(frozen=True)
class Task:
    """A part of a table to be read.

    Attributes:
        table: the table.
        where: condition on its rows, as SQL; empty for all.
    """

    table: Table
    where: str = ""


Rows = queue.Queue[tuple[Table, Frames | None] | None]
"""Rows of a table, the end of one of its parts (no rows), or the end of a connection's work (nothing)."""


@dataclass
class Snapshot:
    """A snapshot that can be read once.

    Attributes:
        pinned: connections that see the databases at one place; closed at the end.
        tables: the captured tables, as they are there.
        wanted: those of them to be read; none with `snapshot: schema_only` or `never`.
        standing: goes into resume points.
        again: the log holds part of an earlier attempt, so every stream is emptied first.
    """

    pinned: Pinned
    tables: Sequence[Table]
    wanted: Sequence[Table]
    standing: Standing
    again: bool
    _ordinal: int = 0
    _left: dict[str, int] = field(default_factory=dict)
    _leave: threading.Event = field(default_factory=threading.Event)

    @property
    def ordinal(self) -> int:
        """How many rows were handed over."""
        return self._ordinal

    def groups(self) -> Iterator[Group]:
        """The snapshot; the last group is empty and ends it.

        Raises:
            SourceUnavailable: a connection broke.
            SourceStopped: a table cannot be read.
        """
        if self.again:
            yield self._truncations()
        elif not self.wanted and any(table.key for table in self.tables):
            yield self._lacking()
        tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for table in self.wanted:
            parts = ranges(self.pinned.connections[0], table)
            self._left[table.qualified] = len(parts)
            for where in parts:
                tasks.put(Task(table, where))
        rows: Rows = queue.Queue(WAITING_MOST)
        with ThreadPoolExecutor(len(self.pinned.connections), "snapshot") as pool:
            try:
                working = [pool.submit(self._work, one, tasks, rows) for one in self.pinned.connections]
                yield from self._arriving(rows, len(working))
                for worker in working:
                    worker.result()
            finally:
                self._leave.set()
        self.pinned.close()
        yield Group(boundary_before(self.standing, self.pinned.place, self._ordinal, DONE))

    def _arriving(self, rows: Rows, running: int) -> Iterator[Group]:
        """Groups in the order in which rows arrive, until every worker has said that it is through."""
        while running:
            found = rows.get()
            if found is None:
                running -= 1
                continue
            table, frames = found
            if frames is None:
                self._left[table.qualified] -= 1
                failpoint.reach("capture.snapshot.after_table")
                continue
            yield self._group(table, frames)
            failpoint.reach("capture.snapshot.after_chunk")

    def _work(
        self,
        connection: Connection,
        tasks: queue.SimpleQueue[Task],
        rows: Rows,
    ) -> None:
        """One connection's thread: takes tasks until there are none."""
        try:
            while not tasks.empty():
                with suppress(queue.Empty):
                    task = tasks.get_nowait()
                    for frames in select(connection, query(task.table, task.where), f"reading {task.table.qualified}"):
                        if not self._put(rows, (task.table, frames)):
                            return
                    self._put(rows, (task.table, None))
        finally:
            self._put(rows, None)

    def _put(self, rows: Rows, found: tuple[Table, Frames | None] | None) -> bool:
        while not self._leave.is_set():
            try:
                rows.put(found, timeout=STEP_S)
            except queue.Full:
                continue
            return True
        return False

    def _group(self, table: Table, frames: Frames) -> Group:
        count = len(frames)
        ordinals = np.arange(self._ordinal, self._ordinal + count, dtype=np.int64)
        self._ordinal += count
        commit = self.pinned.place.number - 1
        places = Places(np.full(count, commit, np.uint64), ordinals, None)
        decoded = decode_text(as_read(table), frames.buffer, frames.begins, frames.ends, places)
        boundary = self._boundary()
        batches: tuple[ChangeBatch, ...] = (decoded.batch,) if decoded.batch is not None else ()
        return Group(boundary, batches, reject_batch(decoded.rejects))

    def _truncations(self) -> Group:
        commit = self.pinned.place.number - 1
        batches = [truncation(as_read(table), commit, at, None) for at, table in enumerate(self.tables)]
        self._ordinal = len(batches)
        return Group(self._boundary(), tuple(batches))

    def _lacking(self) -> Group:
        """Says that rows will be missing."""
        keyed, commit = [table for table in self.tables if table.key], self.pinned.place.number - 1
        batches = [marker(one.stream, Op.SNAPSHOT_BEGIN, FIRST, commit, at) for at, one in enumerate(keyed)]
        self._ordinal = len(batches)
        return Group(self._boundary(), tuple(batches))

    def _boundary(self) -> Boundary:
        """Where the snapshot is: tables that were read to their end need not be read again after a crash."""
        read = [name for name, left in self._left.items() if not left]
        boundary = boundary_before(self.standing, self.pinned.place, self._ordinal - 1, RUNNING)
        return replace(boundary, resume={**boundary.resume, READ: json.dumps(read), "ordinal": self._ordinal})

    def close(self) -> None:
        """Gives the snapshot up."""
        self._leave.set()
        self.pinned.close()


def query(table: Table, where: str = "") -> str:
    """SELECT of the captured columns, so that each value reads back the same as from the binary log."""
    columns = ", ".join(select_expression(column) for column in table.columns)
    condition = f" WHERE {where}" if where else ""
    return f"SELECT SQL_NO_CACHE {columns} FROM {quoted(table.database, table.name)}{condition}"  # noqa: S608 - quoted


def ranges(connection: Connection, table: Table) -> list[str]:
    """Conditions that cut a table into parts of about `RANGE_ROWS` rows; one empty condition if it is not cut.

    Only a key of one integer column is cut: MySQL finds a range of it by its index.
    """
    integers = [column for column in table.columns if (column.name,) == table.key and _is_integer(column.natural_type)]
    if not integers:
        return [""]
    name, source = quoted(table.key[0]), quoted(table.database, table.name)
    try:
        low, high = execute(connection, f"SELECT MIN({name}), MAX({name}) FROM {source}")[0]  # noqa: S608 - quoted
        about = execute(
            connection,
            "SELECT COALESCE(TABLE_ROWS, 0) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
            (table.database, table.name),
        )
    except pymysql.MySQLError as error:
        raise SourceUnavailable(f"cutting {table.qualified} into ranges: {error}", hint="trying again") from error
    parts = min(int(about[0][0]) // RANGE_ROWS + 1 if about else 1, 10_000)
    if low is None or parts == 1:
        return [""]
    step = (int(high) - int(low)) // parts + 1
    cuts = [int(low) + step * at for at in range(1, parts)]
    inner = [f"{name} >= {first} AND {name} < {last}" for first, last in pairwise(cuts)]
    return [f"{name} < {cuts[0]}", *inner, f"{name} >= {cuts[-1]}"]


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind))
