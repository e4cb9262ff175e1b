"""What a project is, once read: typed, frozen, everything resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from headwater.errors import Place
from headwater.project.document import NodePath
from headwater.project.settings import (
    LakeSettings,
    MaintenanceSettings,
    ModelSettings,
    RunSettings,
    StreamSettings,
    Watermark,
)
from headwater.sql.functions import Function

__all__ = ["Model", "Project", "SourceDefinition", "Watermark"]


@dataclass(frozen=True)
class SourceDefinition:
    """One source of `headwater.yml`.

    Attributes:
        name: its name in the project.
        type: the connector, one of `connectors.CONNECTORS`.
        settings: the connector's own settings, of its settings class; secrets inside are `SecretStr`.
        mirror: land every stream as a lake table.
        streams: settings of single streams, by stream name.
        history: patterns of the streams whose every change is kept.
        place: where it is defined.
    """

    name: str
    type: str
    settings: BaseModel
    mirror: bool = True
    streams: Mapping[str, StreamSettings] = field(default_factory=dict)
    history: tuple[str, ...] = ()
    place: Place = field(default_factory=lambda: Place(""))

    def mirrors(self, stream: str) -> bool:
        """Whether this source's stream `stream` becomes a lake table."""
        own = self.streams[stream].mirror if stream in self.streams else None
        return self.mirror if own is None else own


@dataclass(frozen=True)
class Model:
    """One model: a named SELECT.

    Attributes:
        name: the file's name without `.sql`.
        sql: the SELECT, without front matter and trailing semicolon. Its first line is indented so that columns count
            as in the file.
        file: the file, as it should be printed.
        first_line: the line of `file` that `sql` begins in, from 1.
        settings: its front matter.
        inputs: names of the streams and models that it reads, each once, in the order of the SQL.
        fingerprint: changes when and only when what the model computes may change.
        setting_places: where each front matter key stands.
        functions: the project's functions that it may call.
    """

    name: str
    sql: str
    file: str
    first_line: int
    settings: ModelSettings
    inputs: tuple[str, ...]
    fingerprint: str
    setting_places: Mapping[NodePath, Place] = field(default_factory=dict)
    functions: tuple[Function, ...] = ()


@dataclass(frozen=True)
class Project:
    """A project's folder, read whole.

    Attributes:
        name: its name.
        folder: its folder.
        state: folder of the log, the state and the checkpoints.
        lake: where the tables are; `warehouse` is an absolute path and `namespace` is set.
        run: how to run it.
        sources: in the order of the file.
        models: in the order of their dependencies: a model stands after those that it reads.
        places: where each node of `headwater.yml` stands, by path, for later mistakes about it.
        maintenance: how its tables are kept.
    """

    name: str
    folder: Path
    state: Path
    lake: LakeSettings
    run: RunSettings
    sources: tuple[SourceDefinition, ...]
    models: tuple[Model, ...]
    places: Mapping[NodePath, Place] = field(default_factory=dict)
    maintenance: MaintenanceSettings = field(default_factory=MaintenanceSettings)

    def place(self, *path: str | int) -> Place:
        """Where the node at `path` of `headwater.yml` stands, or else the nearest one above it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(str(self.folder / "headwater.yml")))
