"""What a delta comes to in a table, and its files: the part of a commit that is written before the catalog is asked."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.manifest import DataFile

from headwater import failpoint
from headwater.change import WEIGHT
from headwater.errors import InvariantBroken
from headwater.lake.columns import cast_rows
from headwater.lake.consolidate import NetChange, check_one_row_per_key, net_change, weights_of
from headwater.lake.iceberg.commit_plan import CommitPlan
from headwater.lake.iceberg.data_file import FileWriter, WrittenFile
from headwater.lake.table_format import TableSpec


def key_columns(spec: TableSpec) -> pa.Schema:
    """The columns that tell a table's rows apart: its key's, or all."""
    return pa.schema([spec.columns.field(name) for name in spec.key]) if spec.key else spec.columns


def net_of(delta: pa.Table, spec: TableSpec) -> NetChange:
    """What a delta adds and removes in a table, in lake types.

    Raises:
        InvariantBroken: it has columns that the table lacks, or a key more than once.
    """
    unknown = set(delta.column_names) - {WEIGHT, *spec.columns.names}
    if unknown:
        raise InvariantBroken(f"table {spec.name!r}: the delta has columns the table lacks: {sorted(unknown)}")
    net = net_change(cast_rows(delta, spec.columns, spec.name), weights_of(delta))
    if spec.key:
        check_one_row_per_key(net, key_columns(spec), spec.name)
    return net


def write_part(files: FileWriter, plan: CommitPlan) -> tuple[list[WrittenFile], list[DataFile]]:
    """Writes a plan's data files and position delete files.

    Raises:
        OSError: one could not be written; all that were begun are in `files.written`.
    """
    failpoint.reach("lake.commit.before_data_file")
    written = files.write_rows(plan.rows) if plan.added.num_rows else []
    deletes: list[DataFile] = []
    if plan.index is not None and plan.planned is not None and len(plan.planned.taken):
        taken = plan.planned.taken
        deletes = files.write_deletes(plan.index.homes, taken.files, taken.rows)
    failpoint.reach("lake.commit.after_data_file")
    return written, deletes
