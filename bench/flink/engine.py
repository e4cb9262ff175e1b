"""Apache Flink: SQL in a local cluster inside one JVM per query, which bench/flink/java/nexmark/Run.java drives."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path

from side_by_side.engine import Measured, NotMeasured
from side_by_side.environment import (
    compiled,
    java_home,
    java_version,
    last_lines,
    site_packages,
    virtual_environment,
)
from side_by_side.events import Events

_HERE = Path(__file__).parent
_OPENED = (
    "java.lang", "java.lang.reflect", "java.io", "java.net", "java.nio", "java.text", "java.time", "java.util",
    "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch",
)  # fmt: skip
"""Packages of java.base that Flink reaches into, as its own start scripts open them."""

CANNOT = {"q6": "Flink SQL has no OVER window over changes that retract"}
"""Queries that it has no text for, and why."""


class Flink:
    """Runs queries on the Flink of the package index.

    Args:
        builds: where the virtual environment and compiled classes are kept.
        runs: timed runs per query, after the one that warms the JIT; the best counts.
        heap: of the JVM, as -Xmx takes it.
    """

    name = "flink"

    def __init__(self, builds: Path, runs: int = 2, heap: str = "6g") -> None:
        self._builds, self._runs, self._heap = builds, runs, heap

    def prepare(self) -> dict[str, str]:
        self._home = java_home()
        python = virtual_environment(self._builds / "venv-flink", _HERE / "requirements.lock")
        self._jars = sorted((site_packages(python) / "pyflink" / "lib").glob("*.jar"))
        self._classes = compiled(_HERE / "java", self._jars, self._home, self._builds)
        version = next(jar.stem.removeprefix("flink-dist-") for jar in self._jars if jar.name.startswith("flink-dist-"))
        settings = (_HERE / "settings.txt").read_text(encoding="utf-8").split("\n")
        return {"flink": version, "java": java_version(self._home), "java options": " ".join(self._tuning()),
                "settings": "; ".join(filter(None, settings))}  # fmt: skip

    def measure(self, query: str, events: Events, cores: int, timeout_s: float) -> Measured:
        if query in CANNOT:
            raise NotMeasured(CANNOT[query])
        with tempfile.TemporaryDirectory(prefix="headwater-flink-") as folder:
            runs = self._run(query, events, cores, timeout_s, Path(folder))
        best = min((run for run in runs if run["run"] > 0), key=lambda run: run["seconds"])
        # A window of processing time that is open when the input ends is never emitted.
        rows = int(runs[0]["rows"]) if query != "q12" else None
        return Measured(best["seconds"], best["cpu_s"], rows)

    def _run(self, query: str, events: Events, cores: int, timeout_s: float, folder: Path) -> list[dict[str, float]]:
        definitions = (_HERE / "tables.sql").read_text(encoding="utf-8")
        statements = [line for line in definitions.splitlines() if not line.startswith("--")]
        (folder / "tables.sql").write_text("\n".join(statements).replace("%(data)s", str(events.columns().resolve())))
        settings = (_HERE / "settings.txt").read_text(encoding="utf-8")
        (folder / "settings.txt").write_text(f"{settings}parallelism.default: {cores}\nio.tmp.dirs: {folder}\n")
        command = [
            str(self._home / "bin" / "java"), *self._options(), f"-Djava.io.tmpdir={folder}",
            "-cp", os.pathsep.join(map(str, [self._classes, *self._jars])), "nexmark.Run",
            str(folder / "tables.sql"), str(_HERE / "queries" / f"{query}.sql"), str(folder / "settings.txt"),
            str(self._runs),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            raise NotMeasured(f"took longer than {timeout_s:,.0f} s for {self._runs + 1} runs") from None
        if done.returncode:
            raise NotMeasured(f"exit code {done.returncode}: {_cause(done.stderr)}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def _tuning(self) -> list[str]:
        return [f"-Xmx{self._heap}", "-XX:+UseParallelGC"]

    def _options(self) -> list[str]:
        opens = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
        return [*self._tuning(), *opens, f"-Dlog4j2.configurationFile={_HERE / 'log4j2.xml'}"]


def _cause(errors: str) -> str:
    """The innermost cause of a Java stack trace, or its end."""
    causes = [line for line in errors.splitlines() if line.startswith(("Caused by:", "Exception in"))]
    return causes[-1][:300] if causes else last_lines(errors)
