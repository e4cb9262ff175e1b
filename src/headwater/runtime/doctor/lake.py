"""Looks at the lake for `headwater doctor`: the catalog, the format, and whether the storage can be written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.finding import Finding, failing
from headwater.lake.connection import is_remote
from headwater.lake.opening import make_lake
from headwater.project.definition import Project


def lake_findings(project: Project, clock: Clock) -> list[Finding]:
    """What the lake is like. In an object store a file of a few bytes is written and deleted again, as nothing else
    tells whether we may."""
    remote = is_remote(project.lake.warehouse)
    looks: Sequence[tuple[str, Callable[[], Iterator[Finding]]]] = (
        ("storage", lambda: _object_store(project) if remote else _folder(project)),
        ("catalog", lambda: _catalog(project, clock)),
    )
    found: list[Finding] = []
    for check, look in looks:
        try:
            found += look()
        except HeadwaterError as error:
            found.append(failing(check, error))
    return found


def _folder(project: Project) -> Iterator[Finding]:
    folder = project.folder / project.lake.warehouse
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("storage", "fail", f"{there} cannot be written", f"chmod u+rwx {there}, or another `warehouse`")
        return
    yield Finding("storage", "ok", f"{there} can be written")


def _object_store(project: Project) -> Iterator[Finding]:
    """Whether an object can be written, read and deleted."""
    from headwater.lake.iceberg.durable_io import DurableFileIO

    files = DurableFileIO(dict(project.lake.connection(project.folder).storage))
    place = f"{project.lake.warehouse.rstrip('/')}/.doctor-{uuid4().hex}"
    try:
        with files.new_output(place).create() as output:
            output.write(b"headwater doctor\n")
        with files.new_input(place).open() as written:
            sound = written.read() == b"headwater doctor\n"
        files.delete(place)
    except OSError as error:
        mend = "check lake: s3: (endpoint, region, keys), that the bucket is there, and what the keys may do"
        yield Finding("storage", "fail", f"{project.lake.warehouse} cannot be written: {_short(error)}", mend)
        return
    if not sound:
        yield Finding("storage", "fail", "what was written is not what is read", "use another object store")
        return
    yield Finding("storage", "ok", f"objects can be written, read and deleted in {project.lake.warehouse}")


def _short(error: OSError) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."


def _catalog(project: Project, clock: Clock) -> Iterator[Finding]:
    settings = project.lake
    if not is_remote(settings.warehouse) and not Path(project.folder / settings.warehouse).exists():
        yield Finding("catalog", "ok", f"{settings.type} tables; there is no lake yet, the first run makes it")
        return
    connection = settings.connection(project.folder)
    if connection.catalog == "sqlite" and connection.database is not None and not connection.database.exists():
        yield Finding("catalog", "ok", f"{settings.type} tables; there is no catalog yet, the first run makes it")
        return
    lake = make_lake(settings, project.folder, project=project.name, read_only=True, clock=clock)
    try:
        count = len(lake.names())
    finally:
        lake.close()
    kind = f" in a {connection.catalog} catalog" if settings.type == "iceberg" else ""
    yield Finding("catalog", "ok", f"{count} {settings.type} tables{kind}")
