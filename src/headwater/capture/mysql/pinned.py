"""Connections that see the databases as of one place of the binary log, however much is written meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pymysql

from headwater.capture.mysql.catalog import TableEntry
from headwater.capture.mysql.connection import Connection, execute, failed, hang_up, quoted
from headwater.capture.mysql.place import Place
from headwater.capture.mysql.server import Server, mariadb_gtid, read_head
from headwater.errors import SourceStopped, SourceUnavailable

ATTEMPTS = 20
"""How often we look for a moment at which nobody writes between the first connection's snapshot and the last one's."""

_BEGIN = ("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT")
_CHANGED = 1412
_REFUSED = (1044, 1045, 1142, 1227)


@dataclass
class Pinned:
    """Connections in a transaction that sees the databases at `place`.

    Attributes:
        connections: all see the same.
        place: every transaction before it is seen, and none after.
        how: in words, for the journal.
    """

    connections: list[Connection]
    place: Place
    how: str

    def close(self) -> None:
        """Ends them."""
        for connection in self.connections:
            hang_up(connection)


def pin(
    connect: Callable[[], Connection], server: Server, entries: Sequence[TableEntry], count: int, era: int = 0
) -> Pinned:
    """Pins `count` connections to one place, and keeps the tables' shapes from being changed while they live.

    MariaDB says for every consistent snapshot which place it is of, so that nothing is locked when it is quiet for
    a moment. Otherwise writers wait for the time that it takes to begin the transactions.

    Raises:
        SourceUnavailable: the tables are changed all the time, or somebody holds a lock for long.
        SourceStopped: we may not lock.
    """
    for _ in range(ATTEMPTS):
        connections: list[Connection] = []
        try:
            connections += [connect() for _ in range(count)]
            pinned = _pinned(connect, connections, server, entries, era)
            _hold(connections, entries)
            return pinned
        except pymysql.MySQLError as error:
            _close(connections)
            if error.args[:1] != (_CHANGED,):
                failed(error, "beginning the snapshot")
        except BaseException:
            _close(connections)
            raise
    raise SourceUnavailable("the tables were changed again and again as the snapshot began", hint="trying again")


def _pinned(
    connect: Callable[[], Connection],
    connections: list[Connection],
    server: Server,
    entries: Sequence[TableEntry],
    era: int,
) -> Pinned:
    if server.flavor == "mariadb":
        for _ in range(ATTEMPTS):
            place = _without_lock(connections, era)
            if place is not None:
                return Pinned(connections, place, "without a lock")
    control = connect()
    try:
        how = _lock(control, entries)
        _begin(connections)
        place = read_head(control, server, era)
        execute(control, "UNLOCK TABLES")
    finally:
        control.close()
    return Pinned(connections, place, how)


def _begin(connections: Sequence[Connection]) -> None:
    for connection in connections:
        for statement in _BEGIN:
            execute(connection, statement)


def _without_lock(connections: Sequence[Connection], era: int) -> Place | None:
    """Begins all; None if they did not begin at the same place."""
    _begin(connections)
    places = {_place_seen(connection) for connection in connections}
    if len(places) == 1:
        file, position = places.pop()
        return Place(file, position, mariadb_gtid(connections[0], file, position), era)
    for connection in connections:
        execute(connection, "ROLLBACK")
    return None


def _place_seen(connection: Connection) -> tuple[str, int]:
    """The place that MariaDB says a consistent snapshot is of."""
    rows = execute(
        connection, "SHOW STATUS WHERE Variable_name IN ('binlog_snapshot_file', 'binlog_snapshot_position')"
    )
    found = {str(name).lower(): str(value) for name, value in rows}
    return found["binlog_snapshot_file"], int(found["binlog_snapshot_position"])


def _lock(control: Connection, entries: Sequence[TableEntry]) -> str:
    """Keeps everybody from writing: the whole server if we may, else the tables."""
    try:
        execute(control, "FLUSH TABLES WITH READ LOCK")
        return "under a short FLUSH TABLES WITH READ LOCK"
    except pymysql.MySQLError as error:
        if error.args[:1] and error.args[0] not in _REFUSED:
            raise
    try:
        execute(control, "LOCK TABLES " + ", ".join(f"{quoted(*entry.full_name)} READ" for entry in entries))
        return "under a short LOCK TABLES ... READ"
    except pymysql.MySQLError as error:
        if error.args[:1] and error.args[0] not in _REFUSED:
            raise
    raise SourceStopped(
        "a consistent snapshot needs a short lock, which this user may not take",
        hint="run as an administrator: GRANT RELOAD ON *.* TO ...; or GRANT LOCK TABLES ON the databases",
    )


def _hold(connections: Sequence[Connection], entries: Sequence[TableEntry]) -> None:
    """Touches every table, which keeps its shape until the transaction ends; one that was changed since the
    transaction began gives error 1412."""
    for connection in connections:
        for entry in entries:
            execute(connection, f"SELECT 1 FROM {quoted(*entry.full_name)} LIMIT 1")  # noqa: S608 - quoted


def _close(connections: Sequence[Connection]) -> None:
    for connection in connections:
        hang_up(connection)
