"""Looks at this machine for `headwater doctor`: Python and libraries, disks and how fast they are."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headwater.capture.finding import Finding, Level
from headwater.clock import Clock
from headwater.durable import fsync_data
from headwater.project.definition import Project

LIBRARIES = ("duckdb", "pyarrow", "numpy", "numba", "pyiceberg", "psycopg")
FULL, NEARLY_FULL = 256 * 2**20, 5 * 2**30
"""Free bytes below which a disk does not do, or is worth a warning."""

SLOW_FSYNC_MS = 50.0
TRIES = 5


def local_findings(project: Project, clock: Clock) -> list[Finding]:
    """What this machine is like for running the project."""
    found = [_python(), _libraries()]
    found += [_room("state folder", project.state), *_speed(project.state, clock)]
    warehouse = str(project.folder / "lake")
    if Path(warehouse).is_dir():
        found.append(_room("lake folder", Path(warehouse)))
    return found


def _python() -> Finding:
    told = f"{platform.python_implementation()} {platform.python_version()}"
    return Finding("python", "ok" if sys.version_info >= (3, 11) else "fail", told)


def _libraries() -> Finding:
    versions, missing = [], []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("libraries", "fail", f"not installed: {', '.join(missing)}", "pip install --upgrade headwater")
    return Finding("libraries", "ok", ", ".join(versions))


def _room(what: str, folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    level: Level = "fail" if free < FULL else "warn" if free < NEARLY_FULL else "ok"
    mend = "" if level == "ok" else "make room, or move the folder to a larger disk"
    return Finding(what, level, f"{free / 1e9:,.1f} GB free in {folder}", mend)


def _speed(folder: Path, clock: Clock) -> Iterator[Finding]:
    """How long it takes until a change is durable: a write of a page and an fsync."""
    if not folder.is_dir():
        return
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            took = []
            for _ in range(TRIES):
                began = clock.monotonic_s()
                os.write(file.fileno(), b"x" * 4096)
                fsync_data(file.fileno())
                took.append(clock.monotonic_s() - began)
    except OSError as error:
        mend = "look at the folder's rights and its disk"
        yield Finding("fsync", "fail", f"{folder} cannot be written: {error.strerror}", mend)
        return
    slow_ms = statistics.median(took) * 1e3
    slow = slow_ms > SLOW_FSYNC_MS
    mend = "put the state folder on a local SSD: every change waits for this once" if slow else ""
    yield Finding("fsync", "warn" if slow else "ok", f"{slow_ms:.1f} ms until a page is durable", mend)
