"""examples/apache-log run whole, and a log that is rotated while the project is killed: every line once in the lake."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from running_project import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "apache-log"
ROOT = Path(__file__).parents[2]


def table(folder: Path, name: str) -> list[dict[str, object]]:
    """The rows of a table of the project, read by PyIceberg."""
    catalog = SqlCatalog("headwater", uri=f"sqlite:///{folder}/lake/catalog.db", init_catalog_tables="false")
    rows: list[dict[str, object]] = catalog.load_table(f"weblog.{name}").scan().to_arrow().to_pylist()
    return rows


def headwater(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a project."""
    command = [sys.executable, "-m", "headwater.cli.app", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "weblog"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".headwater", "lake"))
    return folder


def test_the_example(project: Path) -> None:
    done = headwater(project, "run", "--once")
    assert done.returncode == 0, done.stderr
    access = sorted(table(project, "access"), key=lambda row: str(row["timestamp"]))
    assert [row["clientip"] for row in access].count("192.0.2.10") == 2 and len(access) == 7
    assert access[0]["response"] == 200 and access[0]["bytes"] == 5120 and access[0]["verb"] == "GET"
    assert {row["rawrequest"] for row in access} == {None, r"\x16\x03\x01"}
    pages = {row["page"]: (row["hits"], row["failures"], row["bytes"]) for row in table(project, "pages")}
    assert pages == {"/index.html": (3, 0, 10240), "/cart": (1, 0, None), "/missing": (1, 1, 196), "/last": (1, 1, 12)}
    minutes = [
        (str(row["window_start"]), row["requests"], row["clients"]) for row in table(project, "traffic_by_minute")
    ]
    assert sorted(minutes) == [("2026-11-22 10:00:00+00:00", 3, 3), ("2026-11-22 10:01:00+00:00", 3, 3)]
    assert [row["words"] for row in table(project, "searches")] == ["stream+lakehouse"]
    assert "no_match" in headwater(project, "rejects", "ls").stdout
    query = headwater(project, "query", "SELECT hits FROM pages WHERE page = '/index.html'")
    assert query.returncode == 0 and "3" in query.stdout


LINES = """
name: weblog
sources:
  web:
    type: files
    files: {access: {paths: "logs/access.log*"}}
    find_every_s: 0.05
    look_every_s: 0.01
run: {epoch_interval: 50 ms, checkpoint_interval: 300 ms}
"""
POINTS = ("files.group.after", "log.append.after_write", "log.append.after_fsync", "epoch.done.before")


class Log:
    """A log that is written to and rotated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0

    def write(self, count: int) -> None:
        """Appends lines, each by a write of its own."""
        with (self.folder / "access.log").open("a", buffering=1) as file:
            for _ in range(count):
                file.write(f"line {self.count}\n")
                self.count += 1

    def rename(self) -> None:
        """Rotation by renaming, and the file before compressed."""
        one, log = self.folder / "access.log.1", self.folder / "access.log"
        if one.exists():
            packed = self.folder / f"access.log.{self.count}.gz"
            packed.write_bytes(gzip.compress(one.read_bytes()))
            one.unlink()
        if log.exists():
            log.rename(one)

    def copytruncate(self) -> None:
        """Rotation by copying."""
        log = self.folder / "access.log"
        if log.exists() and not (self.folder / "access.log.1").exists():
            shutil.copyfile(log, self.folder / "access.log.1")
            os.truncate(log, 0)


def campaign(project: Path, runs: int, seed: int) -> Counter[object]:
    """Kills a running project `runs` times while its log is written to and rotated; returns how often each line is in
    the lake in the end."""
    (project / "headwater.yml").write_text(LINES, encoding="utf-8")
    shutil.rmtree(project / "models")
    shutil.rmtree(project / "logs")
    (project / "logs").mkdir()
    rng, log = random.Random(seed), Log(project / "logs")
    rotations: list[Callable[[], None]] = [log.rename, log.copytruncate]
    log.write(20)
    for number in range(runs):
        point = f"{POINTS[number % len(POINTS)]}:{rng.randrange(1, 4)}"
        process = _started(project, HEADWATER_FAILPOINT=point)
        for _ in range(rng.randrange(1, 5)):
            log.write(rng.randrange(1, 200))
            if rng.random() < 0.5:
                rng.choice(rotations)()
        if rng.random() < 0.5:
            log.write(1)
            with suppress(subprocess.TimeoutExpired):
                process.wait(8)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    log.write(3)
    process = _started(project)
    try:
        wait_until(lambda: len(table(project, "access")) >= log.count, "every line is in the lake")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    found = Counter(row["value"] for row in table(project, "access"))
    for number in range(log.count):
        found[f"line {number}"] += 0
    return found


def _started(project: Path, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "headwater.cli.app", "run"]
    return subprocess.Popen(
        command, cwd=project, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def test_no_line_is_lost_or_doubled_by_kills_and_rotations(project: Path) -> None:
    runs = int(os.environ.get("HEADWATER_FAULT_RUNS", "4"))
    found = campaign(project, runs, seed=runs)
    assert set(found.values()) == {1}, [line for line, count in found.items() if count != 1][:10]
