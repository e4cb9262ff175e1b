"""A prepared backlog of changes in a MariaDB of its own. Rows come from its sequence engine, `seq_1_to_N`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from headwater.bench.capture.backlog import (
    MIXED_ROWS,
    TABLE,
    TRANSACTION_ROWS,
    WIDE_COLUMNS,
    Backlog,
    Ready,
    Server,
)
from headwater.bench.capture.server_cpu import ServerCpu
from headwater.testing.mariadb import MariaDbServer

DATABASE = "bench"

_COLUMNS = (
    "id bigint PRIMARY KEY, customer int, amount decimal(12, 2), ratio double, active tinyint(1), at datetime(6), "
    "name varchar(100), note varchar(100)"
)
_ROW = (
    "n, n % 1000, (n % 100000) / 100, n / 7, n % 3 = 0, timestamp'2026-01-01 00:00:00' + interval n second, "
    "concat('name ', n), md5(n)"
)
_SETTINGS = {"sync-binlog": "0", "innodb-flush-log-at-trx-commit": "0"}

Execute = Callable[[str], None]
Write = Callable[[Execute, int], None]


@contextmanager
def _backlog(shape: str, rows: int, slots: tuple[str, ...], ready: Ready) -> Iterator[Backlog]:
    """See `Server.backlog`; a reader of a binary log needs no slot."""
    before, write = SHAPES[shape]
    with MariaDbServer(settings=_SETTINGS) as server:
        with server.connect() as connection, connection.cursor() as cursor:
            execute = _executing(cursor)
            execute(f"CREATE DATABASE {DATABASE}")
            execute(f"USE {DATABASE}")
            wide = "".join(f", c{n} {'varchar(40)' if n % 2 else 'int'}" for n in range(WIDE_COLUMNS))
            execute(f"CREATE TABLE {TABLE} ({_COLUMNS}{wide if shape == 'wide' else ''}) ENGINE = InnoDB")
            before(execute, rows)
            made = Backlog("mysql", server.url(DATABASE), f"{DATABASE}.{TABLE}", slots, rows, server.folder)
            ready(made)
            write(execute, rows)
        yield replace(made)


def _executing(cursor: Any) -> Execute:
    def execute(statement: str) -> None:
        cursor.execute(statement)

    return execute


def _numbers(first: int, last: int) -> str:
    """A table of the numbers n from `first` to `last`."""
    return f"(SELECT CAST(seq + {first - 1} AS SIGNED) AS n FROM seq_1_to_{last - first + 1}) AS numbers"


def _steps(rows: int) -> Iterator[tuple[int, int]]:
    return ((first, min(first + TRANSACTION_ROWS - 1, rows)) for first in range(1, rows + 1, TRANSACTION_ROWS))


def _nothing(execute: Execute, rows: int) -> None:
    """An empty table."""


def _insert(execute: Execute, rows: int) -> None:
    for first, last in _steps(rows):
        execute(f"INSERT INTO {TABLE} SELECT {_ROW} FROM {_numbers(first, last)}")


def _wide(execute: Execute, rows: int) -> None:
    more = "".join(f", md5(n + {c})" if c % 2 else f", n + {c}" for c in range(WIDE_COLUMNS))
    for first, last in _steps(rows):
        execute(f"INSERT INTO {TABLE} SELECT {_ROW}{more} FROM {_numbers(first, last)}")


def _update(execute: Execute, rows: int) -> None:
    for first, last in _steps(rows):
        execute(f"UPDATE {TABLE} SET amount = amount + 1, at = at + interval 1 day WHERE id BETWEEN {first} AND {last}")


def _mixed(execute: Execute, rows: int) -> None:
    half, most = MIXED_ROWS // 2, MIXED_ROWS * 4 // 10
    for number in range(-(-rows // MIXED_ROWS)):
        first, new = number * half + 1, rows + number * half + 1
        execute("BEGIN")
        execute(f"INSERT INTO {TABLE} SELECT {_ROW} FROM {_numbers(new, new + half - 1)}")
        execute(f"UPDATE {TABLE} SET amount = amount + 1 WHERE id BETWEEN {first} AND {first + most - 1}")
        execute(f"DELETE FROM {TABLE} WHERE id BETWEEN {first + most} AND {first + half - 1}")
        execute("COMMIT")


def _tiny(execute: Execute, rows: int) -> None:
    execute(
        f"BEGIN NOT ATOMIC FOR i IN 1..{rows} DO INSERT INTO {TABLE} SELECT {_ROW} FROM (SELECT i AS n) AS one; "
        "END FOR; END"
    )


SHAPES: dict[str, tuple[Write, Write]] = {
    "insert": (_nothing, _insert),
    "update": (_insert, _update),
    "mixed": (_insert, _mixed),
    "wide": (_nothing, _wide),
    "tiny-tx": (_nothing, _tiny),
}
"""By name: what is there before, and what writes the changes."""


@contextmanager
def _cpu(waiting: Backlog) -> Iterator[ServerCpu]:
    """What the server works; nobody but the reader is there."""
    process = int((waiting.programs / "pid").read_text(encoding="ascii"))
    with ServerCpu(lambda: [process]) as watched:
        yield watched


SERVER = Server(_backlog, _cpu)
