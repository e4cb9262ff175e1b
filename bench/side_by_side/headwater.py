"""Headwater itself, asked by its own command line as anyone would."""

from __future__ import annotations

import json
import subprocess
import sys

from headwater import __version__
from side_by_side.engine import Measured, NotMeasured
from side_by_side.environment import last_lines
from side_by_side.events import Events

_RUNS = 2
"""The first has the process take its memory from the kernel, as the other engines do in the run that warms them up."""


class Headwater:
    """Runs queries with `headwater bench nexmark`, each run in a process of its own.

    Args:
        batch: how many events are applied at once.
        workers: among how many a view shares its keys out; None for one on each core.
    """

    name = "headwater"

    def __init__(self, batch: int, workers: int | None = None) -> None:
        self._batch, self._workers = batch, workers

    def prepare(self) -> dict[str, str]:
        return {"headwater": __version__, "python": sys.version.split()[0], "batch": f"{self._batch:,} events"}

    def measure(self, query: str, events: Events, cores: int, timeout_s: float) -> Measured:
        workers = self._workers or cores
        asked = {
            "queries": query,
            "events": events.count,
            "threads": workers,
            "runs": _RUNS,
            "batch": self._batch,
            "seed": events.seed,
            "tps": f"{events.rate:g}",
            "limit": f"{timeout_s:g}",
        }
        options = [text for name, value in asked.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "headwater.cli.app", "bench", "nexmark", "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.stdout.strip():
            raise NotMeasured(f"exit code {done.returncode}: {last_lines(done.stderr)}")
        figures = json.loads(done.stdout)["queries"][0]
        if "error" in figures:
            raise NotMeasured(figures["error"])
        seconds = figures["seconds"]
        return Measured(
            seconds, seconds * figures["cores"], figures["rows"], duckdb_s=figures["duckdb_s"], workers=workers
        )
