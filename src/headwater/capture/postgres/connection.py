"""Connections to PostgreSQL, and what its errors mean for us. Nothing here ever shows the URL: it holds a password."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow

from headwater.capture.postgres.settings import PostgresSettings
from headwater.errors import HeadwaterError, SourceStopped, SourceUnavailable

Connection = psycopg.Connection[TupleRow]

_SESSION = (
    "datestyle=iso",
    "intervalstyle=postgres",
    "timezone=UTC",
    "bytea_output=hex",
    "extra_float_digits=1",
    "lock_timeout=0",
    "idle_in_transaction_session_timeout=0",
    "row_security=off",
)
"""How values are written as text, the same for the snapshot and the stream, whatever the role's defaults are; and a
row policy that would hide rows from the snapshot is an error instead."""

_DEFAULTS = {
    "application_name": "headwater",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""Notices a dead peer within a minute; the URL may say otherwise."""

_REFUSALS = (
    ("authentication failed", "check user and password in the source's url"),
    ("no password supplied", "put the password into the source's url: postgresql://USER:${PASSWORD}@HOST/DATABASE"),
    ("no pg_hba.conf entry", "allow this host in the server's pg_hba.conf, for `replication` connections as well"),
    ("pg_hba.conf rejects", "allow this host in the server's pg_hba.conf, for `replication` connections as well"),
    ("permission denied to start wal sender", "run as an administrator: ALTER ROLE {user} REPLICATION;"),
    ("must be superuser or replication role", "run as an administrator: ALTER ROLE {user} REPLICATION;"),
    ("permission denied for database", "run as an administrator: GRANT CONNECT ON DATABASE {database} TO {user};"),
    ("is not permitted to log in", "run as an administrator: ALTER ROLE {user} LOGIN;"),
    ("no such database", "check the database in the source's url"),
    ("does not exist", "check user and database in the source's url"),
    (
        "unsupported startup parameter",
        "the url leads to a connection pooler: let it lead to the server itself, its own host and port (5432 mostly, "
        "not 6432 or 6543)",
    ),
    ("certificate", "check sslmode and sslrootcert in the source's url"),
    ("does not support SSL", "check sslmode in the source's url"),
    ("invalid sslmode", "check sslmode in the source's url"),
)
"""What a server or libpq says when trying again cannot help, and the mend. A refused connection carries no SQLSTATE."""

_FINAL_STATES = ("28", "3D", "42", "55000", "0A", "22", "23")
"""SQLSTATEs (or their classes) after which trying again cannot help."""


def connect(settings: PostgresSettings, *, replication: bool = False, asking: bool = False) -> Connection:
    """Opens a connection in autocommit.

    Args:
        settings: how.
        replication: one that takes replication commands.
        asking: one for questions to the catalogs, each of which may take `query_timeout_s`.

    Raises:
        SourceUnavailable: the server does not answer now.
        SourceStopped: it refuses us, or the URL is none.
    """
    parameters = _parameters(settings, settings.query_timeout_s if asking else 0.0)
    extra = {"replication": "database"} if replication else {}
    try:
        return psycopg.connect(make_conninfo("", **parameters, **extra), autocommit=True)
    except psycopg.OperationalError as error:
        raise refusal(str(error), parameters) from None


@contextmanager
def cut_after(connection: Connection, seconds: float) -> Iterator[None]:
    """Breaks the connection if what is done inside takes longer: the server's own time limit does not help when its
    answer is lost on the way and the connection looks alive (a frozen proxy, a dead NAT entry)."""
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as held:
        timer = threading.Timer(seconds, _cut, (held,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _cut(held: socket.socket) -> None:
    with suppress(OSError):
        held.shutdown(socket.SHUT_RDWR)


def _parameters(settings: PostgresSettings, limit_s: float) -> dict[str, str]:
    try:
        given = conninfo_to_dict(settings.url.get_secret_value())
    except psycopg.ProgrammingError:
        raise SourceStopped(
            "the source's url is not a PostgreSQL connection URL",
            hint="write it as postgresql://USER:${PASSWORD}@HOST:5432/DATABASE",
        ) from None
    ours = {**_DEFAULTS, "connect_timeout": str(settings.connect_timeout_s)}
    merged = {**ours, **{name: str(value) for name, value in given.items() if value is not None}}
    options = [merged.get("options", ""), *(f"-c {setting}" for setting in _SESSION)]
    options.append(f"-c statement_timeout={int(limit_s * 1000)}")
    return {**merged, "options": " ".join(options).strip(), "client_encoding": "UTF8"}


def refusal(text: str, parameters: dict[str, str]) -> HeadwaterError:
    """The error for a connection that failed with `text`."""
    text = _without_secret(" ".join(text.split()), parameters)
    user, database = parameters.get("user", "?"), parameters.get("dbname", "?")
    for sign, hint in _REFUSALS:
        if sign in text:
            return SourceStopped(
                f"PostgreSQL refuses the connection: {text}", hint=hint.format(user=user, database=database)
            )
    return SourceUnavailable(f"PostgreSQL does not answer: {text}", hint="is the server running and reachable?")


def _without_secret(text: str, parameters: dict[str, str]) -> str:
    password = parameters.get("password")
    return text.replace(password, "***") if password else text


def failed(error: psycopg.Error, doing: str) -> NoReturn:
    """Raises our error for one that the server or the connection gave while `doing` something.

    Raises:
        SourceUnavailable: the connection broke, or the server is busy or stopping.
        SourceStopped: the server will not do it.
    """
    raise _error(error.sqlstate, " ".join(str(error).split()), doing) from error


def result_failed(result: pq.abc.PGresult, doing: str) -> NoReturn:
    """The same for a failed result of libpq.

    Raises:
        SourceUnavailable: see `failed`.
        SourceStopped: see `failed`.
    """
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    raise _error(state.decode() if state else None, message.decode(errors="replace").strip(), doing)


def _error(state: str | None, text: str, doing: str) -> HeadwaterError:
    message = f"{doing}: {text}"
    if state and state.startswith(_FINAL_STATES):
        return SourceStopped(message, hint="run `headwater check`: it looks at every precondition")
    return SourceUnavailable(message, hint="trying again; if it stays, look at the server's log")
