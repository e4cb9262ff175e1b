"""Gathers rows of several Arrow batches into one, each value copied once.

Arrow's own way would be to take the rows of each batch, to put these in one piece, and to take them again in the order
wanted: three copies of every text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headwater.engine.gather_kernels import scatter, scatter_bits, scatter_sizes, scatter_texts, scatter_wide
from headwater.index.kernels import Longs, Mask

_FEW_ROWS = 256
"""So few rows of one batch cost less with Arrow."""

_MOST_BYTES = (1 << 31) - 1
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Piece(NamedTuple):
    """Rows of one batch.

    Attributes:
        batch: where they stand.
        rows: their numbers there.
        at: their numbers in what is made.
    """

    batch: pa.RecordBatch
    rows: Longs
    at: Longs


def gathered(schema: pa.Schema, pieces: Sequence[Piece], count: int) -> pa.RecordBatch:
    """A batch of `count` rows: row `at[i]` is row `rows[i]` of its piece's batch.

    Args:
        schema: of the batches, which may have other columns too.
        pieces: name every row of the result once.
    """
    pieces = [piece for piece in pieces if len(piece.rows)]
    if not pieces:
        return pa.RecordBatch.from_pylist([], schema=schema)
    if len(pieces) == 1 and count <= _FEW_ROWS:
        return _taken(pieces[0].batch.select(schema.names), pieces[0])
    columns = [_column(field, [piece.batch.column(field.name) for piece in pieces], pieces, count) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def rows_of(table: pa.Table, rows: Longs, first: int = 0) -> list[Piece]:
    """Rows of a table as pieces.

    Args:
        rows: their numbers, in any order.
        first: the number that the first of them gets in what is made; the others follow.
    """
    batches, at = table.to_batches(), np.arange(first, first + len(rows))
    if len(batches) < 2:
        return [Piece(batch, rows, at) for batch in batches]
    starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
    numbers = np.searchsorted(starts, rows, "right") - 1
    order = np.argsort(numbers.astype(np.uint16 if len(batches) < 1 << 16 else np.int64), kind="stable")
    bounds = np.searchsorted(numbers[order], np.arange(len(batches) + 1)).tolist()
    return [
        Piece(batch, rows[order[begin:end]] - start, at[order[begin:end]])
        for batch, start, (begin, end) in zip(batches, starts.tolist(), pairwise(bounds), strict=False)
        if begin < end
    ]


def _taken(batch: pa.RecordBatch, piece: Piece) -> pa.RecordBatch:
    taken = batch.take(pa.array(piece.rows))
    return taken if _in_order(piece.at) else taken.take(pa.array(np.argsort(piece.at)))


def _in_order(at: Longs) -> bool:
    return bool((at[1:] > at[:-1]).all())


def _column(field: pa.Field, arrays: list[pa.Array], pieces: Sequence[Piece], count: int) -> pa.Array:
    kind = field.type
    if any(array.type != kind for array in arrays):
        return _by_arrow(field, arrays, pieces)
    if pa.types.is_boolean(kind):
        data = [None, _packed(_bits(arrays, pieces, count, values=True))]
    elif _texts(kind):
        found = _texts_of(arrays, pieces, count)
        if found is None:
            return _by_arrow(field, arrays, pieces)
        data = [None, *found]
    elif (width := _width(kind)) in (1, 2, 4) or (width and width % 8 == 0):
        data = [None, _fixed(arrays, pieces, count, width)]
    else:
        return _by_arrow(field, arrays, pieces)
    if any(array.null_count for array in arrays):
        data[0] = _packed(_bits(arrays, pieces, count, values=False))
    return pa.Array.from_buffers(kind, count, data)


def _texts(kind: pa.DataType) -> bool:
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    return bool(wide or pa.types.is_string(kind) or pa.types.is_binary(kind))


def _width(kind: pa.DataType) -> int:
    """Bytes of a value of a type whose values stand one after the other, else 0."""
    flat = pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind)
    return int(kind.bit_width // 8) if flat else 0


def _packed(bits: Mask) -> pa.Buffer:
    return pa.py_buffer(np.packbits(bits, bitorder="little"))


def _bits(arrays: list[pa.Array], pieces: Sequence[Piece], count: int, *, values: bool) -> Mask:
    """The values of booleans, or which values are not NULL."""
    found = np.ones(count, np.bool_)
    for array, piece in zip(arrays, pieces, strict=True):
        if values or array.null_count:
            bits = np.frombuffer(array.buffers()[1 if values else 0], np.uint8)
            scatter_bits(bits, array.offset, piece.rows, piece.at, found)
    return found


def _fixed(arrays: list[pa.Array], pieces: Sequence[Piece], count: int, width: int) -> pa.Buffer:
    """Values of so many bytes."""
    kind, words = (_UNSIGNED[width], 0) if width <= 8 else (np.uint64, width // 8)
    found = np.empty((count, words) if words else count, kind)
    for array, piece in zip(arrays, pieces, strict=True):
        values = np.frombuffer(array.buffers()[1], kind, (array.offset + len(array)) * max(words, 1))
        if words:
            scatter_wide(values.reshape(-1, words)[array.offset :], piece.rows, piece.at, found)
        else:
            scatter(values[array.offset :], piece.rows, piece.at, found)
    return pa.py_buffer(found)


def _texts_of(arrays: list[pa.Array], pieces: Sequence[Piece], count: int) -> tuple[pa.Buffer, pa.Buffer] | None:
    """Where texts begin and end, and what they are; None if they are too long together for their type."""
    wide = pa.types.is_large_string(arrays[0].type) or pa.types.is_large_binary(arrays[0].type)
    kind = np.int64 if wide else np.int32
    starts = np.zeros(count + 1, np.int64)
    ends = [np.frombuffer(a.buffers()[1], kind, a.offset + len(a) + 1)[a.offset :] for a in arrays]
    for own, piece in zip(ends, pieces, strict=True):
        scatter_sizes(own, piece.rows, piece.at, starts)
    np.cumsum(starts, out=starts)
    if not wide and starts[-1] > _MOST_BYTES:
        return None
    found = np.empty(int(starts[-1]), np.uint8)
    for own, array, piece in zip(ends, arrays, pieces, strict=True):
        if (data := array.buffers()[2]) is not None:
            scatter_texts(own, np.frombuffer(data, np.uint8), piece.rows, piece.at, starts, found)
    return pa.py_buffer(starts.astype(kind, copy=False)), pa.py_buffer(found)


def _by_arrow(field: pa.Field, arrays: list[pa.Array], pieces: Sequence[Piece]) -> pa.Array:
    """Nested, dictionary and other types."""
    parts = [array.take(pa.array(piece.rows)) for array, piece in zip(arrays, pieces, strict=True)]
    joined = pa.chunked_array([part.cast(field.type) for part in parts], field.type).combine_chunks()
    at = np.concatenate([piece.at for piece in pieces])
    return joined if _in_order(at) else joined.take(pa.array(np.argsort(at)))
