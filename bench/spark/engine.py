"""Apache Spark in local mode: Structured Streaming where it takes the query, else one batch, which is then said."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from side_by_side.engine import Measured, NotMeasured
from side_by_side.environment import java_home, java_version, last_lines, virtual_environment
from side_by_side.events import Events

_HERE = Path(__file__).parent
_MICRO_BATCHES = 4
"""Into how many a run is cut: the fixed cost of each is large, and so it is paid seldom."""


class Spark:
    """Runs queries on the Spark of the package index.

    Args:
        builds: where the virtual environment is kept.
        runs: timed runs per query, after the one that warms up; the best counts.
        heap: of the JVM.
    """

    name = "spark"

    def __init__(self, builds: Path, runs: int = 2, heap: str = "6g") -> None:
        self._builds, self._runs, self._heap = builds, runs, heap

    def prepare(self) -> dict[str, str]:
        self._home = java_home()
        lock = _HERE / "requirements.lock"
        self._python = virtual_environment(self._builds / "venv-spark", lock)
        version = next(line for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith("pyspark=="))
        return {
            "spark": version.removeprefix("pyspark==").rstrip(" \\"),
            "java": java_version(self._home),
            "micro-batches": str(_MICRO_BATCHES),
            "source": "uncompressed Parquet files in the page cache",
        }

    def measure(self, query: str, events: Events, cores: int, timeout_s: float) -> Measured:
        with tempfile.TemporaryDirectory(prefix="headwater-spark-", dir=_memory()) as scratch:
            asked = {
                "query": (_HERE / "queries" / f"{query}.sql").read_text(encoding="utf-8"),
                "data": str(events.parquet(-(-events.count // _MICRO_BATCHES)).resolve()),
                "cores": cores,
                "runs": self._runs,
                "heap": self._heap,
                "scratch": scratch,
            }
            runs = self._run(asked, timeout_s)
        best = min((run for run in runs if run["run"] > 0), key=lambda run: run["seconds"])
        mode = "batch" if best["mode"] == "batch" else "streaming"
        return Measured(best["seconds"], best["cpu_s"], runs[0]["rows"], mode)

    def _run(self, asked: dict[str, Any], timeout_s: float) -> list[dict[str, Any]]:
        environment = {**os.environ, "JAVA_HOME": str(self._home), "SPARK_LOCAL_IP": "127.0.0.1"}
        command = [str(self._python), str(_HERE / "job.py"), json.dumps(asked)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"took longer than {timeout_s:,.0f} s for {self._runs + 1} runs") from None
        if done.returncode:
            raise NotMeasured(f"exit code {done.returncode}: {last_lines(done.stderr)[:400]}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _memory() -> str | None:
    """A folder in memory, where there is one, so that checkpoints cost no disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
