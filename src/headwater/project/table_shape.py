"""What each kind of table looks like: its columns and key, by those of the stream or model that it is of."""

from __future__ import annotations

import pyarrow as pa

from headwater.lake.table_format import TableSpec
from headwater.project.definition import TableDefinition

TIME = pa.timestamp("us", tz="UTC")

KIND_PROPERTY = "headwater.kind"
"""Table property: what kind of table it was made as."""

OP, WEIGHT_OF, COMMIT, ORDINAL, MOMENT, EPOCH = (
    "change_op", "change_weight", "change_commit", "change_ordinal", "change_time", "change_epoch"
)  # fmt: skip
CHANGE = pa.schema(
    [
        pa.field(OP, pa.string()),
        pa.field(WEIGHT_OF, pa.int32()),
        pa.field(COMMIT, pa.int64()),
        pa.field(ORDINAL, pa.int64()),
        pa.field(MOMENT, TIME),
        pa.field(EPOCH, pa.int64()),
    ]
)
"""Columns of a changelog, before those of the rows."""

FROM, TO, CURRENT, FROM_COMMIT, FROM_EPOCH = (
    "valid_from", "valid_to", "is_current", "valid_from_commit", "valid_from_epoch"
)  # fmt: skip
VALIDITY = pa.schema(
    [
        pa.field(FROM, TIME),
        pa.field(TO, TIME),
        pa.field(CURRENT, pa.bool_()),
        pa.field(FROM_COMMIT, pa.int64()),
        pa.field(FROM_EPOCH, pa.int64()),
    ]
)
"""Columns of a history, after those of the rows."""

DELETED, DELETED_AT = "_is_deleted", "_deleted_at"
DELETION = pa.schema([pa.field(DELETED, pa.bool_()), pa.field(DELETED_AT, TIME)])
"""Columns of a mirror with soft deletes, after those of the rows."""


def added_columns(table: TableDefinition) -> pa.Schema:
    """The columns that a table has besides those of what it is of."""
    if table.kind == "changelog":
        return CHANGE
    if table.kind == "history":
        return VALIDITY
    return DELETION if table.soft else pa.schema([])


def spec_of(table: TableDefinition, columns: pa.Schema, key: tuple[str, ...]) -> TableSpec:
    """The table of rows of these columns and key."""
    more = list(added_columns(table))
    fields = [*more, *columns] if table.kind == "changelog" else [*columns, *more]
    keys = {"changelog": (), "append": (), "history": (*key, FROM_EPOCH, FROM_COMMIT), "mirror": key}
    return TableSpec(
        table.name, pa.schema(fields), keys[table.kind], {KIND_PROPERTY: table.kind_text}, layout=table.layout
    )
