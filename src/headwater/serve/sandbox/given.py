"""What a keeper is told of the project: all that reading needs, and no secret but those of the lake it reads."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from headwater.api.settings import SqlLimits
from headwater.lake.connection import is_remote
from headwater.project.definition import Project
from headwater.project.functions import FOLDER, read_functions
from headwater.project.mistakes import Mistakes
from headwater.project.models import with_functions

_PROGRAM = (
    "/usr", "/lib", "/lib64", "/etc/localtime", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/proc/self",
    "/proc/meminfo", "/proc/cpuinfo", "/sys/fs/cgroup", "/sys/devices/system",
)  # fmt: skip
"""What libraries read of a machine."""


class Hidden(BaseModel):
    """Stands where a source's or destination's settings were, and their passwords."""


@dataclass(frozen=True)
class Given:
    """What a keeper works with.

    Attributes:
        project: see above; its models call no functions.
        limits: of a query.
    """

    project: Project
    limits: SqlLimits

    @property
    def reads(self) -> list[Path]:
        """What a turn may read: the log and ledger, the lake, and the program itself."""
        lake, project = self.project.lake, self.project
        folders = [project.state, project.folder / FOLDER, *map(Path, (*_PROGRAM, sys.prefix, sys.base_prefix))]
        folders += [Path(entry) for entry in sys.path if entry]
        folders += [project.folder / lake.warehouse] if not is_remote(lake.warehouse) else []
        folders += [project.folder / lake.catalog.path] if lake.catalog.path else []
        return folders + ([Path("/etc"), Path.home() / ".aws"] if self.remote else [])

    @property
    def remote(self) -> bool:
        """Whether tables are read over the network."""
        lake = self.project.lake
        return is_remote(lake.warehouse) or lake.catalog.type != "sqlite"


def without_secrets(project: Project) -> Project:
    """The project as others may see it whole."""
    return replace(
        project,
        sources=tuple(replace(source, settings=Hidden()) for source in project.sources),
        syncs=tuple(replace(sync, own=Hidden()) for sync in project.syncs),
        api=None,
        models=tuple(replace(model, functions=()) for model in project.models),
    )


def pack(given: Given) -> bytes:
    """As it is sent to a keeper, which is a process of our own."""
    return pickle.dumps(Given(without_secrets(given.project), given.limits))


def unpack(text: bytes) -> Given:
    """As the keeper takes it: with the functions that lie in the project's folder."""
    given: Given = pickle.loads(text)
    functions = read_functions(given.project.folder, Mistakes())
    models = tuple(with_functions(given.project.models, functions))
    return replace(given, project=replace(given.project, models=models))
