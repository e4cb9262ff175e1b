"""Reads tables beside the stream, on a connection of its own: a chunk at a time, or whole.

Every reading says by its `View` which transactions it holds, and up to which LSN the stream must have come so that it
has brought all of those: the *high watermark*. A transactional logical message makes the server write and flush beyond
it at once; where none may be written (a standby, a read-only role), the end of the log will do, which may take until
the server's next flush.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg

from headwater.capture.postgres.chunks import Sql, copy_last_key, copy_rows, name_of, plain_fields, up_to
from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.lsn import parse_lsn
from headwater.capture.postgres.snapshot import GROUP_BYTES, GROUP_ROWS, interrupt, require_not_rewritten
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.visibility import View
from headwater.capture.postgres.wire import Frames, read_copy
from headwater.clock import Clock
from headwater.errors import InvariantBroken, SourceUnavailable

LOCK_WAIT = "3s"
CHUNK_BYTES = 256 << 20
"""A chunk that is larger is read again with fewer rows."""

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_MESSAGE = "SELECT pg_logical_emit_message(true, 'headwater.watermark', '')::text"
_END_OF_LOG = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END::text"""

Describe = Callable[[Connection, str], Table | None]
"""A table as the connection's snapshot has it; None if it is not there."""


Call = Callable[[], object]
"""A question to the thread that reads."""


class TooMuch(Exception):
    """A chunk took too long, or too much memory: it should be smaller."""


@dataclass(frozen=True)
class ChunkRead:
    """Rows of a table.

    Attributes:
        view: which transactions they hold.
        table: the table's definition then.
        frames: the rows, as COPY's text; their fields are the table's columns.
        high: the high watermark.
        seconds: how long it took.
        upto: texts of the last key that is to be read; empty if particular rows were asked for, or there are none.
    """

    view: View
    table: Table
    frames: Sequence[Frames]
    high: int
    seconds: float
    upto: tuple[str, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.frames))


@dataclass
class WholeRead:
    """A table being read whole, in a transaction that stays open: its rows come when they are asked for."""

    view: View
    table: Table
    rows: Iterator[Frames]


class ChunkReader:
    """One connection, used by one thread at a time.

    Args:
        connect: opens it.
        describe: finds a table's definition.
        timeout_s: after so many seconds the server gives a chunk up.
        clock: time.
    """

    def __init__(self, connect: Callable[[], Connection], describe: Describe, timeout_s: float, clock: Clock) -> None:
        self._connect, self._describe = connect, describe
        self._timeout_ms = max(1, round(timeout_s * 1000))
        self._clock = clock
        self._connection: Connection | None = None
        self._may_write = True

    def view(self, table: Table) -> tuple[View, int | None]:
        """Which transactions are seen now, and how many rows the table may have."""
        connection = self._open()
        row = connection.execute("SELECT reltuples::float8 FROM pg_class WHERE oid = %s", (table.oid,)).fetchone()
        return _view(connection), int(row[0]) if row and row[0] >= 0 else None

    def chunk(
        self, table: Table, conditions: Sequence[Sql | None], limit: int | None, upto: tuple[str, ...] = ()
    ) -> ChunkRead:
        """Reads rows.

        Args:
            table: which.
            conditions: all of which rows meet.
            limit: at most so many, by key; None for all.
            upto: with a limit, texts of the last key that is to be read; of the last there is now, if that is empty.

        Raises:
            TooMuch: it should have been fewer.
            SourceUnavailable: the table has just been rewritten, or is locked.
            psycopg.Error: the server refuses, or the connection broke.
        """
        began = self._clock.monotonic_s()
        connection = self._open()
        try:
            view, now = self._begin(connection, table)
            connection.execute(f"SET LOCAL statement_timeout = {self._timeout_ms}".encode())
            frames, size = [], 0
            if limit is not None:
                upto = upto or self._last_key(connection, now)
                conditions = [*conditions, up_to(now, upto)]
            for part in read_copy(connection, copy_rows(now, conditions, limit).as_bytes(connection), GROUP_ROWS,
                                  GROUP_BYTES):  # fmt: skip
                frames.append(part)
                size += int(part.ends[-1])
                if size > CHUNK_BYTES:
                    raise TooMuch
            connection.execute("COMMIT")
        except BaseException:
            self.close()
            raise
        high = self.watermark()
        return ChunkRead(view, now, frames, high, self._clock.monotonic_s() - began, upto)

    def _last_key(self, connection: Connection, table: Table) -> tuple[str, ...]:
        found = list(read_copy(connection, copy_last_key(table).as_bytes(connection), 1, GROUP_BYTES))
        return plain_fields(found[0][0]) if found else ()

    def whole(self, table: Table) -> WholeRead:
        """Begins to read a whole table; nothing else may be asked until its rows are read, and `watermark` after them.

        Raises:
            As `chunk`.
        """
        connection = self._open()
        try:
            view, now = self._begin(connection, table)
        except BaseException:
            self.close()
            raise
        return WholeRead(view, now, self._rest(connection, now))

    def _rest(self, connection: Connection, table: Table) -> Iterator[Frames]:
        yield from read_copy(connection, copy_rows(table, []).as_bytes(connection), GROUP_ROWS, GROUP_BYTES)
        connection.execute("COMMIT")

    def _begin(self, connection: Connection, table: Table) -> tuple[View, Table]:
        """Takes a snapshot, and sees to it that the table is still as the snapshot has it."""
        connection.execute(_BEGIN)
        view = _view(connection)
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'".encode())
        connection.execute((b"LOCK TABLE %s IN ACCESS SHARE MODE") % name_of(table).as_bytes(connection))
        now = self._describe(connection, table.qualified)
        if now is None or now.oid != table.oid:
            raise SourceUnavailable(f"table {table.qualified} is being replaced", hint="reading it again")
        require_not_rewritten(connection, [table.oid])
        return view, now

    def watermark(self) -> int:
        """An LSN beyond everything that was committed before."""
        connection = self._open()
        if self._may_write:
            try:
                return _lsn(connection, _MESSAGE)
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
                self._may_write = False
            except psycopg.errors.ObjectNotInPrerequisiteState:  # a standby
                self._may_write = False
        return _lsn(connection, _END_OF_LOG)

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            # A commit of ours is not to wait for a standby; what it flushes is empty.
            self._connection.execute("SET synchronous_commit = 'local'")
        return self._connection

    def interrupt(self) -> None:
        """Ends what another thread does here."""
        if self._connection is not None:
            interrupt(self._connection)

    def close(self) -> None:
        """Gives up the connection; another one is opened when it is needed."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def _view(connection: Connection) -> View:
    row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    if row is None:
        raise InvariantBroken("pg_current_snapshot gave no row")
    return View.parse(str(row[0]))


def _lsn(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        raise InvariantBroken("the server gave no LSN")
    return parse_lsn(str(row[0]))
