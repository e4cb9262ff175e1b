"""The replication slot: the server's promise to keep what we have not confirmed. Made, judged and dropped here."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql

from headwater.capture.postgres.connection import Connection, failed
from headwater.capture.postgres.lsn import lsn_text, parse_lsn
from headwater.errors import InvariantBroken, SourceStopped, SourceUnavailable

PLUGIN = "pgoutput"


@dataclass(frozen=True)
class Slot:
    """A slot as `pg_replication_slots` shows it.

    Attributes:
        name, plugin, database: what it is and where.
        active: somebody is reading it.
        confirmed: LSN up to which its reader confirmed everything.
        lost: why it can no longer be read; empty if it can.
    """

    name: str
    plugin: str
    database: str
    active: bool
    confirmed: int
    lost: str


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
    lost = seen.get("invalidation_reason") or ("wal_removed" if seen.get("wal_status") == "lost" else "")
    confirmed = seen["confirmed_flush_lsn"]
    where = str(seen["plugin"] or "none"), str(seen["database"] or "")
    return Slot(name, *where, seen["active"], parse_lsn(confirmed) if confirmed else 0, lost)


def identify_system(replication: Connection) -> System:
    """Asks a replication connection which server it is."""
    row = replication.execute("IDENTIFY_SYSTEM").fetchone()
    if row is None:
        raise InvariantBroken("IDENTIFY_SYSTEM gave no row")
    return System(str(row[0]), int(row[1]), str(row[3]), parse_lsn(str(row[2])))


def create_slot(replication: Connection, name: str) -> CreatedSlot:
    """Makes a permanent slot and exports its snapshot, which lives until the connection's next command.

    Waits for the transactions that are running on the server to end.
    """
    command = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput").format(sql.Identifier(name))
    try:
        row = replication.execute(command).fetchone()
    except psycopg.Error as error:
        failed(error, f"making replication slot {name!r}")
    if row is None:
        raise InvariantBroken("CREATE_REPLICATION_SLOT gave no row")
    return CreatedSlot(parse_lsn(str(row[1])), str(row[2]))


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


def require_resumable(slot: Slot | None, name: str, system: System, resume_lsn: int) -> None:
    """Refuses a slot from which reading on would leave a gap.

    Raises:
        SourceStopped: gone, lost, of another kind, or ahead of the log.
        SourceUnavailable: somebody is reading it now.
    """
    again = "begin again with an empty state folder, which takes a new snapshot"
    if slot is None:
        raise SourceStopped(
            f"replication slot {name!r} is gone: the server may have thrown away changes after {lsn_text(resume_lsn)}",
            hint=f"to go on, {again}",
        )
    if slot.plugin != PLUGIN or slot.database != system.database:
        raise SourceStopped(
            f"replication slot {name!r} is not ours: plugin {slot.plugin!r}, database {slot.database!r}",
            hint="choose another name under slot:",
        )
    if slot.lost:
        raise SourceStopped(
            f"the server gave replication slot {name!r} up ({slot.lost}): changes after {lsn_text(resume_lsn)} "
            "are gone",
            hint=f"{_drop(name)} Then {again}; raise max_slot_wal_keep_size against a next time",
        )
    if slot.active:
        raise SourceUnavailable(
            f"replication slot {name!r} is being read by another process",
            hint="if it stays so, another Headwater runs on this state folder, or: SELECT pid, application_name FROM "
            "pg_stat_replication;",
        )
    _require_behind(slot, system, resume_lsn, again)


def _require_behind(slot: Slot, system: System, resume_lsn: int, again: str) -> None:
    if slot.confirmed > resume_lsn:
        raise SourceStopped(
            f"replication slot {slot.name!r} is ahead of the log: {slot.confirmed - resume_lsn} bytes up to "
            f"{lsn_text(slot.confirmed)} were confirmed that the log, which ends at {lsn_text(resume_lsn)}, "
            "does not hold",
            hint="if an older copy of the state folder was put back, put the newest back; otherwise "
            f"{_drop(slot.name)} Then {again}",
        )
    if system.wal_end < resume_lsn:
        raise SourceStopped(
            f"the server's write-ahead log ends at {lsn_text(system.wal_end)}, before the log's "
            f"{lsn_text(resume_lsn)}: the server was restored from a backup or failed over to a standby that lacks "
            "transactions",
            hint=f"{_drop(slot.name)} Then {again}",
        )


def _drop(name: str) -> str:
    return f"SELECT pg_drop_replication_slot('{name}');"
