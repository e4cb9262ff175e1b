"""What a view's checkpoint holds besides its operators' state: `view/manifest.json` and the rejects not yet taken."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from headwater.engine.accounting import Counts, Ledger
from headwater.engine.state.checkpoint_files import (
    StateFile,
    corrupt,
    read_batch,
    read_manifest,
    storage,
    write_batch,
    write_manifest,
)
from headwater.errors import UserError
from headwater.sql.fast_paths import Options

FORMAT = 2


def fingerprint(
    sql: str,
    inputs: Mapping[str, pa.Schema],
    key: Sequence[str],
    options: Options,
    lateness: timedelta,
    late: str | None,
) -> str:
    """Says whether state belongs to this SELECT: a hash over all that gives it its meaning, and the format's
    version."""
    schemas = [f"{name}:{[(f.name, str(f.type)) for f in schema]}" for name, schema in sorted(inputs.items())]
    parts = [str(FORMAT), sql, *schemas, ",".join(key), options.text, str(lateness), str(late)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make(folder: Path) -> None:
    """Creates the folder.

    Raises:
        StorageFailed: it cannot be created.
    """
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)


def save(folder: Path, print_: str, watermarks: Mapping[str, int], ledger: Ledger) -> None:
    """Writes the view's own part, last of all: with it the checkpoint is complete.

    Raises:
        StorageFailed: the folder is of no use.
    """
    own = folder / "view"
    with storage(own):
        own.mkdir(exist_ok=True)
        file = write_batch(own, "rejects.arrow", ledger.pending())
        write_manifest(own, {
            "format": FORMAT,
            "fingerprint": print_,
            "watermarks": dict(watermarks.items()),
            "counts": dict(asdict(ledger.counts).items()),
            "rejects": {"name": file.name, "size": file.size, "sha256": file.sha256},
        })  # fmt: skip


def load(folder: Path, print_: str, ledger: Ledger) -> dict[str, int]:
    """Reads the view's own part into the ledger; returns the watermarks.

    Raises:
        UserError: the checkpoint is of another view.
        CorruptCheckpoint: a file is missing, or is not as it was written.
    """
    own = folder / "view"
    body = read_manifest(own)
    if body.get("fingerprint") != print_:
        hint = "headwater plan shows what changed; a changed model is rebuilt from the log"
        raise UserError(f"the checkpoint {folder} is of other SQL, inputs or settings than this view", hint=hint)
    counts, watermarks, rejects = body["counts"], body["watermarks"], body["rejects"]
    if not (isinstance(counts, dict) and isinstance(watermarks, dict) and isinstance(rejects, dict)):
        raise corrupt(own, "its manifest has another form")
    ledger.counts = Counts(**{name: int(str(count)) for name, count in counts.items()})
    file = StateFile(str(rejects["name"]), int(str(rejects["size"])), str(rejects["sha256"]))
    ledger.rejects = read_batch(own, file).to_pylist()
    return {stream: int(str(us)) for stream, us in watermarks.items()}
