"""A prepared backlog of changes in a PostgreSQL of its own, which several readers then drain, each from a slot that was
made before the first change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg import sql

from headwater.bench.capture import floor
from headwater.bench.capture.backlog import MIXED_ROWS, TABLE, TRANSACTION_ROWS, WIDE_COLUMNS, Backlog, Ready, Server
from headwater.bench.capture.server_cpu import ServerCpu
from headwater.bench.child import Figures
from headwater.testing.postgres import PostgresServer

PUBLICATION = "bench"
_WALSENDERS = b"SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'"

_COLUMNS = (
    "id bigint PRIMARY KEY, customer int, amount numeric(12, 2), ratio double precision, active boolean, "
    "at timestamptz, name text, note text"
)
_ROW = (
    "n, n %% 1000, (n %% 100000) / 100.0, n / 7.0, n %% 3 = 0, "
    "timestamptz '2026-01-01' + n * interval '1 second', 'name ' || n, md5(n::text)"
)


Connection = psycopg.Connection[tuple[object, ...]]
Write = Callable[[Connection, int], None]


@contextmanager
def _backlog(shape: str, rows: int, slots: tuple[str, ...], ready: Ready) -> Iterator[Backlog]:
    """See `Server.backlog`."""
    before, write = SHAPES[shape]
    with PostgresServer() as server, psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        _create(connection, shape)
        before(connection, rows)
        connection.execute(sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES").format(sql.Identifier(PUBLICATION)))
        for slot in slots:
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        made = Backlog("postgres", server.url(), f"public.{TABLE}", slots, rows, server.bin)
        ready(made)
        write(connection, rows)
        end = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        yield replace(made, end=str(end[0]) if end else "")


@contextmanager
def filled(rows: int) -> Iterator[str]:
    """The URL of a server with a published table of `rows` rows of 8 mixed columns, until the context ends."""
    with PostgresServer() as server, psycopg.connect(server.url(), autocommit=True) as connection:
        _create(connection, "update")
        _fill(connection, rows)
        connection.execute(b"ANALYZE")
        connection.execute(sql.SQL("CREATE PUBLICATION {} FOR ALL TABLES").format(sql.Identifier(PUBLICATION)))
        yield server.url()


def _create(connection: Connection, shape: str) -> None:
    wide = "".join(f", c{n} {'text' if n % 2 else 'int'}" for n in range(WIDE_COLUMNS)) if shape == "wide" else ""
    connection.execute(f"CREATE TABLE {TABLE} ({_COLUMNS}{wide})".encode())


def _nothing(connection: Connection, rows: int) -> None:
    """An empty table."""


def _fill(connection: Connection, rows: int) -> None:
    """A table of rows to be changed."""
    connection.execute(f"INSERT INTO {TABLE} SELECT {_ROW} FROM generate_series(1, %s) n".encode(), (rows,))


def _insert(connection: Connection, rows: int) -> None:
    query = f"INSERT INTO {TABLE} SELECT {_ROW} FROM generate_series(%s::bigint, %s) n".encode()
    for first in range(1, rows + 1, TRANSACTION_ROWS):
        connection.execute(query, (first, min(first + TRANSACTION_ROWS - 1, rows)))


def _wide(connection: Connection, rows: int) -> None:
    more = "".join(f", md5((n + {c})::text)" if c % 2 else f", n + {c}" for c in range(WIDE_COLUMNS))
    query = f"INSERT INTO {TABLE} SELECT {_ROW}{more} FROM generate_series(%s::bigint, %s) n".encode()
    for first in range(1, rows + 1, TRANSACTION_ROWS):
        connection.execute(query, (first, min(first + TRANSACTION_ROWS - 1, rows)))


def _update(connection: Connection, rows: int) -> None:
    query = f"UPDATE {TABLE} SET amount = amount + 1, at = at + interval '1 day' WHERE id BETWEEN %s AND %s".encode()
    for first in range(1, rows + 1, TRANSACTION_ROWS):
        connection.execute(query, (first, min(first + TRANSACTION_ROWS - 1, rows)))


def _mixed(connection: Connection, rows: int) -> None:
    """Half inserts, four in ten updates, one in ten deletes, in transactions of a hundred changes."""
    half, most = MIXED_ROWS // 2, MIXED_ROWS * 4 // 10
    for number in range(-(-rows // MIXED_ROWS)):
        first, new = number * half + 1, rows + number * half + 1
        with connection.transaction():
            connection.execute(
                f"INSERT INTO {TABLE} SELECT {_ROW} FROM generate_series(%s::bigint, %s) n".encode(),
                (new, new + half - 1),
            )
            update = f"UPDATE {TABLE} SET amount = amount + 1 WHERE id BETWEEN %s AND %s"
            connection.execute(update.encode(), (first, first + most - 1))
            delete = f"DELETE FROM {TABLE} WHERE id BETWEEN %s AND %s"
            connection.execute(delete.encode(), (first + most, first + half - 1))


def _tiny(connection: Connection, rows: int) -> None:
    """A transaction for each row."""
    row = _ROW.replace("%%", "%")
    connection.execute(
        f"DO $$ BEGIN FOR i IN 1..{rows} LOOP INSERT INTO {TABLE} SELECT {row} FROM (SELECT i::bigint AS n) s; "
        "COMMIT; END LOOP; END $$".encode()
    )


SHAPES: dict[str, tuple[Write, Write]] = {
    "insert": (_nothing, _insert),
    "update": (_fill, _update),
    "mixed": (_fill, _mixed),
    "wide": (_nothing, _wide),
    "tiny-tx": (_nothing, _tiny),
}
"""By name: what is there before, and what writes the changes."""


@contextmanager
def _cpu(waiting: Backlog) -> Iterator[ServerCpu]:
    """What the WAL senders work; their start included."""
    with psycopg.connect(waiting.url, autocommit=True) as connection:

        def senders() -> list[int]:
            return [pid for (pid,) in connection.execute(_WALSENDERS).fetchall()]

        with ServerCpu(senders) as watched:
            yield watched


def _receive(waiting: Backlog, slot: str, file: Path, timeout_s: float) -> Figures:
    return floor.receive(waiting, PUBLICATION, slot, file, timeout_s)


SERVER = Server(_backlog, _cpu, floor.NAME, _receive)
