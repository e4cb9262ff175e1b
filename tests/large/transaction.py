"""Runs `headwater run` beside a PostgreSQL while one transaction adds so many bytes, and says what memory that took.

The process runs under a memory limit of the kernel's (a control group), where this machine lets us make one; its peak
is measured in any case. PostgreSQL runs outside of it. While the transaction goes through, a reader looks at the
table again and again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from headwater.clock import SystemClock
from headwater.lake.iceberg import IcebergLake
from headwater.testing.postgres import PostgresServer

CGROUP = Path("/sys/fs/cgroup/memory")
BEFORE = 10
PROJECT = """
name: big
sources:
  shop: {{type: postgres, url: "{url}", tables: [public.wide]}}
run: {{memory: {memory_mb} MiB, checkpoint_interval: 2 s}}
"""
MODEL = "SELECT id % 10 AS bucket, count(*) AS n, max(note) AS last FROM wide GROUP BY 1"


@dataclass(frozen=True)
class Case:
    """What is done.

    Attributes:
        megabytes: of rows in the one transaction.
        row_bytes: of each, about.
        memory_mb: `run.memory`.
        limit_mb: what the process may take in all.
        deadline_s: until all of it is in the lake.
        model: whether a model reads the table.
    """

    megabytes: int
    row_bytes: int = 1000
    memory_mb: int = 400
    limit_mb: int = 1000
    deadline_s: float = 900.0
    model: bool = True

    @property
    def rows(self) -> int:
        """How many rows the transaction adds."""
        return self.megabytes * 1_000_000 // self.row_bytes


@dataclass
class Figures:
    """What was measured.

    Attributes:
        rows: rows of the transaction.
        seconds: from its commit until all of it was in the lake.
        commit_s: how long the transaction itself took.
        peak_own_mb: most memory of the process's own at a time (RssAnon).
        peak_rss_mb: with mapped files of which the kernel had pages in memory (VmHWM), which it may take back.
        limited: the kernel held the process to the limit.
        seen: numbers of rows that readers of the table saw, in order.
        right: every row is in the table, and the model says so.
    """

    rows: int
    seconds: float = 0.0
    commit_s: float = 0.0
    peak_own_mb: float = 0.0
    peak_rss_mb: float = 0.0
    limited: bool = False
    seen: tuple[int, ...] = ()
    right: bool = False


def run(case: Case, folder: Path) -> Figures:
    """Runs a case in an empty folder."""
    figures = Figures(case.rows)
    with PostgresServer() as server, psycopg.connect(server.url(), autocommit=True) as database:
        database.execute("CREATE TABLE wide (id bigint PRIMARY KEY, at timestamptz NOT NULL, note text NOT NULL)")
        _add(database, 1, BEFORE, case.row_bytes)
        (folder / "models").mkdir(parents=True)
        if case.model:
            (folder / "models" / "buckets.sql").write_text(MODEL)
        (folder / "headwater.yml").write_text(PROJECT.format(url=server.url(), memory_mb=case.memory_mb))
        with _limited(case, figures) as into, _running(folder, into) as process, _measured(process.pid, figures):
            clock = SystemClock()
            _wait(clock, case.deadline_s, process, folder, lambda: _rows(folder) == BEFORE)
            with _watched(folder, figures):
                began = clock.monotonic_s()
                _add(database, BEFORE + 1, BEFORE + case.rows, case.row_bytes)
                figures.commit_s = clock.monotonic_s() - began
                began = clock.monotonic_s()
                whole = BEFORE + case.rows
                _wait(
                    clock, case.deadline_s, process, folder, lambda: _rows(folder) == whole and _landed(folder) == whole
                )
                figures.seconds = clock.monotonic_s() - began
        figures.right = _right(folder, case)
    return figures


def _add(database: psycopg.Connection, first: int, last: int, row_bytes: int) -> None:
    """One transaction of these rows."""
    database.execute(
        "INSERT INTO wide SELECT i, now(), left(repeat(md5(i::text), %s::int), %s::int)"
        " FROM generate_series(%s::bigint, %s::bigint) i",
        (row_bytes // 32 + 1, max(row_bytes - 16, 1), first, last),
    )


@contextmanager
def _limited(case: Case, figures: Figures) -> Iterator[Path | None]:
    """A control group with the limit; None where none can be made."""
    group = CGROUP / f"headwater-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(case.limit_mb * 1_000_000))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        yield None
        return
    figures.limited = True
    try:
        yield group
    finally:
        group.rmdir()


@contextmanager
def _running(folder: Path, group: Path | None) -> Iterator[subprocess.Popen[bytes]]:
    def enter() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-c", "from headwater.cli.app import main; main()", "run", str(folder)]
    with open(folder / "run.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=enter)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)


@contextmanager
def _measured(pid: int, figures: Figures) -> Iterator[None]:
    """Looks at the process's memory twenty times a second."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            with suppress(OSError, KeyError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                found = {line.split(":")[0]: int(line.split()[1]) / 1000 for line in lines if line.endswith(" kB")}
                figures.peak_own_mb = max(figures.peak_own_mb, found["RssAnon"])
                figures.peak_rss_mb = max(figures.peak_rss_mb, found["VmHWM"])

    with _thread(look, stop):
        yield


@contextmanager
def _watched(folder: Path, figures: Figures) -> Iterator[None]:
    """Reads how many rows the table says it has."""
    stop = threading.Event()

    def look() -> None:
        ended = False
        while not ended:
            ended = stop.wait(0.2)  # a last look comes after the end
            with suppress(Exception):
                rows = _rows(folder)
                if figures.seen[-1:] != (rows,):
                    figures.seen = (*figures.seen, rows)

    with _thread(look, stop):
        yield


@contextmanager
def _thread(body, stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _wait(clock: SystemClock, deadline_s: float, process: subprocess.Popen[bytes], folder: Path, condition) -> None:
    end, never = clock.monotonic_s() + deadline_s, threading.Event()
    while clock.monotonic_s() < end:
        if process.poll() is not None:
            raise AssertionError(
                f"headwater ended with {process.returncode}:\n{(folder / 'run.log').read_text()[-3000:]}"
            )
        with suppress(Exception):
            if condition():
                return
        clock.wait(never, 0.1)
    raise AssertionError(f"not in {deadline_s} s:\n{(folder / 'run.log').read_text()[-3000:]}")


def _rows(folder: Path) -> int:
    """Rows of the table as any reader finds them, by what its files say."""
    lake = IcebergLake(folder / "lake", namespace="big", read_only=True)
    try:
        snapshot = lake.catalog.load_table(("big", "wide")).current_snapshot()
        assert snapshot is not None and snapshot.summary is not None
        summary = snapshot.summary
        return int(summary["total-records"] or 0) - int(summary["total-position-deletes"] or 0)
    finally:
        lake.close()


def _landed(folder: Path) -> int:
    status = json.loads((folder / ".headwater" / "status.json").read_text())
    return int(status["sources"][0]["streams"][0]["landed"])


def _right(folder: Path, case: Case) -> bool:
    """Whether all rows are there, each once, and the model counts them."""
    lake = IcebergLake(folder / "lake", namespace="big", read_only=True)
    try:
        table = lake.catalog.load_table(("big", "wide"))
        ids = table.scan(selected_fields=("id",)).to_arrow().column("id").to_numpy()
        whole = len(ids) == case.rows + BEFORE and bool(sorted_unique(ids) == case.rows + BEFORE)
        if not case.model:
            return whole
        counted = lake.open_table("buckets").read().column("n").to_pylist()
        return whole and sum(counted) == case.rows + BEFORE
    finally:
        lake.close()


def sorted_unique(ids) -> int:
    """The number of distinct ids, which count from 1 to the largest."""
    import numpy as np

    return len(np.unique(ids)) if len(ids) and int(ids.max()) == len(ids) else -1


def as_json(figures: Figures) -> str:
    """The figures on one line."""
    return json.dumps(asdict(figures))
