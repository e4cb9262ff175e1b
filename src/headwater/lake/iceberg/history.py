"""A table's past as our commits left it: which snapshot holds which epoch, and what each of them changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFileContent, ManifestEntry, ManifestEntryStatus
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot, ancestors_of

from headwater.change import WEIGHT
from headwater.errors import InvariantBroken, UserError
from headwater.lake.iceberg.scan import LiveFile, live_files, positions_by_path, read_columns, read_file
from headwater.lake.table_format import Committed, TableChange

PREFIX = "headwater."
EPOCH, WRITER = PREFIX + "epoch", PREFIX + "writer"
"""Fields of a snapshot's summary. What a commit was given as properties stands beside them under the same prefix."""

MAINTENANCE = PREFIX + "maintenance"
"""Field of the summary of a snapshot that rewrote files and changed no row; its value says what was done. The other
fields repeat those of the commit before it."""

NOTE = PREFIX + "committed"
"""Table property that repeats those fields of the last commit as JSON, set by the commit itself."""


HELD = PREFIX + "held"
"""Table property: why the pipeline is to leave the table alone, set by a rollback in the same commit."""


def summary_fields(epoch: int, writer: str, properties: Mapping[str, str]) -> dict[str, str]:
    """What a commit of ours puts into its snapshot's summary.

    Raises:
        InvariantBroken: a property bears a name that is ours.
    """
    if taken := {EPOCH, WRITER, MAINTENANCE} & {PREFIX + name for name in properties}:
        raise InvariantBroken(f"properties of a commit cannot be named as {sorted(taken)} is")
    return {**{PREFIX + name: value for name, value in properties.items()}, EPOCH: str(epoch), WRITER: writer}


def maintenance_fields(metadata: TableMetadata, kind: str) -> dict[str, str]:
    """What a snapshot of maintenance puts into its summary: all that our last commit did, and what was done."""
    newest = next(ours(metadata), None)
    noted = json.loads(metadata.properties.get(NOTE, "{}")) if newest is None else summary_of(newest)
    return {**{name: value for name, value in noted.items() if name.startswith(PREFIX)}, MAINTENANCE: kind}


def summary_of(snapshot: Snapshot) -> Mapping[str, str]:
    """A snapshot's summary, empty if it has none."""
    return snapshot.summary.additional_properties if snapshot.summary is not None else {}


def ours(metadata: TableMetadata) -> Iterator[Snapshot]:
    """Snapshots that Headwater committed, newest first; those of other writers in between are passed over."""
    for snapshot in ancestors_of(metadata.current_snapshot(), metadata):
        if EPOCH in summary_of(snapshot):
            yield snapshot


def repeated(metadata: TableMetadata, wanted: Snapshot) -> bool:
    """Whether the table got the commit `wanted` from someone else since its parent: the same epoch with the same
    properties. An epoch's plan outlives a crash, so it is one that an earlier run sent and heard no answer of. Where a
    commit was given no properties, nothing tells it from a stranger's.
    """
    fields = _told(wanted)
    for snapshot in ancestors_of(metadata.current_snapshot(), metadata):
        if snapshot.snapshot_id == wanted.parent_snapshot_id:
            break
        if len(fields) > 1 and not is_maintenance(snapshot) and _told(snapshot) == fields:
            return True
    return False


def _told(snapshot: Snapshot) -> dict[str, str]:
    """What our fields of a snapshot say, but for who wrote it."""
    return {name: value for name, value in summary_of(snapshot).items() if name.startswith(PREFIX) and name != WRITER}


def is_maintenance(snapshot: Snapshot) -> bool:
    """Whether a snapshot of ours holds the same rows as the one before it, in other files."""
    return MAINTENANCE in summary_of(snapshot)


def epoch_of(snapshot: Snapshot) -> int:
    """The epoch of a snapshot of ours."""
    return int(summary_of(snapshot)[EPOCH])


def last_committed(metadata: TableMetadata) -> Committed | None:
    """What the newest commit of ours says; if another engine has expired its snapshot, or the table was rolled back
    and is held since, what it noted in the table."""
    newest, noted = next(ours(metadata), None), metadata.properties.get(NOTE)
    held = metadata.properties.get(HELD)
    if newest is not None and (noted is None or held is None):
        return _committed(summary_of(newest), held)
    return _committed(json.loads(noted), held) if noted is not None else None


def _committed(fields: Mapping[str, str], held: str | None) -> Committed:
    given = {name.removeprefix(PREFIX): value for name, value in fields.items() if name.startswith(PREFIX)}
    epoch = int(given.pop(EPOCH.removeprefix(PREFIX)))
    for name in (WRITER, MAINTENANCE):
        given.pop(name.removeprefix(PREFIX), None)
    return Committed(epoch, given, held)


def snapshot_at(metadata: TableMetadata, epoch: int, table: str) -> Snapshot | None:
    """The snapshot that holds the table as of the end of `epoch`; None if the table's very first commit is later.

    Raises:
        UserError: none is kept that is so old.
    """
    kept = list(ours(metadata))
    reached = [snapshot for snapshot in kept if epoch_of(snapshot) <= epoch]
    if reached:  # the commit itself if it is kept, not what maintenance and other writers made of it later
        return [snapshot for snapshot in reached if epoch_of(snapshot) == epoch_of(reached[0])][-1]
    if not metadata.snapshots or (kept and kept[-1].sequence_number == 1):
        return None
    span = f"epochs {epoch_of(kept[-1])} to {epoch_of(kept[0])}" if kept else "no epoch"
    raise UserError(
        f"table {table!r}: no table snapshot of epoch {epoch} is kept",
        hint=f"{span} can be read; the table property headwater.snapshots.keep says how many are kept",
    )


def changes_after(io: FileIO, metadata: TableMetadata, columns: pa.Schema, after_epoch: int) -> Iterator[TableChange]:
    """What each commit of ours after an epoch changed, oldest first."""
    newer = [s for s in ours(metadata) if epoch_of(s) > after_epoch and not is_maintenance(s)]
    for snapshot in reversed(newer):
        rows = _delta(io, metadata.schema(), columns, snapshot)
        yield TableChange(epoch_of(snapshot), snapshot.timestamp_ms * 1000, rows)


def _delta(io: FileIO, schema: Schema, columns: pa.Schema, snapshot: Snapshot) -> pa.Table:
    """Removed rows, then added ones, as one commit made them; rows that it added and took back are in neither."""
    changed = _own_entries(io, snapshot)
    added = [e for e in changed if e.status == ManifestEntryStatus.ADDED]
    dropped = [e for e in changed if e.status == ManifestEntryStatus.DELETED]
    new_deletes = [e.data_file for e in added if e.data_file.content != DataFileContent.DATA]
    pieces = [read_file(io, file, schema, columns).rows for file in live_files(io, dropped)]
    deleted, nothing = positions_by_path(io, new_deletes), np.zeros(0, np.int64)
    files = [e.data_file.file_path for e in added if e.data_file.content == DataFileContent.DATA]
    new = [LiveFile(path, deleted.pop(path, nothing)) for path in files]
    pieces += [read_columns(io, path, schema, columns).take(positions) for path, positions in deleted.items()]
    removed = sum(piece.num_rows for piece in pieces)
    pieces += [read_file(io, file, schema, columns).rows for file in new]
    rows = pa.concat_tables([columns.empty_table(), *pieces])
    weights = np.ones(rows.num_rows, np.int64)
    weights[:removed] = -1
    return rows.append_column(pa.field(WEIGHT, pa.int64(), nullable=False), pa.array(weights))


def _own_entries(io: FileIO, snapshot: Snapshot) -> list[ManifestEntry]:
    """Entries that this snapshot added or dropped; merged manifests also hold older ones."""
    return [
        entry
        for manifest in snapshot.manifests(io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=False)
        if entry.snapshot_id == snapshot.snapshot_id and entry.status != ManifestEntryStatus.EXISTING
    ]
