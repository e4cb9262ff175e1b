"""Traces: deltas in which nothing has been netted, so that they tell every change and its position.

A trace has a stream's columns, int64 `_weight` (-1: the row as it was, +1: as it is), and `_op`, `_commit`, `_ordinal`
and `_time` of the change that the row is of (`headwater.change`). Rows are in the order of the log, of a change the
former row before the new one. Summed up, a trace is the delta of the same changes: the tests hold it to that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.change import WEIGHT, Op
from headwater.engine.evolution import Evolution
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import group

TIME = pa.timestamp("us", tz="UTC")
ALTERED, RESTARTED = 7, 8
"""`_op` besides those of `Op`: a change of the columns changed the row; what was told before is void."""

TRACE_COLUMNS: tuple[pa.Field, ...] = (
    pa.field("_op", pa.uint8(), nullable=False),
    pa.field("_commit", pa.uint64(), nullable=False),
    pa.field("_ordinal", pa.int64(), nullable=False),
    pa.field("_time", TIME),
)
_NAMES = [field.name for field in TRACE_COLUMNS]


@dataclass(frozen=True)
class At:
    """Where changes stand in their source: arrays of a value each, or of one for all."""

    op: NDArray[np.uint8]
    commit: NDArray[np.uint64]
    ordinal: Longs
    time: pa.ChunkedArray

    def take(self, rows: Longs) -> At:
        """Those of some changes."""
        return At(self.op[rows], self.commit[rows], self.ordinal[rows], self.time.take(pa.array(rows)))

    def times(self, count: int, op: int | None = None) -> At:
        """The first change's place for so many rows."""
        first = self.take(np.zeros(count, np.int64))
        return first if op is None else At(np.full(count, op, np.uint8), first.commit, first.ordinal, first.time)


def place(op: int, commit: int, ordinal: int, time_us: int | None) -> At:
    """One place."""
    time = pa.chunked_array([pa.array([time_us], pa.int64()).cast(TIME)])
    return At(np.array([op], np.uint8), np.array([commit], np.uint64), np.array([ordinal], np.int64), time)


def trace_schema(columns: pa.Schema) -> pa.Schema:
    """The schema of a trace of rows of these columns."""
    return pa.schema([*columns, pa.field(WEIGHT, pa.int64(), nullable=False), *TRACE_COLUMNS])


def traced(delta: pa.Table, at: At) -> pa.Table:
    """A delta whose every row is of a change, as a trace."""
    rows = delta.drop_columns([WEIGHT])
    columns = [*rows.columns, delta.column(WEIGHT), at.op, at.commit, at.ordinal, at.time]
    return pa.Table.from_arrays([_column(one) for one in columns], schema=trace_schema(rows.schema))


def _column(values: object) -> pa.ChunkedArray:
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([pa.array(values)])


def places_of(trace: pa.Table) -> pa.Table:
    """The columns that say where changes stand."""
    return trace.select(_NAMES)


def images(rows: pa.Table, earlier: pa.Table, before: Longs, shown: Mask, weights: Longs, at: At) -> pa.Table:
    """The trace of changes of an upsert stream.

    Args:
        rows: the changed rows, whole.
        earlier: rows from before the changes.
        before: the row that each change found under its key: a change's number, `len(rows) + i` for row i of `earlier`,
            or -1.
        shown: of the rows and then of the earlier ones, which are in sight.
        weights: the changes' weights: -1 the row goes.
        at: where the changes stand.
    """
    count = len(rows)
    numbers = np.arange(count)
    former = (before >= 0) & shown[np.maximum(before, 0)]
    present = (weights > 0) & shown[:count]
    both = pa.concat_tables([rows, earlier.select(rows.column_names)])
    same = former & present & (at.op == Op.READ)
    if same.any():
        same[same] = _equal(both, before[same], numbers[same])
    source = np.stack([before, numbers], axis=1).ravel()
    wanted = np.stack([former & ~same, present & ~same], axis=1).ravel()
    signs = np.tile(np.array([-1, 1]), count)[wanted]
    delta = both.take(pa.array(source[wanted])).append_column(WEIGHT, pa.array(signs))
    return traced(delta, at.take(np.repeat(numbers, 2)[wanted]))


def _equal(rows: pa.Table, ones: Longs, others: Longs) -> Mask:
    compared = rows.take(pa.array(np.concatenate([ones, others])))
    numbers, _ = group(compared, compared.schema)
    return np.asarray(numbers[: len(ones)] == numbers[len(ones) :])


def carried(trace: pa.Table, change: Evolution, columns: pa.Schema) -> pa.Table:
    """A trace from before a change of the columns, in those after it."""
    rows = change.carry(trace.drop_columns(_NAMES))
    arrays = [
        rows.column(field.name) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in columns
    ]
    arrays += [rows.column(WEIGHT), *places_of(trace).columns]
    return pa.Table.from_arrays(arrays, schema=trace_schema(columns))


def altered(before: pa.Table, after: pa.Table, change: Evolution, at: At) -> pa.Table:
    """The trace of a change of the columns that changes values of the rows that are there: each goes as it was, with
    null in columns that came, and comes as it is.

    Args:
        before, after: all rows in the order of each other, with `_weight`.
        change: the change of the columns.
        at: where it stands.
    """
    names = after.drop_columns([WEIGHT]).schema
    was = change.carry(before)
    for number, (field, origin) in enumerate(zip(change.columns, change.origin, strict=True)):
        if origin is None:
            was = was.set_column(number, was.schema.field(number), pa.nulls(len(was), field.type))
    old = pa.Table.from_arrays(
        [was.column(f.name) if f.name in was.column_names else pa.nulls(len(was), f.type) for f in names],
        schema=names,
    ).append_column(after.schema.field(WEIGHT), pa.array(-before.column(WEIGHT).to_numpy()))
    delta = pa.concat_tables([old, after])
    return traced(delta, at.times(len(delta), ALTERED))
