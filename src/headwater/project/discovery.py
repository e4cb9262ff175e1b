"""Remembers which streams the sources had when they were last asked: `streams.json` in the state folder.

`{"v": 1, "streams": [{"name", "key", "changelog", "columns"}]}`, where `columns` is the Arrow schema as an IPC message
in base64. So a project can be checked while its sources are out of reach.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from headwater.clock import Clock
from headwater.errors import HeadwaterError, SourceStopped, SourceUnavailable, UserError
from headwater.project.connectors import make_source, streams_of
from headwater.project.definition import Project
from headwater.project.state_file import write_atomically
from headwater.schema import Changelog, StreamSchema

if TYPE_CHECKING:
    from headwater.registry.store import SchemaStore

FILE = "streams.json"


class _Stream(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    key: tuple[str, ...]
    changelog: Changelog
    columns: str


class _Streams(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    v: int
    streams: tuple[_Stream, ...]


def save_streams(folder: Path, streams: Sequence[StreamSchema]) -> None:
    """Writes what was discovered into the state folder `folder`, whole or not at all.

    Raises:
        StorageFailed: it could not be written.
    """
    entries = [
        {
            "name": stream.name,
            "key": list(stream.key),
            "changelog": stream.changelog,
            "columns": base64.b64encode(stream.columns.serialize().to_pybytes()).decode(),
        }
        for stream in streams
    ]
    write_atomically(folder / FILE, json.dumps({"v": 1, "streams": entries}, indent=1))


def load_streams(folder: Path) -> tuple[StreamSchema, ...]:
    """What was last discovered; empty if nothing was yet.

    Raises:
        UserError: the file is there and cannot be understood.
    """
    path = folder / FILE
    if not path.exists():
        return ()
    try:
        found = _Streams.model_validate_json(path.read_bytes())
        return tuple(_stream(entry) for entry in found.streams)
    except (OSError, ValidationError, binascii.Error, pa.ArrowException, ValueError) as error:
        hint = f"remove {path}: the next run asks the sources again"
        raise UserError(f"{path} cannot be understood", hint=hint) from error


def _stream(entry: _Stream) -> StreamSchema:
    columns = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(entry.columns, validate=True)))
    return StreamSchema(entry.name, columns, entry.key, entry.changelog)


@dataclass(frozen=True)
class Answers:
    """What the sources said when they were asked.

    Attributes:
        streams: their streams, those of all that answered.
        intentions: what opening each source will do, a sentence each, by source name.
        errors: why a source did not answer, by source name.
    """

    streams: tuple[StreamSchema, ...]
    intentions: Mapping[str, Sequence[str]]
    errors: Mapping[str, HeadwaterError]

    @property
    def complete(self) -> bool:
        """Every source answered."""
        return not self.errors


def state_identity(state: Path) -> str:
    """What the runtime wrote to tell this state folder from others; empty while it never ran."""
    path = state / "identity"
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


@contextmanager
def _schemas(state: Path) -> Iterator[Callable[[], SchemaStore | None]]:
    """The schemas learnt so far, for sources that ask for them; closed at the end."""
    opened: list[SchemaStore] = []

    def schemas() -> SchemaStore | None:
        from headwater.registry.store import FILE as SCHEMAS
        from headwater.registry.store import SchemaStore

        if not opened and (state / SCHEMAS).exists():
            opened.append(SchemaStore(state))
        return opened[0] if opened else None

    try:
        yield schemas
    finally:
        for store in opened:
            store.close()


def ask_sources(project: Project, clock: Clock) -> Answers:
    """Asks every source of a project what opening it will do and which streams it feeds. Nothing is made or changed."""
    identity = state_identity(project.state)
    streams: list[StreamSchema] = []
    intentions: dict[str, Sequence[str]] = {}
    errors: dict[str, HeadwaterError] = {}
    with _schemas(project.state) as schemas:
        for definition in project.sources:
            try:
                source = make_source(definition, project.name, identity, clock, schemas=schemas)
                intentions[definition.name] = source.check()
                streams += streams_of(definition, source)
            except (SourceUnavailable, SourceStopped) as error:
                errors[definition.name] = error
    return Answers(tuple(streams), intentions, errors)
