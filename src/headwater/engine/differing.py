"""Compares columns of results value by value, as SQL's IS DISTINCT FROM does, for every type."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.index.kernels import Longs, Mask, Words, compiled
from headwater.index.row_encoding import RowEncoder

_words_in = types.Array(types.uint64, 1, "C", readonly=True)
_longs_in = types.Array(types.int64, 1, "C", readonly=True)


@compiled(types.void(_words_in, _longs_in, _words_in, _longs_in, types.boolean[::1]))
def _rows_differ(one: Words, one_offsets: Longs, other: Words, other_offsets: Longs, out: Mask) -> None:
    """Where rows of words are not the same."""
    for i in range(len(out)):
        start, length = one_offsets[i], one_offsets[i + 1] - one_offsets[i]
        begin = other_offsets[i]
        out[i] = length != other_offsets[i + 1] - begin
        j = 0
        while not out[i] and j < length:
            out[i] = one[start + j] != other[begin + j]
            j += 1


def differing(one: pa.Array, other: pa.Array) -> Mask:
    """Where two arrays of one type differ; NULL and NaN are equal to themselves."""
    kind = one.type
    if pa.types.is_decimal128(kind) or (pa.types.is_primitive(kind) and kind.bit_width == 64):
        width = kind.bit_width // 64
        differs = np.zeros(len(one), np.bool_)
        ours, theirs = _bits(one, width), _bits(other, width)
        for word in range(width):
            differs |= ours[word::width] != theirs[word::width]
        if not (one.null_count or other.null_count):
            return differs
        nulls, others = (np.asarray(array.is_null().to_numpy(zero_copy_only=False)) for array in (one, other))
        return np.where(nulls | others, nulls != others, differs)
    return _encoded_differ(one, other)


def _bits(array: pa.Array, width: int) -> Longs:
    """The words of an array of values of `width` words."""
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset * width : (array.offset + len(array)) * width]


def _encoded_differ(one: pa.Array, other: pa.Array) -> Mask:
    """Where the canonical bytes differ."""
    encoder = RowEncoder([one.type])
    ours, theirs = encoder.encode([one], len(one)), encoder.encode([other], len(other))
    out = np.zeros(len(one), np.bool_)
    _rows_differ(ours.words, ours.offsets, theirs.words, theirs.offsets, out)
    return out
