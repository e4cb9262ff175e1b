"""What a project is, once read: typed, frozen, everything resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from headwater.api.settings import ApiSettings
from headwater.errors import Place
from headwater.lake.layout import Layout, partition_by, sort_by
from headwater.project.document import NodePath
from headwater.project.lake_settings import LakeSettings
from headwater.project.settings import (
    LineageSettings,
    MaintenanceSettings,
    ModelSettings,
    RejectsSettings,
    RunSettings,
    StreamSettings,
    SyncSection,
    TableSettings,
    Watermark,
)
from headwater.quality.checks import Check
from headwater.sql.functions import Function

__all__ = ["Model", "Project", "SourceDefinition", "SyncDefinition", "Watermark"]


@dataclass(frozen=True)
class TableDefinition:
    """A lake table of a stream or model.

    Attributes:
        name: its name.
        kind: what it keeps.
        soft: deleted rows stay, marked.
        layout: how its files lie.
        remove: columns that its stream or model no longer has leave it.
    """

    name: str
    kind: Literal["mirror", "changelog", "history", "append"] = "mirror"
    soft: bool = False
    layout: Layout = field(default_factory=Layout)
    remove: bool = False

    @classmethod
    def of(cls, name: str, settings: TableSettings | None) -> TableDefinition:
        """The table that the settings mean; a plain mirror if there are none."""
        if settings is None:
            return cls(name)
        layout = Layout(
            tuple(map(partition_by, settings.partition)), tuple(map(sort_by, settings.sort)), settings.bloom
        )
        return cls(name, settings.kind, settings.deletes == "soft", layout, settings.dropped == "remove")

    @property
    def traced(self) -> bool:
        """Whether it takes every change, not only what they come to."""
        return self.kind in ("changelog", "history") or (self.kind == "mirror" and self.soft)

    @property
    def kind_text(self) -> str:
        """Its kind in words; tables of different words hold different things."""
        return f"{self.kind} with soft deletes" if self.soft else self.kind


def keeps_past(kind_text: str) -> bool:
    """Whether a table of this kind (`TableDefinition.kind_text`) holds what cannot be made again from what there is."""
    return kind_text not in ("mirror", "append")


def tables_of(name: str, settings: StreamSettings | ModelSettings | None, *, own: bool) -> tuple[TableDefinition, ...]:
    """The tables of a stream or model.

    Args:
        name: of the stream or model.
        settings: its settings.
        own: it has a table of its own name.
    """
    table, more = (settings.table, settings.tables) if settings is not None else (None, {})
    first = (TableDefinition.of(name, table),) if own else ()
    return (*first, *(TableDefinition.of(other, one) for other, one in more.items()))


@dataclass(frozen=True)
class SourceDefinition:
    """One source of `headwater.yml`.

    Attributes:
        name: its name in the project.
        type: the connector, one of `connectors.CONNECTORS`.
        settings: the connector's own settings, of its settings class; secrets inside are `SecretStr`.
        mirror: land every stream as a lake table.
        streams: settings of single streams, by stream name.
        audit: patterns of the streams whose every change is kept.
        place: where it is defined.
    """

    name: str
    type: str
    settings: BaseModel
    mirror: bool = True
    streams: Mapping[str, StreamSettings] = field(default_factory=dict)
    audit: tuple[str, ...] = ()
    place: Place = field(default_factory=lambda: Place(""))

    def mirrors(self, stream: str) -> bool:
        """Whether there is a lake table of the name of this source's stream `stream` that holds just what the stream
        holds."""
        own = self.streams[stream].table if stream in self.streams else None
        return self._lands(stream) and TableDefinition.of(stream, own).kind_text == "mirror"

    def _lands(self, stream: str) -> bool:
        """Whether a stream becomes a lake table of its name."""
        own = self.streams[stream].mirror if stream in self.streams else None
        return self.mirror if own is None else own

    def tables(self, stream: str) -> tuple[TableDefinition, ...]:
        """The lake tables of a stream."""
        return tables_of(stream, self.streams.get(stream), own=self._lands(stream))


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

    @property
    def tables(self) -> tuple[TableDefinition, ...]:
        """Its lake tables."""
        return tables_of(self.name, self.settings, own=True)


@dataclass(frozen=True)
class SyncDefinition:
    """One sync of `headwater.yml`.

    Attributes:
        name: its name in the project.
        settings: what every sync has.
        own: the destination's settings, of its settings class; secrets inside are `SecretStr`.
        place: where it is defined.
    """

    name: str
    settings: SyncSection
    own: BaseModel
    place: Place = field(default_factory=lambda: Place(""))

    @property
    def type(self) -> str:
        """The destination, one of `destinations.DESTINATIONS`."""
        return self.settings.type

    @property
    def model(self) -> str:
        """The model whose changes it sends."""
        return self.settings.model


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
        syncs: in the order of the file.
        api: settings of its web server; None if none is asked for.
        lineage: the lineage service that is told; None if none is.
        rejects: how much the ledger of rejects may hold.
        checks: what is stated of its streams and models.
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
    syncs: tuple[SyncDefinition, ...] = ()
    api: ApiSettings | None = None
    lineage: LineageSettings | None = None
    rejects: RejectsSettings = field(default_factory=RejectsSettings)
    checks: tuple[Check, ...] = ()

    @property
    def gated(self) -> frozenset[str]:
        """The streams and models of which checks set rows aside."""
        return frozenset(check.node for check in self.checks if check.rejects)

    def place(self, *path: str | int) -> Place:
        """Where the node at `path` of `headwater.yml` stands, or else the nearest one above it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, Place(str(self.folder / "headwater.yml")))
