"""The replication slot: the server's promise to keep what we have not confirmed. Made, judged and dropped here."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from headwater.capture.postgres.connection import Connection, failed
from headwater.capture.postgres.lsn import parse_lsn
from headwater.errors import InvariantBroken, SourceStopped

PLUGIN = "pgoutput"


@dataclass(frozen=True)
class Slot:
    """A slot as `pg_replication_slots` shows it.

    Attributes:
        name, plugin, database: what it is and where.
        active: somebody is reading it.
        active_pid: the server process that reads it; None if nobody does.
        confirmed: LSN up to which its reader confirmed everything.
        restart: LSN from which the server keeps its log for it; never goes back.
        lost: why it can no longer be read; empty if it can.
        failover: it is copied to standbys (PostgreSQL 17 and newer).
    """

    name: str
    plugin: str
    database: str
    active: bool
    active_pid: int | None
    confirmed: int
    restart: int
    lost: str
    failover: bool


@dataclass(frozen=True)
class System:
    """Which cluster and database this is, and how far its write-ahead log goes."""

    identifier: str
    timeline: int
    database: str
    wal_end: int


@dataclass(frozen=True)
class CreatedSlot:
    """A slot just made: `lsn` from which it sends, and the exported `snapshot` of everything committed before."""

    lsn: int
    snapshot: str


def read_slot(connection: Connection, name: str) -> Slot | None:
    """The slot of that name; None if there is none."""
    query = "SELECT to_jsonb(s) FROM pg_replication_slots s WHERE slot_name = %s"
    row = connection.execute(query, (name,)).fetchone()
    if row is None:
        return None
    seen = row[0]
    where = str(seen["plugin"] or "none"), str(seen["database"] or "")
    confirmed, restart = (parse_lsn(seen[name]) if seen[name] else 0 for name in ("confirmed_flush_lsn", "restart_lsn"))
    failover = bool(seen.get("failover"))
    return Slot(name, *where, seen["active"], seen["active_pid"], confirmed, restart, _lost(seen), failover)


def _lost(seen: dict[str, object]) -> str:
    """Why a slot cannot be read, in the words of PostgreSQL 17 (`invalidation_reason`), before which it said less."""
    if seen.get("invalidation_reason"):
        return str(seen["invalidation_reason"])
    if seen.get("conflicting"):
        return "a conflict with recovery on the standby"
    return "wal_removed" if seen.get("wal_status") == "lost" else ""


def identify_system(replication: Connection) -> System:
    """Asks a replication connection which server it is."""
    row = replication.execute("IDENTIFY_SYSTEM").fetchone()
    if row is None:
        raise InvariantBroken("IDENTIFY_SYSTEM gave no row")
    return System(str(row[0]), int(row[1]), str(row[3]), parse_lsn(str(row[2])))


def create_slot(replication: Connection, name: str, *, failover: bool = False) -> CreatedSlot:
    """Makes a permanent slot and exports its snapshot, which lives until the connection's next command.

    Waits for the transactions that are running on the server to end.

    Args:
        replication: a replication connection.
        name: the slot's name.
        failover: have it copied to standbys; PostgreSQL 17 and newer.
    """
    options = sql.SQL(" (SNAPSHOT 'export', FAILOVER true)" if failover else "")
    command = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput{}").format(sql.Identifier(name), options)
    try:
        row = replication.execute(command).fetchone()
    except psycopg.Error as error:
        failed(error, f"making replication slot {name!r}")
    if row is None:
        raise InvariantBroken("CREATE_REPLICATION_SLOT gave no row")
    return CreatedSlot(parse_lsn(str(row[1])), str(row[2]))


def set_failover(replication: Connection, name: str) -> None:
    """Has an existing slot copied to standbys; PostgreSQL 17 and newer."""
    command = sql.SQL("ALTER_REPLICATION_SLOT {} (FAILOVER true)").format(sql.Identifier(name))
    try:
        replication.execute(command)
    except psycopg.Error as error:
        failed(error, f"altering replication slot {name!r}")


def drop_slot(connection: Connection, name: str) -> None:
    """Drops a slot; nothing happens if it is not there.

    Raises:
        SourceUnavailable: it is in use, by a reader of ours that the server has not missed yet perhaps.
    """
    query = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
    try:
        connection.execute(query, (name,))
    except psycopg.Error as error:
        failed(error, f"dropping replication slot {name!r}")


def require_unused(slot: Slot | None, name: str) -> None:
    """Refuses a slot that exists although our log is empty and the user, not we, chose its name.

    Raises:
        SourceStopped: it exists.
    """
    if slot is not None:
        raise SourceStopped(
            f"replication slot {name!r} exists already, but this state folder holds nothing that was read from it: "
            "it may serve somebody else, and what it confirmed is not in our log",
            hint=f"if nobody needs it: {_drop(name)} Otherwise choose another name under slot:, or leave slot: out",
        )


def require_ours(slot: Slot, system: System) -> None:
    """Refuses a slot of another plugin or database, which somebody else made under the name.

    Raises:
        SourceStopped: it is one.
    """
    if slot.plugin != PLUGIN or slot.database != system.database:
        raise SourceStopped(
            f"replication slot {slot.name!r} is not ours: plugin {slot.plugin!r}, database {slot.database!r}",
            hint="choose another name under slot:",
        )


def _drop(name: str) -> str:
    return f"SELECT pg_drop_replication_slot('{name}');"
