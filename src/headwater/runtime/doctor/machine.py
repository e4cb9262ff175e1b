"""Looks at this machine for `headwater doctor`: Python and libraries, disks and how fast they are."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from headwater.clock import Clock
from headwater.durable import fsync_data
from headwater.finding import Finding, Level
from headwater.lake.connection import is_remote
from headwater.project.definition import Project

LIBRARIES = (
    "duckdb", "pyarrow", "numpy", "numba", "pyiceberg", "psycopg", "sqlglot", "pydantic", "starlette", "uvicorn",
)  # fmt: skip
FULL, NEARLY_FULL = 256 * 2**20, 5 * 2**30
"""Free bytes below which a disk does not do, or is worth a warning."""
NO_INODES, FEW_INODES = 1_000, 50_000
"""As above, for files that may be made."""
FILES_NEEDED, FILES_WANTED = 256, 1024
"""Files that a process may have open: segments, state, tables, connections."""

SLOW_FSYNC_MS = 50.0
TRIES = 5


def machine_findings(project: Project, clock: Clock) -> list[Finding]:
    """What this machine is like for running the project."""
    found = [_python(), _libraries(), _kernels(), _open_files()]
    found += [*_room("state folder", project.state), *_speed(project.state, clock)]
    if not is_remote(project.lake.warehouse):
        found += _room("lake folder", project.folder / project.lake.warehouse)
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


def _kernels() -> Finding:
    """Whether compiled kernels are kept, so that only the first start takes long."""
    from headwater.index.kernels import cache_folder

    folder = cache_folder()
    if folder is None:
        told = "kernels are not compiled, which is hundreds of times slower"
        return Finding("kernels", "warn", told, "unset NUMBA_DISABLE_JIT")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if os.access(there, os.W_OK):
        return Finding("kernels", "ok", f"compiled kernels are kept in {folder}")
    told = f"{folder} cannot be written: kernels are compiled at every start, which takes about a minute"
    return Finding("kernels", "warn", told, "export NUMBA_CACHE_DIR=/a/folder/that/can/be/written")


def _open_files() -> Finding:
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = "without limit" if limit == resource.RLIM_INFINITY else f"{limit:,} may be open"
    level: Level = "ok"
    if limit != resource.RLIM_INFINITY:
        level = "fail" if limit < FILES_NEEDED else "warn" if limit < FILES_WANTED else "ok"
    wanted = 65_536 if most == resource.RLIM_INFINITY else min(most, 65_536)
    mend = f"ulimit -n {wanted}; for a service LimitNOFILE=65536 (deploy/)"
    return Finding("open files", level, told, mend if level != "ok" else "")


def _room(what: str, folder: Path) -> Iterator[Finding]:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    level: Level = "fail" if free < FULL else "warn" if free < NEARLY_FULL else "ok"
    mend = "" if level == "ok" else "make room, or move the folder to a larger disk"
    yield Finding(what, level, f"{free / 1e9:,.1f} GB free in {folder}", mend)
    system = os.statvfs(there)
    if not system.f_files:  # the file system makes them as they are needed
        return
    left = system.f_favail
    level = "fail" if left < NO_INODES else "warn" if left < FEW_INODES else "ok"
    mend = "" if level == "ok" else f"remove files: `df -i {there}` shows what is used"
    yield Finding(f"{what}, inodes", level, f"{left:,} more files can be made", mend)


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
