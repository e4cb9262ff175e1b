"""What was last run: `project.json` in the state folder, written by the runtime and read by `plan`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.errors import UserError
from headwater.project.definition import Project, SourceDefinition, TableDefinition
from headwater.project.discovery import load_streams
from headwater.project.state_file import write_atomically
from headwater.schema import StreamSchema

FILE = "project.json"


class RecordedModel(BaseModel):
    """A model that ran."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fingerprint: str = Field(description="`Model.fingerprint`.")
    inputs: tuple[str, ...] = Field(default=(), description="Streams and models that it read.")


class RecordedStream(BaseModel):
    """A stream that was captured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[tuple[str, str], ...] = Field(description="Name and Arrow type of each column, in order.")
    key: tuple[str, ...] = Field(default=(), description="Names of its key columns.")


class RecordedTable(BaseModel):
    """A lake table that was written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: tuple[str, ...] = Field(default=(), description="Names of its declared key columns.")
    of: str = Field(description="stream or model: whose content it holds.")
    kind: str = Field(default="mirror", description="What it keeps of it.")
    layout: str = Field(default="none", description="How its files lie.")
    source: str = Field(default="", description="Name of the stream or model; its own if empty.")


class Recorded(BaseModel):
    """What was last run. No secrets: of a source only a fingerprint is kept, and that leaves secrets out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    v: int = Field(default=1, description="Version of this form.")
    name: str = Field(default="", description="Name of the project.")
    sources: dict[str, str] = Field(default_factory=dict, description="Fingerprint of each source's settings.")
    streams: dict[str, RecordedStream] = Field(default_factory=dict, description="By stream name.")
    models: dict[str, RecordedModel] = Field(default_factory=dict, description="By model name.")
    tables: dict[str, RecordedTable] = Field(default_factory=dict, description="By table name.")
    settings: dict[str, str] = Field(
        default_factory=dict, description="Fingerprint of each other section of headwater.yml; none by older versions."
    )


def record(project: Project, streams: Sequence[StreamSchema] | None = None) -> dict[str, object]:
    """What `save_recorded` writes: JSON that stands for the project as it is now.

    Args:
        project: the project.
        streams: its streams; None takes those last discovered.
    """
    return describe(project, load_streams(project.state) if streams is None else streams).model_dump(mode="json")


def describe(project: Project, streams: Sequence[StreamSchema]) -> Recorded:
    """The project as it would be recorded if it ran now."""
    tables = {
        table.name: _table(table, stream.name, stream.key, "stream")
        for stream in streams
        for table in _tables_of(project, stream.name)
    }
    for model in project.models:
        tables |= {one.name: _table(one, model.name, model.settings.key, "model") for one in model.tables}
    return Recorded(
        name=project.name,
        sources={source.name: source_fingerprint(source) for source in project.sources},
        streams={stream.name: _stream(stream) for stream in streams},
        models={m.name: RecordedModel(fingerprint=m.fingerprint, inputs=m.inputs) for m in project.models},
        tables=tables,
        settings=settings_fingerprints(project),
    )


def _tables_of(project: Project, stream: str) -> tuple[TableDefinition, ...]:
    return next((source.tables(stream) for source in project.sources if source.tables(stream)), ())


def _table(table: TableDefinition, source: str, key: tuple[str, ...], of: str) -> RecordedTable:
    named = "" if source == table.name else source
    return RecordedTable(key=key, of=of, kind=table.kind_text, layout=str(table.layout), source=named)


def save_recorded(state: Path, recorded: dict[str, object]) -> None:
    """Writes what `record` made into the state folder, whole or not at all.

    Raises:
        StorageFailed: it could not be written.
    """
    write_atomically(state / FILE, json.dumps(recorded, indent=1, sort_keys=True))


def load_recorded(state: Path) -> Recorded | None:
    """What was last run from the state folder; None if nothing was yet.

    Raises:
        UserError: the file is there and cannot be understood.
    """
    path = state / FILE
    if not path.exists():
        return None
    try:
        return Recorded.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        hint = f"was the state written by a newer Headwater? To start over, move {state} away"
        raise UserError(f"{path} cannot be understood", hint=hint) from error


def source_fingerprint(source: SourceDefinition) -> str:
    """Stands for a source's settings; secrets are left out, so that a new password changes nothing."""
    streams = {
        name: settings.model_dump(mode="json", exclude={"mirror", "table", "tables"})
        for name, settings in source.streams.items()
    }
    settings = source.settings.model_dump(mode="json")
    return _digest({"type": source.type, "settings": settings, "streams": streams})


def settings_fingerprints(project: Project) -> dict[str, str]:
    """Stands for the sections of `headwater.yml` that say how a project runs, as `source_fingerprint` does for a
    source; paths are counted from its folder. Sections that are left out have none."""
    found: dict[str, object] = {
        name: section.model_dump(mode="json")
        for name in ("run", "lake", "maintenance", "rejects", "api", "lineage")
        if (section := getattr(project, name)) is not None
    }
    for sync in project.syncs:
        found[f"syncs: {sync.name}"] = [sync.settings.model_dump(mode="json"), sync.own.model_dump(mode="json")]
    return {name: _digest(_from_folder(section, project.folder)) for name, section in found.items()}


def _from_folder(value: object, folder: Path) -> object:
    """The same with the project's folder left out at the beginning of each path, however the folder was named."""
    if isinstance(value, dict):
        return {key: _from_folder(one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [_from_folder(one, folder) for one in value]
    if isinstance(value, str):
        return value.removeprefix(f"{folder.absolute()}/").removeprefix(f"{folder}/")
    return value


def _stream(stream: StreamSchema) -> RecordedStream:
    return RecordedStream(columns=tuple((field.name, str(field.type)) for field in stream.columns), key=stream.key)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
