"""The initial snapshot: every captured table read whole, as of the exact LSN from which the slot sends changes.

The slot's creation exports a database snapshot in which every transaction that commits before the slot's consistent
point is visible, and none after. Several connections import it, and each reads one chunk of a table after the other
with COPY (`headwater.capture.postgres.chunks`). The exported snapshot dies with us: what a crash leaves unread is read
by `headwater.capture.postgres.rereading` while the slot's changes are followed.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np
import psycopg
from psycopg import sql

from headwater import failpoint
from headwater.capture.incremental import FIRST, marker
from headwater.capture.postgres.catalog import TableRow
from headwater.capture.postgres.chunks import Chunk, copy_rows, divide, read_sizes
from headwater.capture.postgres.connection import Connection, failed
from headwater.capture.postgres.resume import DONE, RUNNING, Standing, boundary_before
from headwater.capture.postgres.rows import Decoded, Places, decode_copy, reject_batch, truncation
from headwater.capture.postgres.table import Table, as_read
from headwater.capture.postgres.wire import Frames, read_copy
from headwater.capture.worklist import Task, Worklist
from headwater.change import Group, Op
from headwater.errors import InvariantBroken, SourceUnavailable

LOCK_WAIT = "30s"

_REWRITTEN = """
SELECT c.oid::regclass::text FROM pg_class c
WHERE c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid) AND (c.oid = ANY(%(oids)s)
  OR EXISTS (SELECT FROM unnest(%(oids)s) AS root (oid), pg_partition_tree(root.oid) p WHERE p.relid = c.oid))"""

_PIN = "SELECT pg_current_snapshot()::text, current_setting('transaction_isolation')"

GROUP_ROWS = 10_000
GROUP_BYTES = 16 << 20
"""Rows, and bytes, after which part of a chunk is handed over."""

_LOOK_S = 0.1
"""How often a connection's thread looks whether it is wanted no more."""


def begin_snapshot(connection: Connection, exported: str) -> None:
    """Makes `connection` see the database as the exported snapshot does, until it is closed.

    Raises:
        SourceUnavailable: the snapshot is gone already.
    """
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(exported)))
    except psycopg.Error as error:
        failed(error, "importing the slot's snapshot")


def pin_of(connection: Connection) -> str:
    """What `connection` sees, as text that is equal only for connections that see the same.

    Raises:
        SourceUnavailable: its transaction sees something else at every statement, or has ended.
    """
    row = connection.execute(_PIN).fetchone()
    if row is None or row[1] != "repeatable read":
        raise SourceUnavailable("a connection lost the snapshot it was to read in", hint="reading on in another way")
    return str(row[0])


def require_pinned(connection: Connection, pin: str) -> None:
    """Looks whether `connection` still sees what the others see.

    Raises:
        SourceUnavailable: it does not.
    """
    seen = pin_of(connection)
    if seen != pin:
        raise SourceUnavailable(
            f"a connection does not see the snapshot that was exported: {seen} instead of {pin}",
            hint="reading on in another way; if there is a connection pooler in between, go around it",
        )


def hold_tables(connection: Connection, rows: Sequence[TableRow]) -> None:
    """Keeps the tables from being emptied or rewritten until the snapshot is through.

    A truncated table looks empty to older snapshots as well, so its rows would be missing here while the stream still
    changes them. Whether that happened before the lock shows in the tables' file numbers: the query reads the
    catalog in the snapshot, the function reads it as of now.

    Raises:
        SourceUnavailable: it happened, or somebody holds a lock against us for longer than `LOCK_WAIT`.
    """
    names = sql.SQL(", ").join(sql.Identifier(row.schema, row.name) for row in rows)
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'".encode())
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    require_not_rewritten(connection, [row.oid for row in rows])


def require_not_rewritten(connection: Connection, oids: Sequence[int]) -> None:
    """See `hold_tables`.

    Raises:
        SourceUnavailable: a table was emptied or rewritten since the connection's snapshot.
    """
    moved = connection.execute(_REWRITTEN, {"oids": list(oids)}).fetchone()
    if moved is not None:
        raise SourceUnavailable(
            f"table {moved[0]} was emptied or rewritten just as the snapshot began", hint="taking the snapshot again"
        )


def interrupt(connection: Connection) -> None:
    """Ends what another thread does on `connection`, whatever it waits for; only to be closed afterwards."""
    if connection.closed:
        return
    with suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as wire:
        wire.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True)
class _Job:
    """One chunk to be read: of which table, its number among the table's chunks."""

    table: Table
    chunk: Chunk
    number: int


@dataclass(frozen=True)
class _Read:
    """A part of a chunk. `decoded` is None at its end."""

    job: _Job
    decoded: Decoded | None
    rows: int
    ordinal: int


@dataclass
class _Course:
    """How far the chunks of one table are."""

    chunks: Sequence[Chunk]
    done: set[int] = field(default_factory=set)
    passed: int = 0

    def finish(self, number: int) -> tuple[str, ...]:
        """Takes note that a chunk is read; up to which key all are now."""
        self.done.add(number)
        while self.passed in self.done:
            self.passed += 1
        return self.chunks[self.passed - 1].after if self.passed else ()


class Snapshot:
    """A snapshot that can be read once.

    Args:
        connections: connections that `begin_snapshot` was called on; the first holds the tables. Closed at the end.
        tables: the captured tables, as they are in the snapshot.
        wanted: those of them to be read.
        standing: goes into resume points.
        lsn: the slot's consistent point.
        again: the log holds rows already, so every stream is emptied first.
        chunk_rows: about how many rows a chunk is to have.
    """

    def __init__(
        self,
        connections: Sequence[Connection],
        tables: Sequence[Table],
        wanted: Sequence[Table],
        standing: Standing,
        lsn: int,
        *,
        again: bool,
        chunk_rows: int,
    ) -> None:
        self.tables, self.wanted, self.standing, self.lsn = tables, wanted, standing, lsn
        self.work = Worklist([Task(table.qualified, FIRST, initial=True) for table in wanted])
        self._connections = connections
        self._again, self._chunk_rows = again, chunk_rows
        self._pin = pin_of(connections[0])
        self._lock = threading.Lock()
        self._numbers = 0
        self._ordinal = 0
        self._jobs: Iterator[_Job] = iter(())
        self._courses: dict[str, _Course] = {}
        self._out: queue.Queue[tuple[int, _Read]] = queue.Queue(2 * len(connections))
        self._early: dict[int, _Read] = {}
        self._next = 0
        self._threads = ThreadPoolExecutor(len(connections), "snapshot")
        self._reading: list[Future[None]] = []
        self._stopping = threading.Event()
        self._begun = self.finished = False

    def poll(self, timeout_s: float) -> Group | None:
        """The next group; the last is empty and ends the snapshot. None if none is there within `timeout_s` seconds.

        Raises:
            SourceUnavailable: a connection broke.
            SourceStopped: a table cannot be read.
        """
        if not self._begun:
            self._begin()
            first = self._first()
            if first is not None:
                return first
        while True:
            read = self._early.pop(self._next, None)
            if read is None:
                if not self._receive(timeout_s):
                    return self._last() if self._over() else None
                continue
            self._next += 1
            group = self._group(read)
            if group is not None:
                return group

    @property
    def placed(self) -> tuple[int, int]:
        """Commit and ordinal of the last row."""
        return self.lsn - 1, self._ordinal

    def _begin(self) -> None:
        """Divides the tables into chunks and starts a thread for each connection."""
        first = self._connections[0]
        try:
            sizes = read_sizes(first, self.wanted)
            for table in self.wanted:
                size = sizes.get(table.oid)
                self._courses[table.qualified] = _Course(divide(first, table, size, self._chunk_rows))
                expected = size.rows if size else None
                self.work.put(Task(table.qualified, FIRST, state="running", initial=True, expected=expected))
            for connection in self._connections[1:]:
                require_pinned(connection, self._pin)
        except psycopg.Error as error:
            failed(error, "dividing the tables into chunks")
        self._jobs = (
            _Job(table, chunk, number)
            for table in self.wanted
            for number, chunk in enumerate(self._courses[table.qualified].chunks)
        )
        self._ordinal = len(self.tables) if self._again or not self.wanted else 0
        for connection in self._connections if self.wanted else ():
            self._reading.append(self._threads.submit(self._read_all, connection))
        self._begun = True

    def _first(self) -> Group | None:
        """Empties the streams, if there may be rows in them; says so, if rows will be missing."""
        commit, batches = self.lsn - 1, []
        if self._again:
            batches = [truncation(as_read(table), commit, at) for at, table in enumerate(self.tables)]
        elif not self.wanted:
            keyed = [table.stream for table in self.tables if table.changelog == "upsert"]
            batches = [marker(stream, Op.SNAPSHOT_BEGIN, FIRST, commit, at) for at, stream in enumerate(keyed)]
        boundary = boundary_before(self.standing, self.lsn, max(0, len(batches) - 1), RUNNING, self.work.text())
        return Group(boundary, tuple(batches)) if batches else None

    def _read_all(self, connection: Connection) -> None:
        """A thread: reads chunks until there are no more."""
        while not self._stopping.is_set():
            with self._lock:
                job = next(self._jobs, None)
            if job is None:
                break
            self._read(connection, job)

    def _read(self, connection: Connection, job: _Job) -> None:
        require_pinned(connection, self._pin)
        query = copy_rows(job.table, [job.chunk.condition]).as_bytes(connection)
        for frames in read_copy(connection, query, GROUP_ROWS, GROUP_BYTES):
            if self._stopping.is_set():
                return
            self._hand_over(job, frames)
        self._hand_over(job, None)

    def _hand_over(self, job: _Job, frames: Frames | None) -> None:
        """Gives rows their places and puts them out; they are taken in that order, whoever decodes faster."""
        count = len(frames) if frames is not None else 0
        with self._lock:
            number, ordinal = self._numbers, self._ordinal
            self._numbers, self._ordinal = number + 1, ordinal + count
        decoded = None
        if frames is not None:
            ordinals = np.arange(ordinal, ordinal + count, dtype=np.int64)
            places = Places(np.full(count, self.lsn - 1, np.uint64), ordinals, None)
            decoded = decode_copy(as_read(job.table), frames, places)
        self._put(number, _Read(job, decoded, count, ordinal + count - 1))

    def _put(self, number: int, read: _Read) -> None:
        while not self._stopping.is_set():
            with suppress(queue.Full):
                self._out.put((number, read), timeout=_LOOK_S)
                return

    def _over(self) -> bool:
        """Whether all is read.

        Raises:
            SourceUnavailable: a connection broke.
            SourceStopped: a table cannot be read.
        """
        ended = [reading for reading in self._reading if reading.done()]
        for error in (reading.exception() for reading in ended):
            if isinstance(error, psycopg.Error):
                failed(error, "reading the snapshot")
            if error is not None:
                raise error
        return len(ended) == len(self._reading) and self._out.empty() and not self._early

    def _receive(self, timeout_s: float) -> bool:
        """Takes in what a thread has put out, if anything comes within `timeout_s` seconds."""
        try:
            number, read = self._out.get(timeout=max(timeout_s, 0.001))
        except queue.Empty:
            return False
        self._early[number] = read
        return True

    def _group(self, read: _Read) -> Group | None:
        """The group of a part; None for a chunk's end, which the next group's resume point tells of."""
        task = self.work.get(read.job.table.qualified)
        assert task is not None
        if read.decoded is None:
            course = self._courses[task.table]
            after = course.finish(read.job.number)
            over = course.passed == len(course.chunks)
            self.work.put(replace(task, after=after, state="done" if over else "running"))
            failpoint.reach("capture.snapshot.after_chunk")
            if over:
                failpoint.reach("capture.snapshot.after_table")
            return None
        self.work.put(replace(task, rows=task.rows + read.rows))
        boundary = boundary_before(self.standing, self.lsn, read.ordinal, RUNNING, self.work.text())
        batches = (read.decoded.batch,) if read.decoded.batch else ()
        return Group(boundary, batches, reject_batch(read.decoded.rejects))

    def _last(self) -> Group:
        unread = [task.table for task in self.work.unfinished()]
        if unread:
            raise InvariantBroken(f"the snapshot ended, but not all of {', '.join(unread)} was read")
        self.close()
        self.finished = True
        return Group(boundary_before(self.standing, self.lsn, self._ordinal, DONE))

    def close(self) -> None:
        """Gives up the connections. May be called twice."""
        self._stopping.set()
        for connection in () if all(reading.done() for reading in self._reading) else self._connections:
            interrupt(connection)
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()
