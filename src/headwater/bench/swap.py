"""How long epochs wait when a model's new version takes the place of the old one, by the size of its table:
`headwater bench swap`.

A project follows a file that grows all the time. Its model has a row for each line, so the table that is swapped is as
large as the file. The versions take turns; every swap is of the same table, as large as it is then.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from headwater.bench.console import LIMIT_S, write_orders
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError
from headwater.lake.opening import make_lake
from headwater.project import load
from headwater.project.definition import Project
from headwater.runtime.journal import Journal
from headwater.runtime.status import FILE
from headwater.runtime.supervisor import Supervisor
from headwater.runtime.swap.asking import ask
from headwater.runtime.swap.requests import Applies, ApplyStatus

EPOCH_MS, LINES_A_TICK = 50, 20

_PROJECT = f"""
name: bench
run: {{epoch_interval: {EPOCH_MS} ms}}
sources:
  disk:
    type: files
    files:
      orders:
        paths: orders.ndjson
        format: json
        columns: {{id: BIGINT, customer: BIGINT, status: VARCHAR, amount: BIGINT}}
"""
_MODEL = "/*\nkey: [id]\n*/\nSELECT id, customer, status, amount * {times} AS amount FROM orders"
T = TypeVar("T")

_LINE = '{{"id": {id}, "customer": 1, "status": "new", "amount": 1}}\n'


def swap(sizes: Sequence[int], rounds: int, tell: Callable[[str], None]) -> dict[str, float]:
    """Swaps a model of each size `rounds` times while its input grows.

    Args:
        sizes: rows of the table.
        rounds: swaps of each.
        tell: takes a line for each size.

    Returns:
        By size SIZE_pause_ms, how long epochs waited for a swap (median, and SIZE_pause_most_ms), SIZE_between_ms, the
        longest time between two commits of another table around a swap (median), and SIZE_build_s, how long the new
        version was built beside the old one (median).

    Raises:
        HeadwaterError: a swap failed.
    """
    figures: dict[str, float] = {"cores": os.cpu_count() or 0, "rounds": rounds}
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="headwater-bench-") as name:
            found = _Swapped(Path(name), rows).times(rounds)
        figures |= {f"{rows}_{what}": value for what, value in found.items()}
        tell(f"{rows:,} rows: epochs waited {found['pause_ms']:.0f} ms")
    return figures


class _Swapped:
    """A project whose model has `rows` rows, and that is swapped."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._rows, self._clock = folder, rows, SystemClock()
        (folder / "models").mkdir()
        (folder / "headwater.yml").write_text(_PROJECT, encoding="utf-8")
        write_orders(folder / "orders.ndjson", rows)
        self._write(1)

    def times(self, rounds: int) -> dict[str, float]:
        """The figures of that many swaps."""
        found: list[tuple[ApplyStatus, float, float]] = []
        with self._running(), _growing(self._folder / "orders.ndjson", self._rows, self._clock):
            for number in range(rounds):
                self._write(number + 2)
                found.append(self._one())
        pauses = [status.pause_ms for status, _, _ in found]
        return {
            "pause_ms": statistics.median(pauses),
            "pause_most_ms": max(pauses),
            "between_ms": statistics.median(between for _, between, _ in found),
            "build_s": round(statistics.median(seconds for _, _, seconds in found), 2),
        }

    def _one(self) -> tuple[ApplyStatus, float, float]:
        began_s, project = self._clock.monotonic_s(), self._project()
        asked, applies = ask(project, self._clock.now_us()), Applies(project.state)
        status = _waited(self._clock, lambda: _over(applies, asked.id))
        took_s = self._clock.monotonic_s() - began_s
        if status.state != "done" or status.epoch is None:
            raise HeadwaterError(f"the swap {status.state}: {status.error}", hint=status.hint)
        after = status.epoch + 1
        committed = _waited(self._clock, lambda: self._commits(after))
        return status, max((b - a) / 1e3 for a, b in pairwise(committed)), took_s

    def _commits(self, epoch: int) -> list[int] | None:
        """When the other table was committed, if it has been since an epoch."""
        project = self._project()
        lake = make_lake(project.lake, project.folder, project=project.name, read_only=True)
        try:
            found = lake.open_table("orders").snapshots()
        finally:
            lake.close()
        near = {one.epoch: one.committed_at_us for one in found if one.epoch is not None and one.epoch > epoch - 20}
        return sorted(near.values()) if max(near, default=0) >= epoch else None

    def _write(self, times: int) -> None:
        (self._folder / "models" / "priced.sql").write_text(_MODEL.format(times=times), encoding="utf-8")

    def _project(self) -> Project:
        return load(self._folder, environment=os.environ)

    def _landed(self) -> bool | None:
        """Whether all rows have; None until then."""
        file = self._folder / ".headwater" / FILE
        tables = json.loads(file.read_text(encoding="utf-8"))["tables"] if file.exists() else []
        return any(one["name"] == "priced" and one["rows"] >= self._rows for one in tables) or None

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Runs the project; entered when all rows have landed."""
        supervisor = Supervisor(self._project(), Journal(io.StringIO()))
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        try:
            _waited(self._clock, self._landed)
            yield
        finally:
            supervisor.stop()
            thread.join()


@contextmanager
def _growing(file: Path, rows: int, clock: Clock) -> Iterator[None]:
    """Adds lines to a file all the time."""
    ended = threading.Event()

    def grow() -> None:
        first = rows
        with file.open("a", encoding="utf-8") as out:
            while not clock.wait(ended, EPOCH_MS / 2e3):
                out.write("".join(_LINE.format(id=at) for at in range(first, first + LINES_A_TICK)))
                out.flush()
                first += LINES_A_TICK

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _over(applies: Applies, identifier: str) -> ApplyStatus | None:
    status = applies.status()
    return status if status is not None and status.id == identifier and status.is_over else None


def _waited(clock: Clock, found: Callable[[], T | None]) -> T:
    """What is found in the end.

    Raises:
        HeadwaterError: nothing is.
    """
    end, never = clock.monotonic_s() + LIMIT_S, threading.Event()
    while clock.monotonic_s() < end:
        if (value := found()) is not None:
            return value
        clock.wait(never, 0.02)
    raise HeadwaterError(f"a swap took longer than {LIMIT_S:.0f} s", hint="fewer rows")
