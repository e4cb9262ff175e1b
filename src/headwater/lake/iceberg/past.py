"""A table's past: its snapshots as a list, a moment as one of them, and what differs between two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pyiceberg.io import FileIO
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Operation, Snapshot, ancestors_of

from headwater.change import WEIGHT
from headwater.errors import UserError
from headwater.index.kernels import Longs
from headwater.lake.iceberg.history import EPOCH, PREFIX, epoch_of, is_maintenance, ours, snapshot_at, summary_of
from headwater.lake.iceberg.scan import LiveFile, entries_of, live_files, read_columns
from headwater.lake.moment import Moment, TableSnapshot, time_text

_TOLD = (PREFIX + "source.", PREFIX + "state")
"""Fields of a summary that say where in which log a commit stood."""


def snapshots_of(metadata: TableMetadata) -> list[TableSnapshot]:
    """All snapshots that are kept, newest first: also those that a rollback has left behind."""
    refs: dict[int, list[str]] = {}
    for name, ref in metadata.refs.items():
        if name != MAIN_BRANCH:
            refs.setdefault(ref.snapshot_id, []).append(name)
    newest = sorted(metadata.snapshots, key=lambda one: (one.sequence_number or 0, one.timestamp_ms), reverse=True)
    return [_described(snapshot, metadata, tuple(refs.get(snapshot.snapshot_id, ()))) for snapshot in newest]


def _described(snapshot: Snapshot, metadata: TableMetadata, refs: tuple[str, ...]) -> TableSnapshot:
    summary = summary_of(snapshot)
    positions, equality, rows = (
        int(summary.get(f"total-{what}", 0)) for what in ("position-deletes", "equality-deletes", "records")
    )
    deleted = sum(
        int(summary.get(name, 0)) for name in ("added-position-deletes", "added-equality-deletes", "deleted-records")
    )
    rewritten = any(map(is_maintenance, metadata.snapshots))  # deletes of files that are gone are counted too
    maintenance = is_maintenance(snapshot) or (
        snapshot.summary is not None and snapshot.summary.operation == Operation.REPLACE
    )
    return TableSnapshot(
        snapshot=snapshot.snapshot_id,
        committed_at_us=snapshot.timestamp_ms * 1000,
        epoch=int(summary[EPOCH]) if EPOCH in summary else None,
        properties={n.removeprefix(PREFIX): v for n, v in summary.items() if n.startswith(_TOLD)},
        operation=snapshot.summary.operation.value if snapshot.summary is not None else "",
        rows_added=0 if maintenance else int(summary.get("added-records", 0)),
        rows_deleted=0 if maintenance else deleted,
        rows=None if equality or (positions and rewritten) else rows - positions,
        files=int(summary["total-data-files"]) if "total-data-files" in summary else None,
        maintenance=maintenance,
        current=snapshot.snapshot_id == metadata.current_snapshot_id,
        refs=refs,
    )


def resolve(metadata: TableMetadata, at: Moment | None, table: str) -> Snapshot | None:
    """The snapshot that holds a table as of a moment; None if it had no rows yet.

    Args:
        metadata: of the table.
        at: the moment; None is now.
        table: its name, for messages.

    Raises:
        UserError: there is no such snapshot, or it is not kept any more.
    """
    if at is None:
        return metadata.current_snapshot()
    if at.snapshot is not None:
        return _by_id(metadata, at.snapshot, table)
    if at.ref is not None:
        return _by_ref(metadata, at.ref, table)
    if at.epoch is not None:
        newest = next(ours(metadata), None)
        is_newest = newest is not None and epoch_of(newest) <= at.epoch
        return newest if is_newest else snapshot_at(metadata, at.epoch, table)
    return _by_time(metadata, at.time_us or 0, table)


def _by_id(metadata: TableMetadata, number: int, table: str) -> Snapshot:
    found = metadata.snapshot_by_id(number)
    if found is None:
        raise UserError(
            f"table {table!r} keeps no snapshot {number}",
            hint=f"headwater tables history {table} lists those there are",
        )
    return found


def _by_ref(metadata: TableMetadata, name: str, table: str) -> Snapshot:
    if name not in metadata.refs:
        names = ", ".join(sorted(metadata.refs.keys() - {MAIN_BRANCH})) or "none"
        raise UserError(f"table {table!r} has no tag or branch {name!r}", hint=f"it has: {names}")
    return _by_id(metadata, metadata.refs[name].snapshot_id, table)


def _by_time(metadata: TableMetadata, time_us: int, table: str) -> Snapshot | None:
    """The newest of the line to the present that was committed by then."""
    line = list(ancestors_of(metadata.current_snapshot(), metadata))
    for snapshot in line:
        if snapshot.timestamp_ms * 1000 <= time_us:
            return snapshot
    if not line or line[-1].sequence_number == 1:
        return None
    oldest = time_text(line[-1].timestamp_ms * 1000)
    raise UserError(
        f"table {table!r} is not kept as of {time_text(time_us)}",
        hint=f"it can be read from {oldest} on; headwater tables history {table}",
    )


def schema_then(table: Table, snapshot: Snapshot | None) -> Schema:
    """The columns that a table had when a snapshot was made."""
    if snapshot is None or snapshot.schema_id is None:
        return table.schema()
    return table.schemas().get(snapshot.schema_id, table.schema())


def difference(
    io: FileIO, before: Snapshot | None, after: Snapshot | None, schema: Schema, columns: pa.Schema
) -> pa.Table:
    """What changed between two snapshots, whatever lies between them: a delta of rows by weight.

    Only files that are not in both, and rows that were deleted in between, are read. A file that was rewritten gives
    its rows twice, with opposite weights: consolidate.

    Args:
        io: where files are read.
        before, after: the snapshots.
        schema: the table's, which gives the field ids of `columns`.
        columns: what to read.
    """
    old = {file.path: file for file in live_files(io, entries_of(io, before))}
    new = {file.path: file for file in live_files(io, entries_of(io, after))}
    pieces, weights = [columns.empty_table()], [np.zeros(0, np.int64)]
    for weight, mine, other in ((-1, old, new), (1, new, old)):
        for path, file in mine.items():
            rows = _only_here(io, file, other.get(path), schema, columns)
            if rows is not None:
                pieces.append(rows)
                weights.append(np.full(rows.num_rows, weight, np.int64))
    rows = pa.concat_tables(pieces)
    return rows.append_column(pa.field(WEIGHT, pa.int64(), nullable=False), pa.array(np.concatenate(weights)))


def _only_here(
    io: FileIO, file: LiveFile, other: LiveFile | None, schema: Schema, columns: pa.Schema
) -> pa.Table | None:
    """Rows of a file that are there in this snapshot and not in the other."""
    if other is not None:
        wanted: Longs = np.setdiff1d(other.deleted, file.deleted, assume_unique=True)
        return read_columns(io, file.path, schema, columns).take(pa.array(wanted)) if len(wanted) else None
    rows = read_columns(io, file.path, schema, columns)
    there = np.ones(rows.num_rows, np.bool_)
    there[file.deleted] = False
    return rows.filter(pa.array(there))


def lineage(metadata: TableMetadata) -> Sequence[int]:
    """Ids of the snapshots on the line to the present, newest first."""
    return [snapshot.snapshot_id for snapshot in ancestors_of(metadata.current_snapshot(), metadata)]
