"""How long a change takes from its commit in PostgreSQL until it is durable in the log, at a steady rate."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray

from headwater.change import Group
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError
from headwater.log.partition import Partition
from headwater.project import load
from headwater.project.connectors import make_source
from headwater.runtime.capture_job import CaptureJob, Partitions
from headwater.runtime.journal import Journal
from headwater.testing.postgres import PostgresServer

TRANSACTION_ROWS = 10
SEGMENT_BYTES = 64 << 20
DRAIN_S = 30.0

_PROJECT = """
name: bench
sources:
  bench: {{type: postgres, url: "{url}", tables: [public.events]}}
"""
_INSERT = "INSERT INTO events (note) SELECT md5(n::text) FROM generate_series(1, %s::int) n"


class _Timed(Partition):
    """A partition that notes how old the changes of each append are once it is durable."""

    delays_ms: list[NDArray[np.float64]]

    def append(self, groups: Sequence[Group]) -> int:
        """See `Partition.append`."""
        head = super().append(groups)
        now_us = SystemClock().now_us()
        for group in groups:
            for batch in group.batches:
                times = batch.rows.column("_time").cast("int64").drop_null().to_numpy()
                self.delays_ms.append((now_us - times) / 1000.0)
        return head


class _TimedPartitions(Partitions):
    """Opens partitions that take the time."""

    def __init__(self, folder: Path, journal: Journal, clock: Clock) -> None:
        super().__init__(folder, journal, clock, SEGMENT_BYTES)
        self.delays_ms: list[NDArray[np.float64]] = []

    def open(self, source: str) -> Partition:
        """See `Partitions.open`."""
        partition = super().open(source)
        partition.__class__ = _Timed
        assert isinstance(partition, _Timed)
        partition.delays_ms = self.delays_ms
        return partition


def capture_latency(*, seconds: float = 60.0, rate: int = 10_000) -> dict[str, float]:
    """Writes `rate` rows a second in transactions of 10 and captures them meanwhile.

    Returns:
        changes: how many were captured. rate: written per second. p50_ms, p99_ms, max_ms: from the source's commit time
        to the end of the fsync.
    Raises:
        HeadwaterError: the capture stopped.
    """
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name, PostgresServer() as server:
        folder = Path(name)
        (folder / "headwater.yml").write_text(_PROJECT.format(url=server.url()), encoding="utf-8")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text)")
            project = load(folder, environment={})
            partitions = _TimedPartitions(folder / "log", Journal(io.StringIO()), clock)
            partitions.open("bench")
            source = make_source(project.sources[0], project.name, "bench", clock, scratch=folder)
            job = CaptureJob(source, partitions, Journal(io.StringIO()), clock)
            job.start()
            try:
                _await(job, clock, lambda: job.state == "running")
                written, took_s = _write(connection, clock, seconds, rate)
                _await(job, clock, lambda: sum(map(len, partitions.delays_ms)) >= written)
            finally:
                job.stop()
                job.join()
                partitions.close()
    delays = np.concatenate(partitions.delays_ms)
    p50, p99 = np.percentile(delays, [50, 99])
    return {
        "changes": float(len(delays)),
        "rate": written / took_s,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "max_ms": float(delays.max()),
    }


def _write(connection: psycopg.Connection, clock: Clock, seconds: float, rate: int) -> tuple[int, float]:
    """Commits transactions at an even pace, those that are late at once; how many rows, and in how long."""
    began, written, never = clock.monotonic_s(), 0, threading.Event()
    while (now := clock.monotonic_s() - began) < seconds:
        if written >= now * rate:
            clock.wait(never, (written + TRANSACTION_ROWS) / rate - now)
            continue
        connection.execute(_INSERT, (TRANSACTION_ROWS,))
        written += TRANSACTION_ROWS
    return written, clock.monotonic_s() - began


def _await(job: CaptureJob, clock: Clock, condition: Callable[[], bool]) -> None:
    end, never = clock.monotonic_s() + DRAIN_S, threading.Event()
    while not condition():
        if job.error is not None and job.state == "stopped":
            raise job.error
        if clock.monotonic_s() > end:
            raise HeadwaterError("the capture did not come after the writer", hint="try a lower --rate")
        clock.wait(never, 0.02)
