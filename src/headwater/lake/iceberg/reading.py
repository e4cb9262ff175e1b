"""What is asked of a table without writing to it: its rows as of a moment, and its past."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.table import Table

from headwater.change import WEIGHT
from headwater.lake.iceberg.dataset import SnapshotDataset
from headwater.lake.iceberg.handle import TableHandle, storage_errors
from headwater.lake.iceberg.past import difference, resolve, schema_then
from headwater.lake.iceberg.scan import entries_of
from headwater.lake.iceberg.schema import columns_of
from headwater.lake.moment import Moment


def dataset_at(table: Table, at: Moment | None, name: str) -> SnapshotDataset:
    """The rows of a table as of a moment, to be scanned.

    Raises:
        UserError: nothing is kept of that moment.
        StorageFailed: a manifest cannot be read.
    """
    snapshot = resolve(table.metadata, at, name)
    schema = table.schema() if at is None else schema_then(table, snapshot)
    with storage_errors(f"planning the reading of table {name!r}"):
        return SnapshotDataset(table.io, entries_of(table.io, snapshot), schema, columns_of(schema), name)


def difference_of(handle: TableHandle, before: Moment, after: Moment | None) -> pa.Table:
    """What changed in a table between two moments: a delta in its columns as of the later one.

    Raises:
        UserError: nothing is kept of one of them.
        StorageFailed: a file cannot be read.
    """
    table = handle.load()
    old, new = (resolve(table.metadata, at, handle.name) for at in (before, after))
    schema = table.schema() if after is None else schema_then(table, new)
    with storage_errors(f"comparing two snapshots of table {handle.name!r}"):
        delta = difference(table.io, old, new, schema, columns_of(schema))
    from headwater.index.consolidate import consolidate

    return consolidate(delta) if delta.num_rows else delta.select([*columns_of(schema).names, WEIGHT])
