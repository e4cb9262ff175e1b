"""Many small commits to one table, with maintenance going on beside them: does a commit stay as quick as it was?"""

from __future__ import annotations

import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headwater.allocators import settle
from headwater.bench.lake.rows import KEYED, rows_of, weighted
from headwater.clock import SystemClock
from headwater.index.kernels import Longs
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.maintenance import Policy

SHARE = 10
"""A first or last so-manieth part of the commits is looked at."""

_START_US = 1_760_000_000_000_000
_LOOK = 10
"""Maintenance looks what there is to do every so many commits: seconds of logical time."""


class LogicalClock(SystemClock):
    """A wall clock that goes on by a second with each commit."""

    def __init__(self) -> None:
        self.commits = 0

    def now_us(self) -> int:
        return _START_US + self.commits * 1_000_000


@dataclass
class Source:
    """What the table should hold: by key the version it is in, from 1; and the next change of it."""

    versions: Longs
    random: np.random.Generator

    def change(self, changes: int, version: int) -> pa.Table:
        """A tenth inserts, the rest updates of random keys; all inserts as long as there are few rows."""
        updates = 0 if len(self.versions) < 2 * changes else changes * 9 // 10
        ids = self.random.choice(len(self.versions), updates, replace=False).astype(np.int64)
        new = np.arange(len(self.versions), len(self.versions) + changes - updates, dtype=np.int64)
        before = rows_of(ids, self.versions[ids])
        self.versions[ids] = version
        self.versions = np.concatenate([self.versions, np.full(len(new), version, np.int64)])
        after = rows_of(np.concatenate([ids, new]), version)
        return pa.concat_tables([weighted(before, -1), weighted(after, 1)])

    def rows(self) -> pa.Table:
        """All rows, by key."""
        return rows_of(np.arange(len(self.versions), dtype=np.int64), self.versions)


def campaign(commits: int, changes: int, folder: str = "") -> dict[str, Any]:
    """Runs it.

    Args:
        commits: how many, one a second of logical time, one after the other.
        changes: rows updated or inserted in each.
        folder: where the table goes, the system's for temporary files if empty.

    Returns:
        Milliseconds that a commit took, of wall clock and of its thread's CPU, in the first and the last tenth of the
        commits; the most files there were; what maintenance did; whether the table equals its source.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=folder or None) as place:
        clock = LogicalClock()
        lake = IcebergLake(Path(place), namespace="bench", clock=clock)
        table, source = lake.table(KEYED), Source(np.zeros(0, np.int64), np.random.default_rng(1))
        keeper = _Keeper(table)
        laps = np.zeros((commits, 2))
        keeper.start()
        settle()
        for number in range(commits):
            delta = source.change(changes, number + 1)
            clock.commits += 1
            started = time.perf_counter(), time.thread_time()
            table.commit(number + 1, delta, {"offset": str(number)})
            laps[number] = time.perf_counter() - started[0], time.thread_time() - started[1]
            if number % _LOOK == _LOOK - 1:
                keeper.look.set()
        keeper.stop()
        equal = table.read().sort_by("id").combine_chunks().equals(source.rows().combine_chunks())
        figures: dict[str, Any] = {"commits": commits, "changes_per_commit": changes, "rows": len(source.versions)}
        figures |= {**_quantiles(laps * 1e3, commits // SHARE), **keeper.figures(), "equal_to_source": equal}
        lake.close()
    return figures if equal else {**figures, "error": "the table is not equal to its source"}


def _quantiles(laps_ms: np.ndarray[Any, np.dtype[np.float64]], count: int) -> dict[str, float]:
    return {
        f"{which}_{kind}p{quantile}_ms": float(np.percentile(part[:, column], quantile))
        for which, part in (("first", laps_ms[:count]), ("last", laps_ms[-count:]))
        for column, kind in enumerate(("", "cpu_"))
        for quantile in (50, 99)
    }


class _Keeper:
    """Maintenance in a thread of its own: it does all that there is to do whenever it is told to look."""

    def __init__(self, table: IcebergTable) -> None:
        self._table, self._maintenance = table, table.maintenance()
        self._thread, self._ended = ThreadPoolExecutor(1, thread_name_prefix="maintenance"), False
        self.look = threading.Event()
        self._most: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._work: Future[None] | None = None

    def start(self) -> None:
        self._work = self._thread.submit(self._run)

    def stop(self) -> None:
        """Ends the thread; raises what has ended it before, if anything has."""
        self._ended = True
        self.look.set()
        self._thread.shutdown()
        if self._work is not None:
            self._work.result()

    def figures(self) -> dict[str, int]:
        """What was seen and done."""
        return {**{f"most_{name}": most for name, most in self._most.items()}, **self._done}

    def _run(self) -> None:
        while not self._ended:
            self.look.wait()
            self.look.clear()
            self._once(Policy())

    def _once(self, policy: Policy) -> None:
        health = self._maintenance.health()
        for name in ("files", "delete_files", "manifests", "snapshots"):
            self._most[name] = max(self._most.get(name, 0), int(getattr(health, name)))
        for task in self._maintenance.plan(policy, ("compact", "deletes", "manifests", "expire")):
            outcome = self._maintenance.carry_out(task, policy)
            name = f"{task.kind}_{'done' if outcome.done else 'put_off'}"
            self._done[name] = self._done.get(name, 0) + 1
