"""Order keys: what ORDER BY compares, as words of 64 bits that compare like it, for `OrderedRows`.

A value of fixed width becomes its bits, changed so that they compare as an unsigned number, behind one bit that puts
NULL first or last; the bits of one column follow those of the other. What is of no fixed width (texts, lists, structs)
goes through DuckDB's `create_sort_key`, whose bytes compare as the values do, into the *tail*, which
is only made for rows whose words are equal; where such a column comes first, the first bytes are the words. Columns
that only break ties come last, and those that no longer fit a few words are left to the tail as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numba import types
from numpy.typing import NDArray

from headwater.engine.session import Session
from headwater.index.kernels import Bytes, Longs, Words, compiled
from headwater.index.row_encoding import EncodedRows, whole
from headwater.sql.bind import quote
from headwater.sql.plan import Node, Ordering

_TIE_BITS = 192
_SIGN = np.uint64(1 << 63)
_INTERVAL = (
    "(datepart('year', {0}) * 360 + datepart('month', {0}) * 30 + datepart('day', {0}))::HUGEINT * 86400000000"
    " + datepart('hour', {0}) * 3600000000 + datepart('minute', {0}) * 60000000 + datepart('microsecond', {0})"
)
"""An interval in microseconds, which is how DuckDB compares it; not so its sort keys."""
_DAY_NS = 86_400_000_000_000
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


class OrderKey:
    """The order of some columns of a node's rows; as in DuckDB NaN is the greatest float, -0.0 equals 0.0.

    Args:
        orderings: what rows are ordered by, the first counting most. Every column named stands in the rows given.
        node: whose rows these are.
        session: for the columns that need DuckDB; its errors may come out of `words` and `tails`.
        wanted: how many of the orderings are wanted as such; the others break ties.
        nulls: there may be NULLs; without, a BIGINT takes one word, not two.
    """

    def __init__(
        self, orderings: Sequence[Ordering], node: Node, session: Session, wanted: int | None = None, nulls: bool = True
    ) -> None:
        self._node, self._session, self._nulls = node, session, nulls
        kinds = {column.name: column.arrow for column in node.columns}
        wanted = len(orderings) if wanted is None else wanted
        bits, count = 0, 0
        for i, ordering in enumerate(orderings):
            own = field_bits(kinds[ordering.column])
            if not own or (i >= wanted and bits + own + nulls > _TIE_BITS):
                break
            bits, count = bits + own + nulls, count + 1
        self._packed, self._rest = tuple(orderings[:count]), tuple(orderings[count:])
        self._fixed_words = -(-bits // 64)
        self._prefix = not count and bool(wanted)
        self.width = self._fixed_words + self._prefix
        """Words per order key."""

    @property
    def has_tails(self) -> bool:
        """Whether equal words do not mean equal order."""
        return bool(self._rest)

    @property
    def word_columns(self) -> list[str]:
        """The columns that `words` needs."""
        return [ordering.column for ordering in (*self._packed, *self._rest[: self._prefix])]

    @property
    def tail_columns(self) -> list[str]:
        """The columns that `tails` needs."""
        return [ordering.column for ordering in self._rest]

    def words(self, rows: pa.Table) -> Words:
        """The words of each row, `width` each, one row after the other."""
        out = np.zeros((rows.num_rows, self.width), np.uint64)
        bit = 0
        for ordering in self._packed:
            bit = self._pack(out, bit, ordering, rows.column(ordering.column))
        if self._prefix:
            out[:, -1] = self._prefixes(rows)
        return out.reshape(-1)

    def tails(self, rows: pa.Table) -> EncodedRows:
        """The tails of rows, of which only `tail_columns` are looked at."""
        return self._sort_keys(rows, self._rest)

    def _pack(self, out: Words, bit: int, ordering: Ordering, column: pa.ChunkedArray) -> int:
        """Writes a column's values from a bit on, counted from the highest of the first word; returns the next bit."""
        array = whole(column)
        nulls = np.asarray(array.is_null().to_numpy(zero_copy_only=False)) if array.null_count else None
        if self._nulls:
            last = np.uint64(0 if ordering.nulls_first else 1)
            flags = np.full(len(array), np.uint64(1) - last) if nulls is None else np.where(nulls, last, 1 - last)
            bit = _place(out, bit, flags.astype(np.uint64, copy=False), 1)
        for values, size in _fields(array):
            kept = values ^ (_ALL >> np.uint64(64 - size)) if ordering.descending else values
            bit = _place(out, bit, kept if nulls is None else np.where(nulls, np.uint64(0), kept), size)
        return bit

    def _prefixes(self, rows: pa.Table) -> Words:
        """The first eight bytes of the sort keys."""
        keys = self._sort_keys(rows, self._rest[:1])
        return keys.words[keys.offsets[:-1]] if rows.num_rows else np.zeros(0, np.uint64)

    def _sort_keys(self, rows: pa.Table, orderings: Sequence[Ordering]) -> EncodedRows:
        listed = ", ".join(f"{self._compared(ordering.column)}, '{ordering.sql}'" for ordering in orderings)
        keys = self._session.evaluate(f"create_sort_key({listed})", self._node, rows).combine_chunks()
        return _big_endian(keys)

    def _compared(self, name: str) -> str:
        """A column as `create_sort_key` is to see it."""
        interval = any(column.name == name and pa.types.is_interval(column.arrow) for column in self._node.columns)
        return _INTERVAL.format(quote(name)) if interval else quote(name)


def field_bits(kind: pa.DataType) -> int:
    """How many bits a value of this Arrow type takes in an order key, its NULL apart; 0 if it is of no fixed width."""
    if pa.types.is_boolean(kind):
        return 1
    if pa.types.is_interval(kind):
        return 128
    if pa.types.is_decimal128(kind):
        return 64 if kind.precision <= 18 else 128
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind) or kind in (pa.float32(), pa.float64()):
        return int(kind.bit_width)
    return 0


def _fields(array: pa.Array) -> list[tuple[Words, int]]:
    """Values as unsigned numbers that compare like them, highest part first, each with its number of bits."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return [(array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64), 1)]
    if pa.types.is_decimal128(kind):
        parts = _buffer(array, np.dtype((np.uint64, 2)))
        low, high = np.ascontiguousarray(parts[:, 0]), np.ascontiguousarray(parts[:, 1])
        return [(low ^ _SIGN, 64)] if kind.precision <= 18 else [(high ^ _SIGN, 64), (low, 64)]
    if pa.types.is_interval(kind):
        return _intervals(array)
    size = kind.bit_width
    if pa.types.is_floating(kind):
        return [(_floats(_buffer(array, np.dtype(f"f{size // 8}")), size), size)]
    signed = not pa.types.is_unsigned_integer(kind)
    values = _buffer(array, np.dtype(f"u{size // 8}")).astype(np.uint64)
    return [(values ^ np.uint64(1 << (size - 1)) if signed else values, size)]


def _floats(values: NDArray[np.generic], size: int) -> Words:
    """Floats by their bits: those of negative numbers turned round, with one zero and one NaN above everything."""
    plain = np.add(values, np.zeros((), values.dtype))
    plain[np.isnan(plain)] = np.nan
    bits: Words = plain.view(f"u{size // 8}").astype(np.uint64)
    sign = np.uint64(1 << (size - 1))
    mask = _ALL >> np.uint64(64 - size)
    return np.where(bits & sign, ~bits & mask, bits | sign)


def _intervals(array: pa.Array) -> list[tuple[Words, int]]:
    """Days and the nanoseconds of the day, of months of 30 days."""
    parts = np.ascontiguousarray(_buffer(array, np.dtype((np.int32, 4)))).view(np.int32)
    ns = np.ascontiguousarray(parts[:, 2:]).view(np.int64)[:, 0]
    days = parts[:, 0].astype(np.int64) * 30 + parts[:, 1] + ns // _DAY_NS
    return [(days.view(np.uint64) ^ _SIGN, 64), ((ns % _DAY_NS).view(np.uint64), 64)]


def _buffer(array: pa.Array, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """The values of an array of fixed width; anything where it is null."""
    if not len(array):
        return np.zeros((0, *dtype.shape), dtype.base)
    flat = np.frombuffer(array.buffers()[1], dtype.base).reshape(-1, *dtype.shape)
    return flat[array.offset : array.offset + len(array)]


def _place(out: Words, bit: int, values: Words, size: int) -> int:
    """Writes numbers of `size` bits from a bit of each row on; returns the next bit."""
    word, room = bit // 64, 64 - bit % 64
    if size <= room:
        out[:, word] |= values << np.uint64(room - size)
    else:
        out[:, word] |= values >> np.uint64(size - room)
        out[:, word + 1] |= values << np.uint64(64 - size + room)
    return bit + size


def _big_endian(keys: pa.Array) -> EncodedRows:
    """Sort keys as words that compare like their bytes; DuckDB gives short ones as numbers."""
    if pa.types.is_int64(keys.type):
        return EncodedRows(
            _buffer(keys, np.dtype(np.uint64)).view(np.uint64).copy(), np.arange(len(keys) + 1, dtype=np.int64)
        )
    keys = keys.cast(pa.large_binary())
    offsets = np.zeros(1, np.int64)
    if len(keys):
        offsets = np.frombuffer(keys.buffers()[1], np.int64)[keys.offset : keys.offset + len(keys) + 1]
    starts, lengths = np.ascontiguousarray(offsets[:-1]), np.diff(offsets)
    data = np.frombuffer(keys.buffers()[2], np.uint8) if len(keys) else np.zeros(0, np.uint8)
    ends = np.zeros(len(keys) + 1, np.int64)
    np.cumsum(-(-lengths // 8), out=ends[1:])
    words = np.zeros(ends[-1], np.uint64)
    _pack_bytes(data, starts, lengths, ends, words)
    return EncodedRows(words, ends)


_source = types.Array(types.uint8, 1, "C", readonly=True)


@compiled(types.void(_source, types.int64[::1], types.int64[::1], types.int64[::1], types.uint64[::1]))
def _pack_bytes(data: Bytes, starts: Longs, lengths: Longs, offsets: Longs, out: Words) -> None:
    """Writes bytes into words, the first the highest, filled up with zeros."""
    for i in range(len(starts)):
        for j in range(lengths[i]):
            shift = np.uint64(56 - 8 * (j % 8))
            out[offsets[i] + j // 8] |= np.uint64(data[starts[i] + j]) << shift
