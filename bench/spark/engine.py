"""Apache Spark."""

from __future__ import annotations

from pathlib import Path

from side_by_side.engine import Measured, NotMeasured
from side_by_side.events import Events


class Spark:
    name = "spark"

    def __init__(self, builds: Path, runs: int = 2, heap: str = "6g") -> None:
        self._builds, self._runs, self._heap = builds, runs, heap

    def prepare(self) -> dict[str, str]:
        return {}

    def measure(self, query: str, events: Events, cores: int, timeout_s: float) -> Measured:
        raise NotMeasured("not yet")
