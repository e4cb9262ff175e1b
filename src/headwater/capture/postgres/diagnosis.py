"""Looks at a PostgreSQL server from all sides for `headwater doctor`: way, version, settings, rights, standbys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from psycopg.conninfo import conninfo_to_dict

from headwater.capture.health import Watcher
from headwater.capture.postgres.connection import Connection
from headwater.capture.postgres.preconditions import require_direct
from headwater.capture.postgres.settings import PostgresSettings
from headwater.clock import Clock
from headwater.finding import Finding, Level, distance, is_loopback, judged
from headwater.position import Resume

LONG_S = 600.0
"""Age of a transaction from which on it is worth a warning."""

UNMAINTAINED = 140000
"""Major versions up to this one get no more fixes (its last was in November 2026)."""

_ROLE = """
SELECT rolname, rolsuper, rolreplication OR EXISTS (SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication'
  AND pg_has_role(current_user, g.oid, 'MEMBER')), rolcreatedb OR rolcreaterole FROM pg_roles
WHERE rolname = current_user"""

_LIMITS = """
SELECT current_setting('max_replication_slots')::int, (SELECT count(*) FROM pg_replication_slots),
  current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_replication)"""

_OLDEST = """
SELECT pid, coalesce(application_name, ''), extract(epoch FROM now() - xact_start)::float8 FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY xact_start LIMIT 1"""

_LEFT_BEHIND = """
SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots
WHERE slot_name LIKE 'headwater\\_%%' AND slot_name <> %s AND NOT active AND database = current_database()"""

_STANDBYS = "SELECT count(*) FROM pg_stat_replication r WHERE EXISTS (SELECT FROM pg_replication_slots s "
_STANDBYS += "WHERE s.active_pid = r.pid AND s.slot_type = 'physical') OR r.application_name LIKE 'walreceiver%'"

_WAITED_FOR = """
SELECT name FROM unnest(string_to_array(replace(current_setting('synchronized_standby_slots'), ' ', ''), ',')) name
WHERE name <> '' AND NOT EXISTS (SELECT FROM pg_replication_slots s
  WHERE s.slot_name = name AND s.slot_type = 'physical' AND s.active)"""


def diagnose_server(connection: Connection, settings: PostgresSettings, slot: str, clock: Clock) -> list[Finding]:
    """All findings that need no more than an ordinary connection; a question that the role may not ask is one too.

    Args:
        connection: to the database.
        settings: the source's.
        slot: name of its slot.
        clock: ours, to be compared with the server's.
    """
    looks: Sequence[Callable[[], Iterable[Finding]]] = (
        lambda: [judged("pooler", lambda: _direct(connection))],
        lambda: _version(connection),
        lambda: _way(connection, settings),
        lambda: _distance(connection, clock),
        lambda: _role(connection),
        lambda: _limits(connection),
        lambda: _settings(connection),
        lambda: _transactions(connection),
        lambda: _left_behind(connection, slot),
        lambda: _standbys(connection, settings),
    )
    return [finding for look in looks for finding in look()]


def watched(watcher: Watcher, resume: Resume) -> list[Finding]:
    """What a look from the side finds; the watcher is closed."""
    try:
        health = watcher.look(resume)
    finally:
        watcher.close()
    kept, budget = health.figures.get("wal_kept_bytes"), health.figures.get("wal_budget_bytes")
    if kept is None:
        return []
    alarms = [Finding("log kept", "warn", alarm.message, alarm.hint) for alarm in health.alarms]
    return alarms or [Finding("log kept", "ok", f"{kept:,} bytes of its log, {budget:,} are budgeted")]


def _direct(connection: Connection) -> str:
    require_direct(connection)
    return "the url leads to the server itself"


def _version(connection: Connection) -> Iterator[Finding]:
    version = connection.info.server_version
    told = f"PostgreSQL {version // 10000}.{version % 10000}"
    old = version < UNMAINTAINED + 10000
    level: Level = "fail" if version < UNMAINTAINED else "warn" if old else "ok"
    mend = "upgrade to PostgreSQL 15 or newer"
    yield Finding("version", level, f"{told} is no longer maintained" if old else told, mend if old else "")


def _way(connection: Connection, settings: PostgresSettings) -> Iterator[Finding]:
    """TLS, and where the password comes from."""
    given = conninfo_to_dict(settings.url.get_secret_value())
    host, mode = connection.info.host, str(given.get("sslmode") or "prefer")
    near = is_loopback(host)
    verify = "add ?sslmode=verify-full&sslrootcert=/path/to/ca.crt to the url"
    if not connection.pgconn.ssl_in_use:
        level: Level = "ok" if near else "warn"
        told = "no TLS, on this machine" if near else f"no TLS: data and password cross the network to {host} readable"
        yield Finding("tls", level, told, "" if near else verify)
    elif mode == "verify-full":
        yield Finding("tls", "ok", "TLS, and the server has proved that it is the one asked for")
    else:
        told = f"TLS with sslmode={mode}: read by nobody, but whoever answers for {host} is believed"
        yield Finding("tls", "ok" if near else "warn", told, "" if near else verify)


def _distance(connection: Connection, clock: Clock) -> Iterator[Finding]:
    return distance(
        lambda: int(_one(connection, "SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint")), clock
    )


def _role(connection: Connection) -> Iterator[Finding]:
    row = connection.execute(_ROLE).fetchone()
    name, superuser, replication, creates = row if row else ("?", False, False, False)
    if superuser or creates:
        power = "a superuser" if superuser else "allowed to make roles or databases"
        mend = "give this source a role of its own with LOGIN, REPLICATION and SELECT on its tables: docs/postgresql.md"
        yield Finding("role", "warn", f"role {name!r} is {power}: far more than capture needs", mend)
    elif replication:
        yield Finding("role", "ok", f"role {name!r} may replicate and has no more power than that")
    else:
        mend = f'run as an administrator: ALTER ROLE "{name}" REPLICATION;'
        yield Finding("role", "fail", f"role {name!r} may not replicate", mend)


def _limits(connection: Connection) -> Iterator[Finding]:
    slots, slots_used, senders, senders_used = connection.execute(_LIMITS).fetchone() or (0, 0, 0, 0)
    for name, limit, used in (
        ("max_replication_slots", slots, slots_used),
        ("max_wal_senders", senders, senders_used),
    ):
        level: Level = "ok" if limit - used >= 2 else "warn"
        mend = f"run as an administrator: ALTER SYSTEM SET {name} = {limit + 10}; and restart the server"
        yield Finding(name, level, f"{used} of {limit} in use", "" if level == "ok" else mend)


def _settings(connection: Connection) -> Iterator[Finding]:
    level = str(_one(connection, "SHOW wal_level"))
    mend = "run as an administrator: ALTER SYSTEM SET wal_level = 'logical'; and restart the server"
    yield Finding("wal_level", "ok" if level == "logical" else "fail", level, "" if level == "logical" else mend)
    timeout = str(_one(connection, "SHOW wal_sender_timeout"))
    never = timeout == "0"
    yield Finding(
        "wal_sender_timeout",
        "warn" if never else "ok",
        "0: the server never misses a reader that is gone, and keeps its slot taken" if never else timeout,
        "run as an administrator: ALTER SYSTEM SET wal_sender_timeout = '60s'; SELECT pg_reload_conf();"
        if never
        else "",
    )
    keep = str(_one(connection, "SHOW max_slot_wal_keep_size"))
    endless = keep == "-1"
    yield Finding(
        "max_slot_wal_keep_size",
        "warn" if endless else "ok",
        "-1: a slot that nobody reads fills the server's disk" if endless else keep,
        "run as an administrator: ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); (less "
        "than the disk, more than an outage of yours makes)"
        if endless
        else "",
    )


def _transactions(connection: Connection) -> Iterator[Finding]:
    row = connection.execute(_OLDEST).fetchone()
    if row is None or row[2] < LONG_S:
        yield Finding("transactions", "ok", "none is open for long")
        return
    pid, name, age_s = row
    yield Finding(
        "transactions",
        "warn",
        f"one is open for {age_s / 60:.0f} minutes (pid {pid}, {name!r}): the server keeps its log since, and a new "
        "slot waits for its end",
        f"find out whose it is; SELECT pg_terminate_backend({pid}); ends it",
    )


def _left_behind(connection: Connection, slot: str) -> Iterator[Finding]:
    if _one(connection, "SELECT pg_is_in_recovery()"):
        return
    found = connection.execute(_LEFT_BEHIND, (slot,)).fetchall()
    if not found:
        yield Finding("other slots", "ok", "no slot of Headwater's lies unread in this database")
    for name, kept in found:
        told = f"slot {name!r} is read by nobody and makes the server keep {kept or 0:,} bytes of its log"
        mend = f"if no project needs it: SELECT pg_drop_replication_slot('{name}');"
        yield Finding("other slots", "warn", told, mend)


def _standbys(connection: Connection, settings: PostgresSettings) -> Iterator[Finding]:
    standbys = int(_one(connection, _STANDBYS))
    recent = connection.info.server_version >= 170000
    if not standbys:
        return
    if not recent:
        told = (
            f"{standbys} standby: after a failover to it the slot is gone, and a snapshot or an accepted gap is needed"
        )
        yield Finding("failover", "warn", told, "PostgreSQL 17 and newer can copy slots to standbys (failover: true)")
    elif not settings.failover:
        told = f"{standbys} standby, and the slot is not copied to it: a failover loses the position"
        mend = (
            "set failover: true at this source, and at the standby sync_replication_slots = on, hot_standby_feedback "
        )
        yield Finding("failover", "warn", told, mend + "= on, primary_slot_name, and dbname in primary_conninfo")
    elif not _one(connection, "SHOW synchronized_standby_slots"):
        told = "changes may reach us before the standby has them: a failover then finds us ahead, and the source stops"
        mend = "ALTER SYSTEM SET synchronized_standby_slots = 'SLOT_OF_THE_STANDBY'; SELECT pg_reload_conf();"
        yield Finding("failover", "warn", told, mend)
    for (name,) in connection.execute(_WAITED_FOR).fetchall() if recent else ():
        told = f"synchronized_standby_slots names {name!r}, of which no standby reads: changes wait for it"
        yield Finding(
            "failover", "fail", told, "start that standby, or take its slot out of synchronized_standby_slots"
        )


def _one(connection: Connection, query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else ""
