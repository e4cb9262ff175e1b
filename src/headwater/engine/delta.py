"""Arithmetic of deltas: Arrow tables with an int64 `_weight`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numba import types

from headwater.change import WEIGHT, delta_schema
from headwater.engine.gather import gathered
from headwater.engine.lazy import Delta, Lazy, all_of, chained, lazily
from headwater.engine.netting import Netting
from headwater.index.kernels import Longs, Mask, compiled
from headwater.index.key_index import group
from headwater.index.row_encoding import is_fixed, whole

ORIGIN = "_origin"
"""On the direct path of an input, the row of the input's delta that a row stems from; not there while they are the
same rows."""

AnyDelta = TypeVar("AnyDelta", pa.Table, Lazy)

_FEW_ROWS = 1024
"""So few rows are compared whole, without looking for what tells them apart first."""


def weights(delta: Delta) -> Longs:
    """The weights as an array."""
    array: Longs = delta.column(WEIGHT).to_numpy()
    return array


def weighted(rows: pa.Table, values: Longs) -> pa.Table:
    """Rows with their `_weight` appended or replaced."""
    at = rows.schema.get_field_index(WEIGHT)
    field, column = pa.field(WEIGHT, pa.int64(), nullable=False), pa.chunked_array([values], pa.int64())
    return rows.append_column(field, column) if at < 0 else rows.set_column(at, field, column)


def numbered(rows: pa.Table, name: str) -> pa.Table:
    """Rows with their numbers from 0 as a last column."""
    return rows.append_column(name, pa.array(np.arange(rows.num_rows, dtype=np.int64)))


def has_origin(delta: Delta) -> bool:
    """Whether a delta says of each row which of the input it stems from."""
    return bool(delta.schema.get_field_index(ORIGIN) >= 0)


def with_origin(delta: pa.Table) -> pa.Table:
    """A delta on the direct path with `_origin`, which is left out as long as it is the number of the row."""
    return delta if has_origin(delta) else numbered(delta, ORIGIN)


def negated(delta: pa.Table) -> pa.Table:
    """The delta that undoes this one."""
    return weighted(delta, -weights(delta))


def conform(delta: AnyDelta, columns: pa.Schema) -> AnyDelta:
    """The delta with exactly these columns and `_weight`, cast where Arrow types differ (a dictionary, say)."""
    return shaped(delta, delta_schema(columns))


def shaped(delta: AnyDelta, schema: pa.Schema) -> AnyDelta:
    """As `conform`, given the schema with `_weight`: nothing is done where that is the delta's already."""
    if delta.schema.equals(schema):
        return delta
    if isinstance(delta, Lazy):
        rows = delta.select(schema.names)
        return rows if rows.schema.types == schema.types else lazily(shaped(rows.table(), schema))
    same = delta.schema.names == schema.names
    return pa.Table.from_arrays(delta.columns if same else [delta.column(n) for n in schema.names], schema=schema)


def concat(deltas: Iterable[AnyDelta | None]) -> AnyDelta | None:
    """One delta after the other; None if there are none with rows."""
    found = [delta for delta in deltas if delta is not None and delta.num_rows]
    if len(found) < 2:
        return found[0] if found else None
    lazy = any(isinstance(delta, Lazy) for delta in found)
    joined: AnyDelta = chained([lazily(delta) for delta in found]) if lazy else pa.concat_tables(found)
    return joined


def consolidate(delta: pa.Table, netting: Netting | None = None) -> pa.Table:
    """Every distinct row once, with the sum of its weights, those of weight 0 left out.

    Args:
        delta: rows and `_weight`.
        netting: made for these columns, if it is at hand.
    """
    rows = delta.drop_columns([WEIGHT])
    netting = netting or Netting(rows.schema)
    firsts, net = netting.netted(netting.hashed(rows), weights(delta))
    return delta if len(firsts) == delta.num_rows else weighted(rows_at(rows, firsts), net)


def settled(delta: pa.Table | None, netting: Netting | None = None) -> pa.Table | None:
    """The delta without rows that take each other back; not touched if all weights have one sign. See `consolidate`."""
    if delta is None or not delta.num_rows:
        return None
    signs = weights(delta)
    if (signs > 0).all() or (signs < 0).all():
        return delta
    if delta.num_rows <= _FEW_ROWS:
        return concat([consolidate(delta, netting)])
    suspect = _both_ways(delta, signs)
    if not suspect.any():
        return delta
    rest = mask(delta, ~suspect)
    net = consolidate(weighted(mask(delta, suspect), signs[suspect]), netting)
    return concat([weighted(rest, signs[~suspect]), net])


def _both_ways(delta: pa.Table, signs: Longs) -> Mask:
    """Which rows may be both added and taken away: those that have such fellows in the columns of fixed size, so that
    texts are only compared where nothing else tells rows apart."""
    fixed = pa.schema([f for f in delta.schema if f.name != WEIGHT and is_fixed(f.type)])
    if not fixed:
        return np.ones(delta.num_rows, np.bool_)
    numbers, firsts = group(delta, fixed)
    ways = np.zeros((2, len(firsts)), np.bool_)
    ways[(signs > 0).astype(np.int64), numbers] = True
    return np.asarray((ways[0] & ways[1])[numbers])


def expanded(rows: pa.Table) -> pa.Table:
    """Rows of weight n as n rows without `_weight`: what plain SQL takes for a multiset."""
    counts = weights(rows)
    plain = rows.drop_columns([WEIGHT])
    if (counts == 1).all():
        return plain
    return rows_at(plain, np.repeat(np.arange(len(counts)), counts))


def mask(delta: AnyDelta, keep: pa.Array | np.ndarray) -> AnyDelta:
    """The rows for which `keep` is true; NULL is not."""
    if isinstance(delta, Lazy):
        chosen = keep if isinstance(keep, np.ndarray) else keep.fill_null(False).to_numpy(zero_copy_only=False)
        return delta.at(np.flatnonzero(chosen))
    if isinstance(keep, np.ndarray) and delta.num_rows > _FEW_ROWS and _has_texts(delta.schema):
        return rows_at(delta, np.flatnonzero(keep))
    return delta.filter(pa.array(keep) if isinstance(keep, np.ndarray) else keep)


def _has_texts(columns: pa.Schema) -> bool:
    return any(pa.types.is_string(field.type) for field in columns)


def rows_at(delta: AnyDelta, positions: Longs) -> AnyDelta:
    """The rows at the positions given, in their order."""
    if isinstance(delta, Lazy):
        return delta.at(positions)
    if len(positions) <= _FEW_ROWS or not delta.num_columns:
        return delta.take(pa.array(positions))
    picked = all_of(delta).at(positions)
    made = gathered(delta.schema, picked.blocks, picked.rows, picked.which)
    return pa.Table.from_batches([made], delta.schema)


@compiled(types.int64(types.Array(types.int64, 1, "C", readonly=True)))
def _sizes(values: Longs) -> int:
    """The sum of absolute values."""
    total = 0
    for value in values:
        total += abs(value)
    return total


def absolute(delta: pa.Table) -> int:
    """Sum of the weights' absolute values: how many rows of input a delta stands for."""
    return _sizes(weights(delta))


def as_us(times: pa.ChunkedArray) -> Longs:
    """Microseconds as int64, the smallest value where null."""
    array = whole(times).cast(pa.int64())
    values: Longs = (array.fill_null(np.iinfo(np.int64).min) if array.null_count else array).to_numpy()
    return values
