"""What a view's checkpoint holds besides its operators' state: `view/manifest.json` and the rejects not yet taken."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from headwater.engine.accounting import Counts, Ledger
from headwater.engine.crew import Crew
from headwater.engine.settings import Arguments, Settings, read_settings
from headwater.engine.state.checkpoint_files import (
    Json,
    StateFile,
    corrupt,
    read_batch,
    read_manifest,
    storage,
    write_batch,
    write_manifest,
)
from headwater.engine.watermark import Stored as Watermarks
from headwater.errors import UserError

_HINT = "headwater plan shows what changed; a changed model is rebuilt from the log"

FORMAT = 5


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of the view that it is of.

    Attributes:
        sql: the SELECT.
        inputs: the columns of each stream.
        settings: those that it had.
        watermarks: how far event time was.
        print: `fingerprint` of the view.
    """

    sql: str
    inputs: Mapping[str, pa.Schema]
    settings: Arguments
    watermarks: Watermarks
    print: str

    @property
    def workers(self) -> int:
        """How many workers' folders there are."""
        return self.settings["threads"]


def fingerprint(sql: str, inputs: Mapping[str, pa.Schema], key: Sequence[str], settings: Settings) -> str:
    """Says whether state belongs to this SELECT: a hash over all that gives it its meaning, and the format's
    version."""
    schemas = [f"{name}:{[(f.name, str(f.type)) for f in schema]}" for name, schema in sorted(inputs.items())]
    parts = [str(FORMAT), sql, *schemas, ",".join(key), settings.text]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make(folder: Path) -> None:
    """Creates the folder.

    Raises:
        StorageFailed: it cannot be created.
    """
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)


def save(folder: Path, header: Header, settings: Settings, crew: Crew) -> None:
    """Writes the view's own part, last of all: with it the checkpoint is complete.

    Raises:
        StorageFailed: the folder is of no use.
    """
    own = folder / "view"
    with storage(own):
        own.mkdir(exist_ok=True)
        file = write_batch(own, "rejects.arrow", crew.pending_rejects())
        write_manifest(own, {
            "format": FORMAT,
            "fingerprint": header.print,
            "sql": header.sql,
            "inputs": {name: _schema_text(schema) for name, schema in header.inputs.items()},
            "settings": dict(settings.stored().items()),
            "watermarks": json.dumps(header.watermarks),
            "counts": dict(asdict(crew.counts).items()),
            "rejects": {"name": file.name, "size": file.size, "sha256": file.sha256},
        })  # fmt: skip


def read_header(folder: Path) -> Header:
    """Reads what view a checkpoint is of.

    Raises:
        UserError: it was written by another version of Headwater.
        CorruptCheckpoint: a file is missing, or is not as it was written.
    """
    body = read_manifest(folder / "view")
    if body.get("format") != FORMAT:
        raise UserError(
            f"the checkpoint {folder} has a format that this version of Headwater does not read", hint=_HINT
        )
    inputs, settings = (_mapping(folder, body, part) for part in ("inputs", "settings"))
    return Header(
        str(body["sql"]),
        {name: _read_schema(str(text)) for name, text in inputs.items()},
        read_settings(settings),
        json.loads(str(body["watermarks"])),
        str(body["fingerprint"]),
    )


def load(folder: Path, ledger: Ledger) -> None:
    """Reads the counts and rejects into a ledger.

    Raises:
        CorruptCheckpoint: a file is missing, or is not as it was written.
    """
    own = folder / "view"
    body = read_manifest(own)
    counts, rejects = _mapping(folder, body, "counts"), _mapping(folder, body, "rejects")
    ledger.counts = Counts(**{name: int(str(count)) for name, count in counts.items()})
    file = StateFile(str(rejects["name"]), int(str(rejects["size"])), str(rejects["sha256"]))
    ledger.rejects = read_batch(own, file).to_pylist()


def require(header: Header, folder: Path, print_: str) -> None:
    """Makes sure that a checkpoint is of the view with this fingerprint.

    Raises:
        UserError: it is of another.
    """
    if header.print != print_:
        raise UserError(f"the checkpoint {folder} is of other SQL, inputs or settings than this view", hint=_HINT)


def _mapping(folder: Path, body: Json, part: str) -> Mapping[str, object]:
    found = body.get(part)
    if not isinstance(found, dict):
        raise corrupt(folder / "view", "its manifest has another form")
    return found


def _schema_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.remove_metadata().serialize()).decode()


def _read_schema(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
