"""Checkpoints of chunked rows: what is written is what changed.

A chunk is written once, as its rows and their weights at that time (0: dead). Later changes of weights come in
*patches*, (chunk, row, weight) with the newest last; patches merge geometrically, like the chunks themselves. Files
that the previous checkpoint has are linked, not written.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, delta_schema
from headwater.engine.state.checkpoint_files import (
    Json,
    StateFile,
    corrupt,
    read_batch,
    read_manifest,
    share,
    storage,
    write_batch,
    write_manifest,
)
from headwater.engine.state.chunks import Chunk, Chunks
from headwater.index.kernels import Longs

_FORMAT = 1
_PATCH = pa.schema([("chunk", pa.string()), ("row", pa.int64()), ("weight", pa.int64())])
WeightsOf = Callable[[Chunk], Longs]


@dataclass(frozen=True)
class RowCheckpoint:
    """What a checkpoint folder holds.

    Attributes:
        name: unique among all checkpoints; changes are recorded relative to the checkpoint of this name.
        columns: schema of the rows.
        key: names of the key columns.
        chunks: the chunks' files by chunk name, oldest first.
        patches: files of patches, oldest first.
    """

    name: str
    columns: pa.Schema
    key: tuple[str, ...]
    chunks: dict[str, StateFile]
    patches: tuple[StateFile, ...]


def load_manifest(folder: Path) -> RowCheckpoint:
    """Reads what a folder holds.

    Raises:
        CorruptCheckpoint: there is no readable checkpoint of rows in it.
    """
    body = read_manifest(folder)
    if body.get("format") != _FORMAT:
        raise corrupt(folder, f"it has the format {body.get('format')!r}, this version reads {_FORMAT}")
    chunks = cast("Sequence[dict[str, str | int]]", body["chunks"])
    patches = cast("Sequence[dict[str, str | int]]", body["patches"])
    schema = base64.b64decode(cast(str, body["columns"]))
    return RowCheckpoint(
        name=cast(str, body["name"]),
        columns=pa.ipc.read_schema(pa.py_buffer(schema)),
        key=tuple(cast("list[str]", body["key"])),
        chunks={str(file["name"]).partition(".")[0]: _state_file(file) for file in chunks},
        patches=tuple(_state_file(file) for file in patches),
    )


def _state_file(fields: dict[str, str | int]) -> StateFile:
    return StateFile(str(fields["name"]), int(fields["size"]), str(fields["sha256"]))


def save(
    folder: Path, chunks: Chunks, key: tuple[str, ...], weights_of: WeightsOf, previous: Path | None, base: str
) -> str:
    """Writes a checkpoint into `folder`, which is made if need be.

    Args:
        folder: where to; nothing in it is of use if this fails.
        chunks: the rows; their `changed` marks are relative to the checkpoint named `base`.
        key: names of the key columns.
        weights_of: the weights of a chunk's rows, 0 for the dead.
        previous: a checkpoint whose files may be linked; files are written anew unless it is `base`.
        base: name of the last checkpoint taken or restored; empty if none.

    Returns:
        The new checkpoint's name. The caller clears the marks.

    Raises:
        StorageFailed: the disk is full or broken.
        CorruptCheckpoint: `previous` cannot be read.
    """
    old = load_manifest(previous) if previous else None
    if old is None or previous is None or old.name != base:
        old, previous = RowCheckpoint("", chunks.columns, key, {}, ()), folder
    with storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for chunk in chunks:
            files[chunk.name] = old.chunks.get(chunk.name) or _write_chunk(folder, chunk, weights_of)
            if chunk.name in old.chunks:
                share(previous, folder, files[chunk.name])
        patches = _write_patches(folder, previous, old, chunks, weights_of)
        saved = RowCheckpoint(uuid.uuid4().hex, chunks.columns, key, files, patches)
        write_manifest(folder, _body(saved))
    return saved.name


def _body(saved: RowCheckpoint) -> Json:
    return {
        "format": _FORMAT,
        "name": saved.name,
        "columns": base64.b64encode(saved.columns.serialize()).decode(),
        "key": list(saved.key),
        "chunks": [asdict(file) for file in saved.chunks.values()],
        "patches": [asdict(file) for file in saved.patches],
    }


def _write_chunk(folder: Path, chunk: Chunk, weights_of: WeightsOf) -> StateFile:
    arrays = [*chunk.rows.columns, pa.array(weights_of(chunk))]
    batch = pa.RecordBatch.from_arrays(arrays, schema=delta_schema(chunk.rows.schema))
    return write_batch(folder, f"{chunk.name}.arrow", batch)


def _write_patches(
    folder: Path, previous: Path, old: RowCheckpoint, chunks: Chunks, weights_of: WeightsOf
) -> tuple[StateFile, ...]:
    """Keeps the old patches and adds one for the rows changed since, merged with the last ones not twice its size."""
    patched = {chunk.name: chunk for chunk in chunks if chunk.name in old.chunks}
    changed = {name: _changed(chunk) for name, chunk in patched.items()}
    kept = list(old.patches) if patched else []
    size = sum(len(rows) for rows in changed.values())
    while kept and size:
        last = read_batch(previous, kept[-1])
        if len(last) >= 2 * size:
            break
        kept.pop()
        changed = _with_patch(changed, last)
        size = sum(len(rows) for rows in changed.values())
    for file in kept:
        share(previous, folder, file)
    if not size:
        return tuple(kept)
    return (
        *kept,
        _write_patch(folder, {name: (rows, weights_of(patched[name])[rows]) for name, rows in changed.items()}),
    )


def _changed(chunk: Chunk) -> Longs:
    return np.zeros(0, np.int64) if chunk.changed is None else np.flatnonzero(chunk.changed)


def _with_patch(changed: dict[str, Longs], patch: pa.RecordBatch) -> dict[str, Longs]:
    """The rows changed, and those of a patch where their chunks are still there."""
    rows = by_chunk(patch)
    return {name: np.union1d(at, rows[name][0]) if name in rows else at for name, at in changed.items()}


def _write_patch(folder: Path, changes: dict[str, tuple[Longs, Longs]]) -> StateFile:
    chunk = pa.concat_arrays([pa.repeat(name, len(rows)) for name, (rows, _) in changes.items()])
    rows, weights = (np.concatenate([change[i] for change in changes.values()]) for i in (0, 1))
    batch = pa.RecordBatch.from_arrays([chunk, pa.array(rows), pa.array(weights)], schema=_PATCH)
    return write_batch(folder, f"{uuid.uuid4().hex}.patch.arrow", batch)


def by_chunk(patch: pa.RecordBatch) -> dict[str, tuple[Longs, Longs]]:
    """A patch's rows and weights by chunk name."""
    codes = patch.column("chunk").dictionary_encode()
    numbers, rows, weights = (a.to_numpy() for a in (codes.indices, patch.column("row"), patch.column("weight")))
    return {name: (rows[numbers == i], weights[numbers == i]) for i, name in enumerate(codes.dictionary.to_pylist())}


def load_chunks(folder: Path, saved: RowCheckpoint) -> list[tuple[str, pa.RecordBatch, Longs]]:
    """Every chunk's name, rows and present weights (0: dead), oldest first.

    Raises:
        CorruptCheckpoint: a file is missing or not as it was written.
    """
    found = {}
    for name, file in saved.chunks.items():
        batch = read_batch(folder, file)
        weights = batch.column(WEIGHT).to_numpy().copy()
        found[name] = (batch.drop_columns([WEIGHT]), weights)
    for file in saved.patches:
        for name, (rows, weights) in by_chunk(read_batch(folder, file)).items():
            if name in found:
                found[name][1][rows] = weights
    return [(name, rows.cast(saved.columns), weights) for name, (rows, weights) in found.items()]
