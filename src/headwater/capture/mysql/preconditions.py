"""What a server and a user must be like before anything can be captured. Every refusal names the SQL that mends it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pymysql

from headwater.capture.mysql.catalog import TableEntry
from headwater.capture.mysql.connection import Connection, ask, execute, quoted
from headwater.capture.mysql.lost import clash
from headwater.capture.mysql.server import Server, no_binary_log
from headwater.capture.mysql.settings import MysqlSettings
from headwater.errors import SourceStopped

OLDEST = {"mysql": (5, 7), "mariadb": (10, 5)}
RETENTION_WANTED_S = 86_400
_REPLICATION = ("REPLICATION SLAVE", "REPLICATION REPLICA", "ALL PRIVILEGES")
_CLIENT = ("REPLICATION CLIENT", "BINLOG MONITOR", "SUPER", "ALL PRIVILEGES")
_NO_SUCH_RIGHT = (1142, 1143, 1227, 1044)


def require_server(connection: Connection, server: Server, settings: MysqlSettings, server_id: int) -> None:
    """Looks at version, binary log, its format, and the rights.

    Raises:
        SourceStopped: one of them does not do.
    """
    if server.version < OLDEST[server.flavor]:
        name, oldest = server.flavor, ".".join(map(str, OLDEST[server.flavor]))
        raise SourceStopped(f"the server is too old: {server.setting('version')}", hint=f"{name} {oldest} or newer")
    if server.setting("log_bin") != "ON":
        raise no_binary_log(server)
    require_format(server)
    if settings.position == "gtid" and not server.has_gtid:
        raise SourceStopped(
            f"position: gtid is wanted, and gtid_mode is {server.setting('gtid_mode', 'OFF')}",
            hint="run as an administrator, step by step: SET GLOBAL gtid_mode = OFF_PERMISSIVE; ... = ON_PERMISSIVE; "
            "... = ON; or set position: file",
        )
    if str(server_id) == server.settings.get("server_id"):
        raise clash(server_id, "it is the server's own")
    _require_rights(connection)
    _require_updates_logged(connection, server)


def require_format(server: Server) -> None:
    """Looks at what the binary log holds.

    Raises:
        SourceStopped: it does not hold whole rows.
    """
    form = server.setting("binlog_format", "ROW")
    if form != "ROW":
        raise SourceStopped(
            f"binlog_format is {form}: the binary log holds statements, from which rows cannot be told",
            hint="run as an administrator: SET GLOBAL binlog_format = 'ROW'; (and the same in the server's "
            "configuration), then let sessions connect anew",
        )
    if "PARTIAL_JSON" in server.setting("binlog_row_value_options"):
        raise SourceStopped(
            "binlog_row_value_options is PARTIAL_JSON: updates of JSON columns hold only what changed inside",
            hint="run as an administrator: SET GLOBAL binlog_row_value_options = ''; and let sessions connect anew",
        )


def _require_rights(connection: Connection) -> None:
    user = str(execute(connection, "SELECT CURRENT_USER()")[0][0])
    grants = " ".join(str(row[0]).upper() for row in execute(connection, "SHOW GRANTS FOR CURRENT_USER()"))
    for wanted, right in ((_REPLICATION, "REPLICATION SLAVE"), (_CLIENT, "REPLICATION CLIENT")):
        if not any(one in grants for one in wanted):
            raise SourceStopped(
                f"user {user} lacks the right {right}",
                hint=f"run as an administrator: GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {account(user)};",
            )


def account(user: str) -> str:
    """user@host as SQL writes it."""
    name, _, host = user.rpartition("@")
    return f"'{name}'@'{host}'"


def _require_updates_logged(connection: Connection, server: Server) -> None:
    """A replica writes what it gets from its primary into its own binary log only if told so."""
    logged = server.setting("log_replica_updates") or server.setting("log_slave_updates", "ON")
    if logged == "ON":
        return
    try:
        replica = ask(connection, "SHOW SLAVE STATUS" if server.flavor == "mariadb" else "SHOW REPLICA STATUS")
    except pymysql.MySQLError:
        return
    if replica is not None:
        raise SourceStopped(
            "the server is a replica that does not write its primary's changes into its own binary log "
            "(log_slave_updates is OFF)",
            hint="put log_slave_updates = ON into its configuration and restart it, or let the url lead to the primary",
        )


def require_filters(connection: Connection, server: Server, databases: Sequence[str]) -> None:
    """Looks whether the server leaves captured databases out of its binary log.

    Raises:
        SourceStopped: it does.
    """
    words = "BINARY LOG" if server.flavor == "mysql" and server.version >= (8, 2) else "MASTER"
    row = ask(connection, f"SHOW {words} STATUS") or {}
    only = set(filter(None, str(row.get("Binlog_Do_DB") or "").split(",")))
    without = set(filter(None, str(row.get("Binlog_Ignore_DB") or "").split(",")))
    for database in databases:
        if database in without or (only and database not in only):
            raise SourceStopped(
                f"the server leaves database {database!r} out of its binary log (binlog-do-db, binlog-ignore-db)",
                hint="take the filter out of the server's configuration and restart it",
            )


def require_tables(connection: Connection, entries: Sequence[TableEntry]) -> None:
    """Looks whether the tables can be read.

    Raises:
        SourceStopped: one cannot.
    """
    for entry in entries:
        try:
            execute(connection, f"SELECT 1 FROM {quoted(*entry.full_name)} LIMIT 0")  # noqa: S608 - quoted
        except pymysql.MySQLError as error:
            if error.args[:1] and error.args[0] in _NO_SUCH_RIGHT:
                user = str(execute(connection, "SELECT CURRENT_USER()")[0][0])
                raise SourceStopped(
                    f"user {user} may not read {entry.qualified}",
                    hint=f"run as an administrator: GRANT SELECT ON {quoted(entry.database)}.* TO {account(user)};",
                ) from None
            raise


def notes(server: Server, entries: Sequence[TableEntry]) -> list[str]:
    """What is worth knowing and stops nothing."""
    found = []
    image = server.setting("binlog_row_image", "FULL")
    if image not in ("FULL", "FULL_NODUP"):
        found.append(
            f"binlog_row_image is {image}: what a change leaves out is filled in from the row as it was last seen; "
            "with SET GLOBAL binlog_row_image = 'FULL' every change stands for itself"
        )
    if server.setting("binlog_row_metadata") in ("NO_LOG", "MINIMAL"):
        found.append(
            "binlog_row_metadata is not FULL: names of columns are followed through the statements of the binary log; "
            "SET GLOBAL binlog_row_metadata = 'FULL' lets every change be checked against them"
        )
    kept = retention_s(server)
    if kept is not None and 0 < kept < RETENTION_WANTED_S:
        found.append(
            f"binary logs are purged after {kept} s: a longer pause loses changes; "
            f"SET GLOBAL binlog_expire_logs_seconds = {7 * RETENTION_WANTED_S}"
        )
    if server.flavor == "mariadb" and server.setting("gtid_strict_mode", "OFF") != "ON":
        found.append(
            "gtid_strict_mode is OFF: a replica may write GTIDs out of order; SET GLOBAL gtid_strict_mode = ON"
        )
    slow = [entry.qualified for entry in entries if not entry.transactional]
    if slow:
        found.append(f"not transactional, so a snapshot reads them as of a later moment: {', '.join(slow[:10])}")
    return found


def retention_s(server: Server) -> int | None:
    """After how many seconds the server purges a binary log; None if it does not say."""
    seconds = server.settings.get("binlog_expire_logs_seconds", "")
    if re.fullmatch(r"\d+", seconds) and int(seconds):
        return int(seconds)
    days = server.settings.get("expire_logs_days", "")
    return int(float(days) * 86_400) if re.fullmatch(r"[\d.]+", days) and float(days) else None
