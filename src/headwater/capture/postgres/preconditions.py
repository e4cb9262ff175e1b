"""What a server and a role must be like before anything can be captured. Every refusal names the SQL that mends it."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from headwater.capture.postgres.catalog import TableRow
from headwater.capture.postgres.connection import Connection
from headwater.errors import SourceStopped

OLDEST_VERSION = 140000
FAILOVER_VERSION = 170000

_RIGHTS = """
SELECT current_user::text, rolsuper OR rolreplication OR EXISTS (
  SELECT FROM pg_roles g WHERE g.rolname = 'rds_replication' AND pg_has_role(current_user, g.oid, 'MEMBER'))
FROM pg_roles WHERE rolname = current_user"""


def quoted(*names: str) -> str:
    """An SQL identifier."""
    return sql.Identifier(*names).as_string(None)


def require_server(connection: Connection, *, failover: bool = False) -> None:
    """Looks at version, role in replication, wal_level and the REPLICATION right; with `failover` also whether the
    server can copy slots to standbys.

    Raises:
        SourceStopped: one of them does not do.
    """
    require_direct(connection)
    version = connection.info.server_version
    if version < OLDEST_VERSION:
        raise SourceStopped(f"PostgreSQL {version // 10000} is too old", hint="upgrade to PostgreSQL 14 or newer")
    if failover and version < FAILOVER_VERSION:
        raise SourceStopped(
            f"failover: true needs PostgreSQL 17 or newer, and this is {version // 10000}",
            hint="take failover: out of the source; a failover then needs a decision: docs/postgresql.md",
        )
    if _value(connection, "SELECT pg_is_in_recovery()"):
        raise SourceStopped(
            "the server is a standby, on which no publication can be made",
            hint="let the source's url point to the primary (target_session_attrs=primary picks it from several hosts)",
        )
    level = _value(connection, "SHOW wal_level")
    if level != "logical":
        raise SourceStopped(
            f"wal_level is {level!r}; changes can only be read with 'logical'",
            hint="run as an administrator: ALTER SYSTEM SET wal_level = 'logical'; and restart the server "
            "(on a managed service: set rds.logical_replication = 1 or its like)",
        )
    _require_right(connection)


def require_direct(connection: Connection) -> None:
    """Refuses a connection that does not end at the server process it began with: a pooler is in between, which may
    give every statement another one, with other settings.

    Raises:
        SourceStopped: there is one.
    """
    if _value(connection, "SELECT pg_backend_pid()") != connection.info.backend_pid:
        raise SourceStopped(
            "the url leads to a connection pooler (PgBouncer, RDS Proxy, Supavisor or the like), through which changes "
            "cannot be read",
            hint="let the url lead to the server itself: its own host and port (5432 mostly, not 6432 or 6543)",
        )


def _require_right(connection: Connection) -> None:
    row = connection.execute(_RIGHTS).fetchone()
    if row is None or not row[1]:
        user = str(row[0]) if row else "the role"
        raise SourceStopped(
            f"role {user!r} may not replicate",
            hint=f"run as an administrator: ALTER ROLE {quoted(user)} REPLICATION;",
        )


def require_tables(connection: Connection, rows: Sequence[TableRow]) -> None:
    """Looks whether the tables can be read and are in the write-ahead log.

    Raises:
        SourceStopped: one cannot, or is not.
    """
    unlogged = [row for row in rows if row.unlogged]
    if unlogged:
        raise SourceStopped(
            f"table {unlogged[0].qualified} is unlogged: its changes are not in the write-ahead log",
            hint=f"ALTER TABLE {quoted(unlogged[0].schema, unlogged[0].name)} SET LOGGED; or leave it out: "
            f"tables: [..., '!{unlogged[0].qualified}']",
        )
    closed = [row for row in rows if not row.readable]
    if closed:
        user = str(_value(connection, "SELECT current_user::text"))
        names = ", ".join(quoted(row.schema, row.name) for row in closed)
        schemas = ", ".join(quoted(name) for name in sorted({row.schema for row in closed}))
        raise SourceStopped(
            f"role {user!r} may not read {closed[0].qualified}"
            + (f" and {len(closed) - 1} more" if len(closed) > 1 else ""),
            hint=f"run as their owner: GRANT USAGE ON SCHEMA {schemas} TO {quoted(user)}; "
            f"GRANT SELECT ON {names} TO {quoted(user)};",
        )


def require_free_slot(connection: Connection) -> None:
    """Looks whether one more replication slot can be made.

    Raises:
        SourceStopped: all are taken.
    """
    limit = int(str(_value(connection, "SHOW max_replication_slots")))
    used = int(str(_value(connection, "SELECT count(*) FROM pg_replication_slots")))
    if used >= limit:
        raise SourceStopped(
            f"all {limit} replication slots are taken",
            hint="drop one that nobody uses (pg_replication_slots lists them), or run as an administrator: "
            f"ALTER SYSTEM SET max_replication_slots = {limit + 10}; and restart the server",
        )


def _value(connection: Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    return row[0] if row else None
