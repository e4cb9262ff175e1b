"""How long a change takes from its commit in PostgreSQL until readers see it: by union read, and in a committed table.

Three processes, as in earnest: PostgreSQL's writer, `headwater run`, and the readers, which know neither.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psycopg
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, UserError
from headwater.project import load
from headwater.project.definition import Project
from headwater.serve.query import ask, open_lake
from headwater.testing.postgres import PostgresServer

TRANSACTION_ROWS = 10
DRAIN_S = 60.0

_PROJECT = """
name: bench
sources:
  bench: {type: postgres, url: "${BENCH_URL}", tables: [public.events]}
"""
_TABLE = "CREATE TABLE events (id bigint PRIMARY KEY, n int, note text)"
_WRITE = """
WITH fresh AS (INSERT INTO events SELECT i, 0, md5(i::text) FROM generate_series(%(id)s + 1, %(id)s + 5) i RETURNING 1)
UPDATE events SET n = n + 1 WHERE id = ANY(%(old)s)
"""


@dataclass
class Seen:
    """When readers first saw how far: rows known to be there, and the time in microseconds, both ascending."""

    ids: list[int] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)

    def add(self, last: int, now_us: int) -> None:
        """Takes note; what was seen before counts once."""
        if not self.ids or last > self.ids[-1]:
            self.ids.append(last)
            self.times_us.append(now_us)

    def delays_ms(self, ids: NDArray[np.int64], times_us: NDArray[np.int64]) -> NDArray[np.float64]:
        """How long after `times_us` each of `ids` was seen."""
        first = np.searchsorted(np.array(self.ids), ids)
        return (np.array(self.times_us)[first] - times_us) / 1000.0


def freshness(*, seconds: float = 60.0, rate: int = 10_000) -> dict[str, float]:
    """Writes `rate` changes a second in transactions of 10 (5 inserts, 5 updates), and reads meanwhile.

    Returns:
        rate: changes written per second. union_p50_ms, union_p99_ms: from the commit until a query that joins the log
        had its answer. table_p50_ms, table_p99_ms: until a table snapshot held the change. queries: asked meanwhile.
        query_p50_ms: how long one took.

    Raises:
        HeadwaterError: the changes did not come through.
    """
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name, PostgresServer() as server:
        folder = Path(name)
        (folder / "headwater.yml").write_text(_PROJECT, encoding="utf-8")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(_TABLE)
            connection.execute("INSERT INTO events SELECT i, 0, md5(i::text) FROM generate_series(1, 1000) i")
        environment = {**os.environ, "BENCH_URL": server.url()}
        run = subprocess.Popen(
            [sys.executable, "-m", "headwater.cli.app", "run", str(folder)],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return _measure(load(folder, environment=environment), server.url(), clock, seconds, rate)
        finally:
            run.send_signal(signal.SIGINT)
            run.wait(DRAIN_S)


def _measure(project: Project, url: str, clock: Clock, seconds: float, rate: int) -> dict[str, float]:
    _await(clock, lambda: _last_by_union(project, 0) >= 1000)
    union, table, took_ms = Seen(), Seen(), list[float]()
    stop = threading.Event()
    watcher = threading.Thread(target=_watch_table, args=(project, clock, table, stop))
    watcher.start()
    queue: multiprocessing.Queue[tuple[list[int], list[int]]] = multiprocessing.get_context("spawn").Queue()
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(url, seconds, rate, queue))
    writer.start()
    try:
        written = _read_union(project, clock, union, queue, took_ms)
        _await(clock, lambda: bool(table.ids) and table.ids[-1] >= written[0][-1])
    finally:
        stop.set()
        watcher.join()
        writer.join()
    ids, times_us = (np.array(one, np.int64) for one in written)
    by_union, by_table = union.delays_ms(ids, times_us), table.delays_ms(ids, times_us)
    return {
        "rate": len(ids) * TRANSACTION_ROWS * 1e6 / float(times_us[-1] - times_us[0]),
        "union_p50_ms": float(np.percentile(by_union, 50)),
        "union_p99_ms": float(np.percentile(by_union, 99)),
        "table_p50_ms": float(np.percentile(by_table, 50)),
        "table_p99_ms": float(np.percentile(by_table, 99)),
        "queries": float(len(took_ms)),
        "query_p50_ms": float(np.percentile(took_ms, 50)),
    }


def _read_union(
    project: Project,
    clock: Clock,
    union: Seen,
    queue: multiprocessing.Queue[tuple[list[int], list[int]]],
    took_ms: list[float],
) -> tuple[list[int], list[int]]:
    """Asks without a pause until all that was written has been seen."""
    written: tuple[list[int], list[int]] | None = None
    end = None
    while written is None or union.ids[-1] < written[0][-1]:
        began = clock.monotonic_s()
        last = _last_by_union(project, union.ids[-1] if union.ids else 0)
        union.add(last, clock.now_us())
        took_ms.append((clock.monotonic_s() - began) * 1000.0)
        if written is None and not queue.empty():
            written, end = queue.get(), clock.monotonic_s() + DRAIN_S
        if end is not None and clock.monotonic_s() > end:
            raise HeadwaterError("what was written was not seen in time", hint="try a lower --rate")
    return written


def _last_by_union(project: Project, known: int) -> int:
    """The last row that a query sees; a table that is not there yet has none."""
    try:
        found = ask(project, f"SELECT max(id) AS last FROM events WHERE id > {known}")
    except UserError:
        return known
    return int(found.rows.column("last")[0].as_py() or known)


def _watch_table(project: Project, clock: Clock, seen: Seen, stop: threading.Event) -> None:
    """Looks for new table snapshots, and for the last row in each."""
    lake = open_lake(project)
    table = lake.open_table("events")
    while not clock.wait(stop, 0.01):
        known = seen.ids[-1] if seen.ids else 0
        last = pc.max(table.dataset().to_table(columns=["id"], filter=pc.field("id") > known).column("id")).as_py()
        seen.add(last or known, clock.now_us())
    lake.close()


def _write(url: str, seconds: float, rate: int, queue: multiprocessing.Queue[tuple[list[int], list[int]]]) -> None:
    """Commits transactions at an even pace, those that are late at once. Runs in a process of its own."""
    clock, never, random = SystemClock(), threading.Event(), np.random.default_rng(1)
    ids: list[int] = []
    times_us: list[int] = []
    last, began = 1000, clock.monotonic_s()
    with psycopg.connect(url, autocommit=True) as connection:
        while (now := clock.monotonic_s() - began) < seconds:
            if len(ids) * TRANSACTION_ROWS >= now * rate:
                clock.wait(never, (len(ids) + 1) * TRANSACTION_ROWS / rate - now)
                continue
            old = np.unique(random.integers(1, last, 5))
            connection.execute(_WRITE, {"id": last, "old": old.tolist()})
            last += 5
            ids.append(last)
            times_us.append(clock.now_us())
    queue.put((ids, times_us))


def _await(clock: Clock, condition: Callable[[], bool]) -> None:
    end, never = clock.monotonic_s() + DRAIN_S, threading.Event()
    while not condition():
        if clock.monotonic_s() > end:
            raise HeadwaterError("the changes do not come through", hint="headwater run says why")
        clock.wait(never, 0.05)
