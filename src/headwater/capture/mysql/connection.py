"""Connections to MySQL and MariaDB, and what their errors mean for us. Nothing here ever shows the URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import pymysql

from headwater.capture.mysql.settings import MysqlSettings
from headwater.errors import HeadwaterError, SourceStopped, SourceUnavailable
from headwater.mysql_url import parse_url

Connection: TypeAlias = "pymysql.Connection[Any]"
Row = tuple[Any, ...]

_SESSION = (
    "SET SESSION time_zone = '+00:00', SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', "
    "SESSION net_write_timeout = 3600, SESSION net_read_timeout = 3600, SESSION wait_timeout = 86400, "
    "SESSION lock_wait_timeout = 30, SESSION group_concat_max_len = 1048576"
)
"""How values are written as text, the same whatever the server's defaults are; and a reader that is busy elsewhere
for a while is not cut off."""

_UNLIMITED = ("SET SESSION max_statement_time = 0", "SET SESSION max_execution_time = 0")
"""No limit on a statement's time: MariaDB's variable and MySQL's."""

_REFUSALS = {
    1044: "run as an administrator: GRANT SELECT ON {database}.* TO {user};",
    1045: "check user and password in the source's url",
    1049: "check the database in the source's url",
    1129: "run as an administrator: FLUSH HOSTS;",
    1130: "allow this host: CREATE USER {user} ...; or GRANT to the user at this host",
    1251: "the server's way to authenticate is not known; ALTER USER {user} IDENTIFIED VIA mysql_native_password ...",
    1698: "check user and password in the source's url",
    1820: "the password has expired: ALTER USER {user} IDENTIFIED BY '...';",
    1862: "the password has expired: ALTER USER {user} IDENTIFIED BY '...';",
    2026: "check ssl and its certificates in the source's url",
    3118: "the account is locked: ALTER USER {user} ACCOUNT UNLOCK;",
    4151: "the account is locked: ALTER USER {user} ACCOUNT UNLOCK;",
}
"""Error numbers after which trying to connect again cannot help, and the mend."""

_PASSING = (1040, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1205, 1213, 1290, 1412, 1836, 1927, 1969, 3024)
"""Server errors that may pass by themselves: too many connections, shutting down, killed, lock waits, time limits."""


def connect(settings: MysqlSettings, *, timeout_s: float | None = None) -> Connection:
    """Opens a connection in autocommit, with the session's settings made.

    Args:
        timeout_s: how long an answer may take; None for as long as it takes.

    Raises:
        SourceUnavailable: the server does not answer now.
        SourceStopped: it refuses us, or the URL is none.
    """
    address = parse_url(settings.url.get_secret_value())
    options: dict[str, Any] = {
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": settings.connect_timeout_s,
        "read_timeout": timeout_s,
        "program_name": "headwater",
    }
    try:
        connection: Connection = pymysql.connect(**address.arguments(), **options)
    except (pymysql.MySQLError, OSError) as error:
        raise _refusal(error, address.user, address.database, address.password) from None
    try:
        execute(connection, _SESSION)
        for statement in _UNLIMITED:
            _try(connection, statement)
    except pymysql.MySQLError as error:
        connection.close()
        failed(error, "setting up the connection")
    return connection


def execute(connection: Connection, query: str, values: Sequence[object] = ()) -> tuple[Row, ...]:
    """All rows of a query, for a few small ones; errors are PyMySQL's own."""
    with connection.cursor() as cursor:
        cursor.execute(query, tuple(values) or None)
        return tuple(cursor.fetchall())


def ask(connection: Connection, query: str, values: Sequence[object] = ()) -> dict[str, Any] | None:
    """The first row of a query by column names; None if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(query, tuple(values) or None)
        row = cursor.fetchone()
        return None if row is None else dict(zip((column[0] for column in cursor.description or ()), row, strict=True))


def variables(connection: Connection, *names: str) -> dict[str, str]:
    """Global variables of those names that the server knows."""
    marks = ", ".join(["%s"] * len(names))
    rows = execute(connection, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", names)
    return {str(name).lower(): str(value) for name, value in rows}


def hang_up(connection: Connection) -> None:
    """Closes a connection; once more does nothing."""
    if connection.open:
        connection.close()


def quoted(*names: str) -> str:
    """An SQL identifier in backticks."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def _try(connection: Connection, statement: str) -> None:
    """Sets what only one of the two servers has (1193: unknown variable)."""
    try:
        execute(connection, statement)
    except pymysql.MySQLError as error:
        if error.args[:1] != (1193,):
            raise


def _refusal(error: Exception, user: str, database: str, password: str) -> HeadwaterError:
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[1] if code and len(error.args) > 1 else error).split())
    if password:
        text = text.replace(password, "***")
    if "certificate" in text.lower() or "ssl" in text.lower():
        code = 2026
    if code in _REFUSALS:
        hint = _REFUSALS[code].format(user=quoted(user), database=quoted(database))
        return SourceStopped(f"the server refuses the connection: {text}", hint=hint)
    return SourceUnavailable(f"the server does not answer: {text}", hint="is the server running and reachable?")


def failed(error: Exception, doing: str) -> NoReturn:
    """Raises our error for one that the server or the connection gave while `doing` something.

    Raises:
        SourceUnavailable: the connection broke, or the server is busy or stopping.
        SourceStopped: the server will not do it.
    """
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = " ".join(str(error.args[1] if code and len(error.args) > 1 else error).split())
    raise server_error(code, text, doing) from error


def server_error(code: int, text: str, doing: str) -> HeadwaterError:
    """The error for one of the server's (1000 to 1999, 3000 and more) or the client's (2000 to 2999) numbers."""
    message = f"{doing}: {text}" + (f" ({code})" if code else "")
    if code and not 2000 <= code < 3000 and code not in _PASSING:
        return SourceStopped(message, hint="run `headwater check`: it looks at every precondition")
    return SourceUnavailable(message, hint="trying again; if it stays, look at the server's log")
