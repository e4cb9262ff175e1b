"""How fast the whole way is on this machine, from a real PostgreSQL to committed tables: `headwater bench spine`."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

import psycopg

from headwater.clock import Clock, SystemClock
from headwater.project import load
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor
from headwater.testing.postgres import PostgresServer

TRANSACTION_ROWS = 1_000

_PROJECT = """
name: bench
sources:
  bench: {type: postgres, url: "${BENCH_URL}", tables: [public.accounts]}
run: {epoch_interval: 10 ms, checkpoint_interval: 1 h}
"""
_MODEL = "SELECT branch, count(*) AS accounts, sum(balance) AS balance FROM accounts GROUP BY branch"


def spine(*, rows: int = 500_000, updates: int = 200_000, clock: Clock | None = None) -> dict[str, float]:
    """Mirrors a table of `rows` rows of about 120 bytes with a grouped model over it, then `updates` updates of it.

    Start and stop of the process's parts are inside the clock, the writing of the rows into PostgreSQL is not.

    Returns:
        snapshot_rows_per_s: rows of the first snapshot, landed and in the model.
        updates_per_s: single-row updates in transactions of 1,000, landed and in the model.
    """
    clock = clock or SystemClock()
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name, PostgresServer() as server:
        folder = Path(name)
        (folder / "models").mkdir()
        (folder / "headwater.yml").write_text(_PROJECT, encoding="utf-8")
        (folder / "models" / "by_branch.sql").write_text(_MODEL, encoding="utf-8")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            _fill(connection, rows)
            snapshot_s = _run_s(folder, server.url(), clock)
            _update(connection, rows, updates)
            updates_s = _run_s(folder, server.url(), clock)
    return {"snapshot_rows_per_s": rows / snapshot_s, "updates_per_s": updates / updates_s}


def _fill(connection: psycopg.Connection, rows: int) -> None:
    connection.execute("CREATE TABLE accounts (id bigint PRIMARY KEY, branch int, balance numeric(14,2), filler text)")
    connection.execute(
        "INSERT INTO accounts SELECT n, n %% 100, n %% 1000, rpad(md5(n::text), 84, 'x') FROM generate_series(1, %s) n",
        (rows,),
    )


def _update(connection: psycopg.Connection, rows: int, updates: int) -> None:
    for first in range(0, updates, TRANSACTION_ROWS):
        connection.execute(
            "UPDATE accounts SET balance = balance + 1 WHERE id > %s AND id <= %s",
            (first % rows, first % rows + TRANSACTION_ROWS),
        )


def _run_s(folder: Path, url: str, clock: Clock) -> float:
    project = load(folder, environment={**os.environ, "BENCH_URL": url})
    began = clock.monotonic_s()
    error = Supervisor(project, Journal(io.StringIO()), clock, once=True).run()
    if error is not None:
        raise error
    return clock.monotonic_s() - began
