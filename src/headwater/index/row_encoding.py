"""Canonical bytes of a row: two rows are equal, as SQL's GROUP BY counts it, exactly if their encodings are.

A row is whole 64-bit words. Where all columns are of fixed size, these are the values, widest first, filled up with
zeros to whole words, and then a bit per column that says whether it is null. Else they are a *head* of fixed size (per
column its value, or the length of its payload in bytes, and a null byte), then the payloads of the columns of varying
length, then zeros up to the next word; the head says how long the row is, so no encoding is a prefix of another, and
the encodings of a list's items can simply follow each other.

NULL equals NULL; -0.0 equals 0.0 and every NaN equals every other; intervals are equal if a month is 30 days and a day
24 hours (DuckDB's rules). Dictionaries, run ends and extension types are encoded as the values they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.index.kernels import Bytes, Longs, Mask, Words, copy_spans

_WORD = 8
_WORDS = (np.dtype(np.uint64), np.dtype(np.float64))
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows, row i being `words[offsets[i]:offsets[i + 1]]`.

    Attributes:
        words: the rows one after the other.
        offsets: int64, one more than there are rows, counted in words.
    """

    words: Words
    offsets: Longs

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class _Payload:
    """What rows hold past their heads: spans of `data`, in bytes."""

    data: Bytes
    starts: Longs
    lengths: Longs


Fixed = Callable[[pa.Array, Mask | None], NDArray[np.generic]]
Varying = Callable[[pa.Array, Mask | None], _Payload]


@dataclass(frozen=True)
class _Codec:
    """How one column is encoded: either to values of `dtype` in the head, or to payloads."""

    dtype: np.dtype[np.generic] | None
    fixed: Fixed | None = None
    varying: Varying | None = None


class RowEncoder:
    """Encodes rows of given columns.

    Args:
        types: the columns' Arrow types, in order.

    Raises:
        TypeError: a type has no canonical form (unions).
    """

    def __init__(self, types: Sequence[pa.DataType]) -> None:
        self._types = list(types)
        self._plain_types = [_plain_type(kind) for kind in self._types]
        self._codecs = [_codec(kind) for kind in self._plain_types]
        fixed = not any(codec.varying for codec in self._codecs)
        self._head = _head_dtype(self._codecs, with_nulls=not fixed)
        self._plain_words = all(codec.fixed and codec.dtype in _WORDS for codec in self._codecs)
        self.values = self._head.itemsize // _WORD if fixed else 0
        """Words of a row's values where all rows are of one size, else 0."""
        self.width = self.values + -(-len(self._types) // 64) if fixed else 0
        """Words per row where all rows are of one size, else 0."""

    def encode(self, columns: Sequence[pa.Array | pa.ChunkedArray], num_rows: int) -> EncodedRows:
        """Encodes the rows whose columns are given in the order of the encoder's types; other types are cast.

        Raises:
            pa.ArrowInvalid: a value cannot be cast to the column's type without loss.
        """
        arrays = self._arrays(columns)
        if self.values:
            return self._of_one_size(arrays, num_rows)
        head = np.zeros(num_rows, self._head)
        payloads = []
        for i, (array, codec) in enumerate(zip(arrays, self._codecs, strict=True)):
            nulls = _nulls(array)
            if nulls is not None:
                head[f"n{i}"] = nulls
            if codec.varying and num_rows:
                payloads.append(codec.varying(array, nulls))
                head[f"v{i}"] = payloads[-1].lengths
            elif codec.fixed and num_rows:
                head[f"v{i}"] = codec.fixed(array, nulls)
        return _join(head, payloads)

    def encode_values(self, columns: Sequence[pa.Array | pa.ChunkedArray], num_rows: int) -> Words | None:
        """As `encode`, but each row's `values` words alone; None if there is a NULL, or rows vary in size."""
        if not self.values:
            return None
        arrays = self._arrays(columns)
        return None if any(array.null_count for array in arrays) else self._packed(arrays, num_rows)

    def _arrays(self, columns: Sequence[pa.Array | pa.ChunkedArray]) -> list[pa.Array]:
        """Columns as one array each, of their plain types."""
        arrays = []
        for column, kind, plain in zip(columns, self._types, self._plain_types, strict=True):
            array = whole(column)
            arrays.append(array if array.type == plain else _plain(array, kind))
        return arrays

    def _of_one_size(self, arrays: Sequence[pa.Array], num_rows: int) -> EncodedRows:
        words = np.zeros((num_rows, self.width), np.uint64)
        if num_rows and self._plain_words:
            self._fill(words, arrays)
        else:
            words[:, : self.values] = self._packed(arrays, num_rows).reshape(num_rows, self.values)
        for i, array in enumerate(arrays):
            if (nulls := _nulls(array)) is not None:
                words[:, self.values + i // 64] |= nulls.astype(np.uint64) << np.uint64(i % 64)
        return EncodedRows(words.reshape(-1), np.arange(num_rows + 1, dtype=np.int64) * self.width)

    def _packed(self, arrays: Sequence[pa.Array], num_rows: int) -> Words:
        """The values of columns of fixed size."""
        if not num_rows or not arrays:
            return np.zeros(num_rows * self.values, np.uint64)
        if self._plain_words:
            words = np.empty((num_rows, self.values), np.uint64)
            self._fill(words, arrays)
            return words.reshape(-1)
        head = np.zeros(num_rows, self._head)
        for i, (array, codec) in enumerate(zip(arrays, self._codecs, strict=True)):
            if codec.fixed is not None:
                head[f"v{i}"] = codec.fixed(array, _nulls(array))
        return head.view(np.uint64)

    def _fill(self, words: NDArray[np.uint64], arrays: Sequence[pa.Array]) -> None:
        """Writes the values of columns of one word each beside each other."""
        for i, (array, codec) in enumerate(zip(arrays, self._codecs, strict=True)):
            if codec.fixed is not None:
                words[:, i] = codec.fixed(array, _nulls(array)).view(np.uint64)


def encode_table(encoder: RowEncoder, rows: pa.Table | pa.RecordBatch, names: Sequence[str]) -> EncodedRows:
    """Encodes the named columns of a table."""
    return encoder.encode([rows.column(name) for name in names], rows.num_rows)


def _join(head: NDArray[np.void], payloads: list[_Payload]) -> EncodedRows:
    """Puts each row's payloads behind its head."""
    width = head.dtype.itemsize
    if not payloads:
        return EncodedRows(head.view(np.uint64), np.arange(len(head) + 1, dtype=np.int64) * (width // _WORD))
    sizes = np.full(len(head), width + _WORD - 1, np.int64)
    for payload in payloads:
        sizes += payload.lengths
    offsets = _offsets(sizes // _WORD)
    words = np.zeros(offsets[-1], np.uint64)
    target, at = words.view(np.uint8), offsets[:-1] * _WORD
    heads = np.arange(len(head), dtype=np.int64) * width
    for part in (_Payload(head.view(np.uint8), heads, np.full(len(head), width, np.int64)), *payloads):
        copy_spans(target, at, part.data, part.starts, part.lengths)
        at = at + part.lengths
    return EncodedRows(words, offsets)


def _offsets(lengths: Longs) -> Longs:
    """Running sum of lengths, from 0."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _head_dtype(codecs: Sequence[_Codec], *, with_nulls: bool) -> np.dtype[np.void]:
    """The head as a structured type: widest fields first so that words stay aligned, null bytes last, whole words."""
    fields: list[tuple[str, np.dtype[np.generic]]] = []
    for i, codec in enumerate(codecs):
        dtype = np.dtype(np.int64) if codec.varying else codec.dtype
        if dtype is not None:
            fields.append((f"v{i}", dtype))
    fields.sort(key=lambda field: -field[1].itemsize if field[1].itemsize % _WORD == 0 else 1 / field[1].itemsize)
    if with_nulls:
        fields += [(f"n{i}", np.dtype(np.uint8)) for i in range(len(codecs))]
    used = sum(dtype.itemsize for _, dtype in fields)
    return np.dtype([*fields, ("end", np.dtype((np.void, max(used + -used % _WORD, _WORD) - used)))])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values that a column of this type stands for."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif pa.types.is_string_view(kind):
            return pa.string()
        elif pa.types.is_binary_view(kind):
            return pa.binary()
        else:
            return kind


def is_fixed(kind: pa.DataType) -> bool:
    """Whether every value of a type is encoded to as many bytes."""
    return not _codec(_plain_type(kind)).varying


def whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array, without a copy where it is one already (`combine_chunks` copies even that)."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def _plain(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column of the encoder's type as an array of its plain type."""
    if array.type != kind:
        array = array.cast(kind)
    while array.type != _plain_type(kind):
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif pa.types.is_run_end_encoded(array.type):
            array = pc.run_end_decode(array)
        else:
            array = array.cast(_plain_type(kind))
    return array


def _nulls(array: pa.Array) -> Mask | None:
    """Which values are null; None if none is."""
    if not array.null_count:
        return None
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False))


def _codec(kind: pa.DataType) -> _Codec:
    """How a plain type is encoded."""
    test = pa.types
    if test.is_null(kind):
        return _Codec(None)
    if test.is_boolean(kind):
        return _Codec(np.dtype(np.uint8), _booleans)
    if test.is_floating(kind):
        return _floats(np.dtype(f"f{kind.bit_width // 8}"))
    if test.is_interval(kind):
        return _Codec(np.dtype((np.int64, 2)), _intervals)
    if test.is_fixed_size_binary(kind) or test.is_primitive(kind) or test.is_decimal(kind):
        return _raw(kind.bit_width // 8)
    if test.is_string(kind) or test.is_binary(kind):
        return _Codec(None, varying=_strings(np.dtype(np.int32)))
    if test.is_large_string(kind) or test.is_large_binary(kind):
        return _Codec(None, varying=_strings(np.dtype(np.int64)))
    if test.is_nested(kind) and not test.is_union(kind):
        return _Codec(None, varying=_structs(kind) if test.is_struct(kind) else _lists(kind))
    raise TypeError(f"rows with a column of Arrow type {kind} cannot be compared")


def _raw_dtype(width: int) -> np.dtype[np.generic]:
    """A NumPy type of `width` bytes whose values are copied fast."""
    if width in (1, 2, 4, 8):
        return np.dtype(f"u{width}")
    return np.dtype((np.uint64, width // 8)) if width % 8 == 0 and width else np.dtype((np.uint8, width))


def _values(array: pa.Array, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """The value buffer of an array of fixed width, read-only."""
    data = np.frombuffer(array.buffers()[1], np.uint8)
    span = data[array.offset * dtype.itemsize : (array.offset + len(array)) * dtype.itemsize]
    if dtype.subdtype is None:
        return span.view(dtype)
    return span.view(dtype.base).reshape(len(array), *dtype.shape)


def _zeroed(values: NDArray[np.generic], nulls: Mask | None) -> NDArray[np.generic]:
    """The values with zero in place of whatever stands under a null."""
    if nulls is None:
        return values
    values = values.copy()
    values[nulls] = 0
    return values


def _raw(width: int) -> _Codec:
    """Values whose bytes are equal exactly if they are."""
    dtype = _raw_dtype(width)
    return _Codec(dtype, lambda array, nulls: _zeroed(_values(array, dtype), nulls))


def _booleans(array: pa.Array, nulls: Mask | None) -> NDArray[np.generic]:
    return _zeroed(np.asarray(array.fill_null(False).to_numpy(zero_copy_only=False)), nulls)


def _floats(dtype: np.dtype[np.generic]) -> _Codec:
    """Floats with one zero and one NaN."""

    def canonical(array: pa.Array, nulls: Mask | None) -> NDArray[np.generic]:
        values = _values(array, dtype) + np.zeros((), dtype)
        values[np.isnan(values)] = np.nan
        return _zeroed(values, nulls)

    return _Codec(dtype, canonical)


def _intervals(array: pa.Array, nulls: Mask | None) -> NDArray[np.generic]:
    """Days and the nanoseconds of the day, of months of 30 days."""
    parts = np.ascontiguousarray(_values(array, np.dtype((np.int32, 4)))).view(np.int32)
    ns = np.ascontiguousarray(parts[:, 2:]).view(np.int64)[:, 0]
    days = parts[:, 0].astype(np.int64) * 30 + parts[:, 1] + ns // _DAY_NS
    return _zeroed(np.stack([days, ns % _DAY_NS], axis=1), nulls)


def _strings(offset_dtype: np.dtype[np.generic]) -> Varying:
    """Strings and binaries with offsets of this type."""

    def spans(array: pa.Array, nulls: Mask | None) -> _Payload:
        _, offsets_buffer, data_buffer = array.buffers()
        offsets = np.frombuffer(offsets_buffer, offset_dtype)[array.offset : array.offset + len(array) + 1]
        starts = offsets[:-1].astype(np.int64)
        data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.zeros(0, np.uint8)
        return _Payload(data, starts, np.asarray(_zeroed(offsets[1:] - starts, nulls), np.int64))

    return spans


def _structs(kind: pa.StructType) -> Varying:
    """A struct's payload is the encoding of its fields as a row."""
    encoder = RowEncoder([kind.field(i).type for i in range(kind.num_fields)])

    def spans(array: pa.Array, nulls: Mask | None) -> _Payload:
        rows = encoder.encode(array.flatten(), len(array))
        lengths = _zeroed(np.diff(rows.offsets) * _WORD, nulls).astype(np.int64)
        return _Payload(rows.words.view(np.uint8), rows.offsets[:-1] * _WORD, lengths)

    return spans


def _lists(kind: pa.DataType) -> Varying:
    """A list's payload is the encodings of its items one after the other; a map is a list of (key, value)."""
    entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)]) if pa.types.is_map(kind) else kind.value_type
    encoder = RowEncoder([entry])

    def spans(array: pa.Array, nulls: Mask | None) -> _Payload:
        lists = array.cast(pa.list_(entry)) if pa.types.is_map(kind) else array
        items = lists.flatten()
        rows = encoder.encode([items], len(items))
        counts = np.asarray(pc.list_value_length(lists).fill_null(0), np.int64)
        bounds = rows.offsets[_offsets(counts)] * _WORD
        return _Payload(rows.words.view(np.uint8), bounds[:-1], np.diff(bounds))

    return spans
