"""Which rows are whose: how keyed rows are divided among workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.engine.delta import rows_at
from headwater.engine.lazy import Delta, chained, lazily
from headwater.engine.share_kernels import hash_texts, mix, owners_of, partition
from headwater.index.kernels import Longs, Mask, Words, hash_rows
from headwater.index.row_encoding import RowEncoder, whole

_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x6E756C6C)


@dataclass(frozen=True)
class Share:
    """One worker's part of all keys: rows of equal keys are always the same worker's.

    Attributes:
        number: the worker's.
        count: how many workers there are.
        positions: which of an operator's key columns rows are shared out by, None for all of them. The graph leaves
            rows where they are if they came shared out by a part of the key.
    """

    number: int
    count: int
    positions: tuple[int, ...] | None = None

    def mine(self, rows: pa.Table, keys: Sequence[str]) -> Mask:
        """Which of the rows are this worker's, by the values of their key columns, which are to be given in the order
        of the node's `spread`; without any, all are worker 0's."""
        by = keys if self.positions is None else [keys[at] for at in self.positions]
        return np.asarray(owners(rows, by, self.count) == self.number)


def owners(rows: pa.Table, keys: Sequence[str], count: int) -> Longs:
    """Each row's worker. Depends on the keys' values alone, as SQL's GROUP BY tells them apart."""
    if not keys or count == 1:
        return np.zeros(rows.num_rows, np.int64)
    hashes = np.full(rows.num_rows, _SEED, np.uint64)
    with np.errstate(over="ignore"):
        for name in keys:
            mix(_column_words(rows.column(name)), hashes)
        found = np.empty(rows.num_rows, np.int64)
        owners_of(hashes, np.uint64(count), found)
    return found


@dataclass(frozen=True)
class Sent:
    """A delta on its way to the workers that own its rows; nothing of it is copied yet.

    Attributes:
        delta: all of it.
        rows: by receiver, the numbers of its rows, ascending; None stands for all of them.
    """

    delta: pa.Table
    rows: Sequence[Longs | None]

    def rows_of(self, receiver: int) -> Longs | None:
        """The rows that a worker gets."""
        return self.rows[receiver]


@dataclass(frozen=True)
class Offered:
    """A delta that all workers see whole; each picks the rows that it owns.

    Attributes:
        delta: all of it.
        keys: the columns by which rows are shared out.
        count: how many workers there are.
    """

    delta: pa.Table
    keys: Sequence[str]
    count: int

    def rows_of(self, receiver: int) -> Longs:
        """The rows that a worker gets; on the worker's own thread."""
        return np.flatnonzero(owners(self.delta, self.keys, self.count) == receiver)


def split(delta: pa.Table, keys: Sequence[str], count: int) -> Sent:
    """Divides a delta among workers; without keys, worker 0 gets all of it."""
    if count == 1 or not keys:
        return Sent(delta, [None, *[np.zeros(0, np.int64)] * (count - 1)])
    owner = owners(delta, keys, count)
    starts, order = np.zeros(count + 1, np.int64), np.empty(delta.num_rows, np.int64)
    partition(owner, starts, order)
    return Sent(delta, [order[start:end] for start, end in pairwise(starts.tolist())])


def received(sent: Sequence[Sent | Offered], receiver: int) -> Delta | None:
    """What a worker gets of what all have sent; None if nothing."""
    found = [(one.delta, one.rows_of(receiver)) for one in sent]
    given = [(delta, rows) for delta, rows in found if (delta.num_rows if rows is None else len(rows))]
    if len(given) == 1 and given[0][1] is None:
        return given[0][0].combine_chunks()
    parts = [lazily(delta) if rows is None else rows_at(lazily(delta), rows) for delta, rows in given]
    return chained(parts) if parts else None


def sliced(delta: pa.Table, count: int) -> list[pa.Table | None]:
    """A delta cut into `count` runs of rows of about the same length, without a copy; None for an empty one."""
    bounds = [delta.num_rows * number // count for number in range(count + 1)]
    spans = pairwise(bounds)
    return [delta.slice(start, end - start) if end > start else None for start, end in spans]


def _column_words(column: pa.ChunkedArray | pa.Array) -> Words:
    """A word for each value of a column, equal for equal ones."""
    array = whole(column)
    kind = array.type
    if not len(array):
        return np.zeros(0, np.uint64)
    if pa.types.is_dictionary(kind):
        return _of_dictionary(array)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        array = array.cast(pa.large_string() if pa.types.is_string_view(kind) else pa.large_binary())
    if pa.types.is_integer(kind) or (pa.types.is_temporal(kind) and not pa.types.is_interval(kind)):
        words = _integers(array)
    elif pa.types.is_floating(kind):
        words = _floats(array)
    elif isinstance(array, pa.StringArray | pa.LargeStringArray | pa.BinaryArray | pa.LargeBinaryArray):
        words = _texts(array)
    else:
        return _encoded(array)
    if array.null_count:
        words = np.where(array.is_null().to_numpy(zero_copy_only=False), _NULL, words)
    return words


def _integers(array: pa.Array) -> Words:
    """Whole numbers and times as they are stored, whatever their width."""
    bits = array.type.bit_width
    unsigned = pa.types.is_unsigned_integer(array.type)
    plain = array.view({8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[bits]) if not unsigned else array
    filled = np.frombuffer(plain.buffers()[1], dtype=f"{'u' if unsigned else 'i'}{bits // 8}")
    values = filled[array.offset : array.offset + len(array)]
    return values.view(np.uint64) if bits == 64 else values.astype(np.int64).view(np.uint64)


def _floats(array: pa.Array) -> Words:
    """Floats in the bits of a double, one zero and one NaN."""
    values = np.asarray(array.fill_null(0.0).to_numpy(zero_copy_only=False), np.float64) + 0.0
    return np.where(np.isnan(values), np.nan, values).view(np.uint64)


def _texts(array: pa.Array) -> Words:
    """Texts and bytes, hashed."""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    _, offsets, data = array.buffers()
    words = np.zeros(len(array), np.uint64)
    ends = np.frombuffer(offsets, np.int64 if wide else np.int32)[array.offset : array.offset + len(array) + 1]
    content = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    hash_texts(content, np.ascontiguousarray(ends, np.int64), words)
    return words


def _of_dictionary(array: pa.DictionaryArray) -> Words:
    """Words of the values that a dictionary's indices stand for."""
    words = np.append(_column_words(array.dictionary), _NULL)
    at = pc.fill_null(array.indices.cast(pa.int64()), len(array.dictionary)).to_numpy()
    found: Words = words[at]
    return found


def _encoded(array: pa.Array) -> Words:
    """Any other type by its canonical bytes."""
    encoded = RowEncoder([array.type]).encode([array], len(array))
    hashes = np.empty(len(array), np.uint64)
    hash_rows(encoded.words, encoded.offsets, _ALL_BITS, hashes)
    return hashes
