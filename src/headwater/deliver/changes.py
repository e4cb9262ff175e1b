"""What a delta means to a destination: at most one record per key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.change import WEIGHT
from headwater.deliver.destination import Op
from headwater.index.consolidate import consolidate
from headwater.index.key_index import group

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Changes:
    """Records to be handed to an outbox.

    Attributes:
        rows: the model's columns; of a DELETE the row that goes.
        op: uint8 [row], `Op`.
        before: struct of the model's columns [row], null where there was no row or it is not known; None if nobody
            wants it.
        retracted: rows that went from a model without a key, which no record can say.
    """

    rows: pa.Table
    op: NDArray[np.uint8]
    before: pa.StructArray | None = None
    retracted: int = 0

    def __len__(self) -> int:
        return len(self.op)


def changes_of(delta: pa.Table, key: tuple[str, ...], *, with_before: bool = False) -> Changes:
    """The records of a delta (columns and int64 `_weight`), in the order of its rows. What cancels is gone."""
    delta = _decoded(delta)
    if not delta.num_rows:
        return Changes(delta.drop_columns([WEIGHT]), np.zeros(0, np.uint8))
    net = consolidate(delta)
    weights = net.column(WEIGHT).to_numpy()
    rows = net.drop_columns([WEIGHT])
    if not key:
        return _inserted(rows, weights)
    return _keyed(rows, weights, key, with_before)


def all_rows(rows: pa.Table, key: tuple[str, ...]) -> Changes:
    """A record for every row that there is."""
    rows = _decoded(rows)
    return Changes(rows, np.full(rows.num_rows, Op.UPSERT if key else Op.INSERT, np.uint8))


def difference(former: pa.Table, rows: pa.Table, key: tuple[str, ...], *, with_before: bool = False) -> Changes:
    """The records that lead from `former` to `rows`, which has the columns."""
    former = aligned(former, rows.schema)
    weighted = [
        table.append_column(pa.field(WEIGHT, pa.int64()), pa.array(np.full(table.num_rows, weight, np.int64)))
        for table, weight in ((former, -1), (rows, 1))
    ]
    return changes_of(pa.concat_tables(weighted), key, with_before=with_before)


def aligned(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """The rows in these columns: null in those that they lack. A value that does not fit its column's type is null too:
    its row counts as another one."""
    arrays = []
    for field in columns:
        if field.name not in rows.column_names:
            arrays.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
            continue
        column = rows.column(field.name)
        try:
            arrays.append(column.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            arrays.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
    return pa.Table.from_arrays(arrays, schema=pa.schema([field.with_nullable(True) for field in columns]))


def as_struct(rows: pa.Table, missing: NDArray[np.bool_] | None = None) -> pa.StructArray:
    """Rows as one array; null where `missing`."""
    columns = [_one(column) for column in rows.columns]
    fields = [field.with_nullable(True) for field in rows.schema]
    mask = None if missing is None else pa.array(missing)
    if not columns:
        return pa.array([{}] * rows.num_rows, pa.struct([]))
    return pa.StructArray.from_arrays(columns, fields=fields, mask=mask)


def _keyed(rows: pa.Table, weights: Places, key: tuple[str, ...], with_before: bool) -> Changes:
    numbers, first = group(rows, pa.schema([rows.schema.field(name) for name in key]))
    came, went = np.full(len(first), -1, np.int64), np.full(len(first), -1, np.int64)
    plus, minus = np.flatnonzero(weights > 0), np.flatnonzero(weights < 0)
    came[numbers[plus]] = plus
    went[numbers[minus]] = minus
    which = np.where(came >= 0, came, went)
    order = np.argsort(which, kind="stable")
    which, came, went = which[order], came[order], went[order]
    op = np.where(came >= 0, Op.UPSERT, Op.DELETE).astype(np.uint8)
    before = None
    if with_before:
        known = went >= 0
        before = as_struct(rows.take(pa.array(np.where(known, went, 0))), ~known)
    return Changes(rows.take(pa.array(which)), op, before)


def _inserted(rows: pa.Table, weights: Places) -> Changes:
    plus = np.flatnonzero(weights > 0)
    places = np.repeat(plus, weights[plus])
    retracted = int(-weights[weights < 0].sum())
    return Changes(rows.take(pa.array(places)), np.full(len(places), Op.INSERT, np.uint8), None, retracted)


def _decoded(rows: pa.Table) -> pa.Table:
    """Dictionary-encoded columns as plain ones, which alone can lie in an outbox."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            plain = field.with_type(field.type.value_type)
            rows = rows.set_column(at, plain, rows.column(at).cast(plain.type))
    return rows


def _one(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
