"""Tables that appear while the source is read and match its patterns: published, captured and read without a restart.

A table is put into a publication of ours with ALTER PUBLICATION. Servers from before May 2025 may go on leaving out its
changes: of transactions that wrote to it while the publication was altered, and, by what those leave in the server's
cache, of later ones. So nothing is relied upon before all transactions that ran at that moment have ended; the table is
then taken out and put in once more, in one transaction, which makes the server look anew. Only then it is captured, and
read whole; what was left out before that is in what is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import psycopg

from headwater.capture.postgres.catalog import TableRow, list_tables
from headwater.capture.postgres.connection import Connection, cut_after, failed
from headwater.capture.postgres.preconditions import quoted, require_tables
from headwater.capture.postgres.publication import plan_publication, read_publication
from headwater.capture.postgres.selection import matches, qualify
from headwater.capture.postgres.table import Table
from headwater.capture.postgres.visibility import View
from headwater.clock import Clock
from headwater.errors import SourceStopped

BARRIER_S = 0.2
"""Between two looks whether older transactions have ended."""


@dataclass
class _Barrier:
    """Tables just published, and the transactions that ran then."""

    rows: Sequence[TableRow]
    running: View


@dataclass(frozen=True)
class Found:
    """Tables to be captured from now on, and those that cannot be, with the reason."""

    tables: Sequence[Table] = ()
    refused: dict[str, str] = field(default_factory=dict)


class Newcomers:
    """Looks for new tables now and then, on a connection of its own.

    Args:
        connect: opens it.
        read: a connection's view of tables, by their names.
        patterns: the setting `tables`.
        publication: its name.
        ours: it is ours to alter.
        every_s: seconds between two looks.
        limit_s: seconds that a look may take before its connection is taken for dead.
        clock: time.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        read: Callable[[Connection, str], Table | None],
        patterns: Sequence[str],
        publication: str,
        *,
        ours: bool,
        every_s: float,
        limit_s: float,
        clock: Clock,
    ) -> None:
        self._limit_s = limit_s
        self._connect, self._read = connect, read
        self._wanted = [qualify(pattern) for pattern in patterns if not pattern.startswith("!")]
        self._unwanted = [qualify(pattern[1:]) for pattern in patterns if pattern.startswith("!")]
        self._publication, self._ours = publication, ours
        self._every_s, self._clock = every_s, clock
        self._connection: Connection | None = None
        self._due = clock.monotonic_s()
        self._looked = False
        self._barrier: _Barrier | None = None
        self._refused: dict[str, str] = {}

    @property
    def busy(self) -> bool:
        """Whether there may be tables that are not told of yet: before the first look, and behind a barrier."""
        return not self._looked or self._barrier is not None

    def look(self, captured: Sequence[str]) -> Found | None:
        """New tables; None if there is nothing to tell.

        Raises:
            SourceUnavailable: the connection broke.
        """
        now = self._clock.monotonic_s()
        if now < self._due:
            return None
        self._due = now + (BARRIER_S if self._barrier else self._every_s)
        try:
            with cut_after(self._open(), self._limit_s):
                found = self._pass() if self._barrier else self._search(captured)
        except psycopg.OperationalError as error:
            failed(error, "looking for new tables")
        self._looked = True
        return found if found.tables or found.refused else None

    def _search(self, captured: Sequence[str]) -> Found:
        connection = self._open()
        existing = list_tables(connection)
        self._refused = {name: why for name, why in self._refused.items() if name in existing}
        new = [row for name, row in existing.items() if self._is_wanted(name) and name not in captured]
        new = [row for row in new if row.qualified not in self._refused]
        refused: dict[str, str] = {}
        rows = [row for row in new if self._is_possible(connection, row, refused)]
        self._refused.update(refused)
        if not rows:
            return Found(refused=refused)
        published = read_publication(connection, self._publication)
        if self._ours or published is None or any(row.qualified not in published.tables for row in rows):
            self._publish(connection, rows, refused)
            return Found(refused=refused)
        return self._found(connection, [row.qualified for row in rows], refused)

    def _is_wanted(self, name: str) -> bool:
        return matches(name, self._wanted) and not matches(name, self._unwanted)

    def _is_possible(self, connection: Connection, row: TableRow, refused: dict[str, str]) -> bool:
        try:
            require_tables(connection, [row])
        except SourceStopped as error:
            refused[row.qualified] = f"{error.message}; {error.hint}"
        return row.qualified not in refused

    def _publish(self, connection: Connection, rows: Sequence[TableRow], refused: dict[str, str]) -> None:
        existing = read_publication(connection, self._publication)
        try:
            statement = plan_publication(connection, self._publication, existing, rows, ours=self._ours)
        except SourceStopped as error:
            refused.update({row.qualified: f"{error.message}; {error.hint}" for row in rows})
            self._refused.update(refused)
            return
        if statement is not None:
            connection.execute(statement.encode())
        self._barrier = _Barrier(rows, _view(connection))
        self._due = self._clock.monotonic_s()

    def _pass(self) -> Found:
        """Tables whose barrier is behind us; they are put into the publication once more."""
        connection, barrier = self._open(), self._barrier
        assert barrier is not None
        if len(np.intersect1d(_view(connection).running, barrier.running.running)):
            return Found()
        tables = ", ".join(f"ONLY {quoted(row.schema, row.name)}" for row in barrier.rows)
        name = quoted(self._publication)
        with connection.transaction():
            connection.execute(f"ALTER PUBLICATION {name} DROP TABLE {tables}".encode())
            connection.execute(f"ALTER PUBLICATION {name} ADD TABLE {tables}".encode())
        self._barrier = None
        return self._found(connection, [row.qualified for row in barrier.rows], {})

    def _found(self, connection: Connection, names: Sequence[str], refused: dict[str, str]) -> Found:
        tables = []
        for name in names:
            try:
                tables.append(self._read(connection, name))
            except SourceStopped as error:
                refused[name] = f"{error.message}; {error.hint}"
        self._refused.update(refused)
        return Found([table for table in tables if table is not None], refused)

    def refuse(self, name: str, why: str) -> None:
        """A table that was found cannot be captured after all."""
        self._refused[name] = why

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def close(self) -> None:
        """Gives up the connection."""
        if self._connection is not None:
            self._connection.close()


def _view(connection: Connection) -> View:
    row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    return View.parse(str(row[0]) if row else "")
