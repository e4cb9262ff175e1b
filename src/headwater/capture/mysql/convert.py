"""Values of one column, as they stand in row images or in the text protocol, to an Arrow array.

Every conversion returns the array and where a value does not fit (bool per row; None if all do). Values that do not fit
are null in the array, or anything; the caller makes them null.
"""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.capture.mysql import charsets, kernels_rows, kernels_temporal, kernels_values, table_map
from headwater.capture.mysql import json as json_document
from headwater.capture.mysql.kernels_rows import VALUE
from headwater.capture.mysql.types import TEMPORAL, Column
from headwater.errors import SourceStopped

Bad = NDArray[np.bool_] | None
Converted = tuple[pa.Array, Bad]


@dataclass(frozen=True)
class Values:
    """One column's values: where each starts in `buffer` (uint8), its length and kind (`kernels_rows`), per row.

    `bases` is int64 [2, row]: where `kinds` is DIFF, start and length of the JSON document that changes apply to.
    """

    buffer: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    bases: NDArray[np.int64] | None = None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """bool per row: there is a value."""
        return np.equal(self.kinds, VALUE)

    def binary(self, pad: int = 0) -> pa.Array:
        """The bytes, each filled up to `pad` of them with zeros."""
        offsets, data = self.gathered(pad)
        return binary(offsets, data, self.valid)

    def gathered(self, pad: int = 0) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Offsets and data of `binary`."""
        size = kernels_rows.measure(self.lengths, self.kinds, pad)
        charsets.require_room(size)
        offsets, data = np.empty(self.kinds.size + 1, np.int32), np.empty(size, np.uint8)
        kernels_rows.gather(self.buffer, self.starts, self.lengths, self.kinds, pad, data, offsets)
        return offsets, data

    def each(self) -> list[bytes | None]:
        """The values as Python's bytes, for what no kernel reads."""
        begins, lengths = self.starts.tolist(), self.lengths.tolist()
        return [
            self.buffer[begin : begin + length].tobytes() if kind == VALUE else None
            for begin, length, kind in zip(begins, lengths, self.kinds.tolist(), strict=True)
        ]


def from_wire(column: Column, kind: int, meta: int, values: Values) -> Converted:
    """The column's values of row images.

    Args:
        column: as the table is defined.
        kind, meta: the type as TABLE_MAP says (`TableMap.types`, `TableMap.metas`).
        values: where they are.

    Raises:
        SourceStopped: `kind` is not one that a column of that definition can have.
    """
    reader = _WIRE.get(column.base, _text)
    array, bad = reader(column, kind, meta, values)
    return _as_wanted(column, array), bad


def from_text(column: Column, values: Values) -> Converted:
    """The column's values in the text protocol, selected by `types.select_expression`."""
    base = column.base
    if base in TEMPORAL:
        return _temporal_text(column, values)
    if base == "vector":
        return _vector(column, 0, 0, values)
    natural = column.natural_type
    if natural == pa.binary():
        array, bad = (_bytes if base in _PLAIN_BYTES else _geometry)(column, 0, 0, values)
    elif pa.types.is_string(natural) or (base == "decimal" and column.as_text):
        array, bad = _utf8(values.binary())
    elif natural == pa.bool_():
        array, bad = pc.equal(values.binary().cast(pa.string()), "1"), None
    elif natural == pa.float32():
        array, bad = values.binary().cast(pa.string()).cast(pa.float64()).cast(pa.float32()), None
    else:
        array, bad = values.binary().cast(pa.string()).cast(natural), None
    return _as_wanted(column, array), bad


_PLAIN_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})


def _as_wanted(column: Column, array: pa.Array) -> pa.Array:
    """As text, if the user wants text: bytes in hexadecimal, numbers as Arrow writes them."""
    if array.type == column.arrow_type:
        return array
    if pa.types.is_binary(array.type):
        return pa.array([None if value is None else value.hex() for value in array.to_pylist()], pa.string())
    if pa.types.is_list(array.type):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
    return array.cast(column.arrow_type)


def binary(offsets: NDArray[np.int32], data: NDArray[np.uint8], valid: NDArray[np.bool_]) -> pa.Array:
    """The Arrow binary array of those parts."""
    buffers = [_bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), valid.size, buffers)


def _bitmap(valid: NDArray[np.bool_]) -> pa.Buffer | None:
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _primitive(kind: pa.DataType, values: NDArray[np.generic], valid: NDArray[np.bool_]) -> pa.Array:
    """An Arrow array over the very memory of a NumPy one."""
    return pa.Array.from_buffers(kind, valid.size, [_bitmap(valid), pa.py_buffer(np.ascontiguousarray(values))])


def _utf8(array: pa.Array) -> Converted:
    """Bytes that should be UTF-8 as text; all at once, and only if that fails one by one."""
    try:
        return array.cast(pa.string()), None
    except pa.ArrowInvalid:
        bad = np.zeros(len(array), bool)
    for row, value in enumerate(array.to_pylist()):
        try:
            if value is not None:
                value.decode()
        except UnicodeDecodeError:
            bad[row] = True
    return pc.if_else(pa.array(bad), pa.scalar(None, pa.binary()), array).cast(pa.string()), bad


def _refuse(column: Column, kind: int) -> SourceStopped:
    return SourceStopped(
        f"column {column.name!r} is {column.source_type}, but the binlog has it as type {kind}: the table's definition "
        "here is not the one that these rows were written under",
        hint="take a new snapshot of the table: headwater snapshot SOURCE.TABLE",
    )


_WIDTHS = {table_map.TINY: 1, table_map.SHORT: 2, table_map.INT24: 3, table_map.LONG: 4, table_map.LONGLONG: 8}


def _integer(column: Column, kind: int, meta: int, values: Values) -> Converted:
    if kind not in _WIDTHS:
        raise _refuse(column, kind)
    out = np.zeros(values.kinds.size, np.int64)
    kernels_values.integers(values.buffer, values.starts, values.kinds, _WIDTHS[kind], not column.unsigned, out)
    return _primitive(column.natural_type, out.astype(column.natural_type.to_pandas_dtype()), values.valid), None


def _year(column: Column, kind: int, meta: int, values: Values) -> Converted:
    if kind != table_map.YEAR:
        raise _refuse(column, kind)
    out = np.zeros(values.kinds.size, np.int64)
    kernels_values.integers(values.buffer, values.starts, values.kinds, 1, False, out)
    return _primitive(pa.int16(), np.where(out > 0, out + 1900, 0).astype(np.int16), values.valid), None


def _float(column: Column, kind: int, meta: int, values: Values) -> Converted:
    width = {table_map.FLOAT: 4, table_map.DOUBLE: 8}.get(kind)
    if width is None or (width == 4) != (column.natural_type == pa.float32()):
        raise _refuse(column, kind)
    out = np.zeros(values.kinds.size, np.int64)
    kernels_values.integers(values.buffer, values.starts, values.kinds, width, False, out)
    bits = out.astype(np.uint32) if width == 4 else out
    return _primitive(column.natural_type, bits, values.valid), None


def _decimal(column: Column, kind: int, meta: int, values: Values) -> Converted:
    precision, scale = meta >> 8, meta & 0xFF
    if kind != table_map.NEWDECIMAL or (precision, scale) != column.decimal:
        raise _refuse(column, kind)
    rows = values.kinds.size
    if pa.types.is_decimal(column.arrow_type):
        out = np.zeros((rows, 2), np.uint64)
        stopped = kernels_values.decimals(values.buffer, values.starts, values.kinds, precision - scale, scale, out)
        array = _primitive(column.arrow_type, out, values.valid)
    else:
        data, offsets = np.empty((precision + 3) * rows, np.uint8), np.empty(rows + 1, np.int32)
        stopped = kernels_values.decimal_text(
            values.buffer, values.starts, values.kinds, precision - scale, scale, data, offsets
        )
        array = binary(offsets, data, values.valid).cast(pa.string()) if stopped < 0 else None
    if stopped >= 0:
        raise SourceStopped(
            f"the binlog cannot be decoded: column {column.name!r} holds bytes that are no {column.source_type}",
            hint="take a new snapshot of the table: headwater snapshot SOURCE.TABLE",
        )
    return array, None


def _bit(column: Column, kind: int, meta: int, values: Values) -> Converted:
    if kind != table_map.BIT:
        raise _refuse(column, kind)
    out = np.zeros(values.kinds.size, np.int64)
    kernels_values.bits(values.buffer, values.starts, values.lengths, values.kinds, out)
    array = _primitive(pa.uint64(), out, values.valid)
    return array if column.natural_type == pa.uint64() else pc.equal(array, pa.scalar(1, pa.uint64())), None


_TIMED = {
    "datetime": (table_map.DATETIME2, table_map.DATETIME),
    "timestamp": (table_map.TIMESTAMP2, table_map.TIMESTAMP),
    "time": (table_map.TIME2, table_map.TIME),
}


def _temporal(column: Column, kind: int, meta: int, values: Values) -> Converted:
    base = column.base
    days, micros = np.zeros(values.kinds.size, np.int64), np.zeros(values.kinds.size, np.int64)
    where = values.buffer, values.starts, values.kinds
    if base == "date":
        if kind not in (table_map.DATE, table_map.NEWDATE):
            raise _refuse(column, kind)
        kernels_temporal.dates(*where, days)
    elif kind not in _TIMED[base]:
        raise _refuse(column, kind)
    elif base == "timestamp":
        modern = kind == table_map.TIMESTAMP2
        kernels_temporal.timestamps(*where, meta if modern else column.fsp, modern, days, micros)
    elif kind == table_map.DATETIME2:
        kernels_temporal.datetimes(*where, meta, days, micros)
    elif kind == table_map.TIME2:
        kernels_temporal.times(*where, meta, micros)
    elif base == "time":
        kernels_temporal.old_times(*where, column.fsp, micros)
    else:
        kernels_temporal.old_datetimes(*where, column.fsp, days, micros)
    return _moments(column, values, days, micros)


def _temporal_text(column: Column, values: Values) -> Converted:
    if column.as_text:
        return _utf8(values.binary())
    offsets, data = values.gathered()
    days, micros = np.zeros(values.kinds.size, np.int64), np.zeros(values.kinds.size, np.int64)
    date, time = column.base != "time", column.base != "date"
    stopped = kernels_temporal.read_text(data, offsets, values.kinds, date, time, days, micros)
    if stopped >= 0:
        raise SourceStopped(
            f"the server sent something that is no {column.source_type} in column {column.name!r}",
            hint="report this with the server's version and the column's definition",
        )
    return _moments(column, values, days, micros)


def _moments(column: Column, values: Values, days: NDArray[np.int64], micros: NDArray[np.int64]) -> Converted:
    """The column's type of dates and times of day, or the text that the server writes."""
    rows, kinds = values.kinds.size, values.kinds
    date, time = column.base != "time", column.base != "date"
    if column.as_text:
        data, offsets = np.empty(32 * rows, np.uint8), np.empty(rows + 1, np.int32)
        kernels_temporal.write_text(days, micros, kinds, date, time, column.fsp, data, offsets)
        return binary(offsets, data, values.valid).cast(pa.string()), None
    if not date:
        outside = (micros < 0) | (micros >= 86_400_000_000)
        return _primitive(pa.time64("us"), np.where(outside, 0, micros), values.valid), _any(outside)
    out, bad = np.zeros(rows, np.int64), np.zeros(rows, np.uint8)
    unit = 86_400_000_000 if time else 1
    any_bad = kernels_temporal.moments(days, micros, kinds, unit, out, bad)
    array = _primitive(column.arrow_type, out if time else out.astype(np.int32), values.valid)
    return array, bad.astype(bool) if any_bad else None


def _any(bad: NDArray[np.bool_]) -> Bad:
    return bad if bad.any() else None


def _bytes(column: Column, kind: int, meta: int, values: Values) -> Converted:
    """BINARY(n) comes without the zeros at its end."""
    if kind in (table_map.BLOB_COMPRESSED, table_map.VARCHAR_COMPRESSED):
        return _inflated(column, values)
    pad = (column.numbers or (1,))[0] if column.base == "binary" else 0
    return values.binary(pad), None


def _geometry(column: Column, kind: int, meta: int, values: Values) -> Converted:
    offsets, data = values.gathered()
    out, out_offsets = np.empty_like(data), np.empty_like(offsets)
    stopped = kernels_values.ewkb(data, offsets, values.kinds, out, out_offsets)
    if stopped >= 0:
        raise SourceStopped(
            f"the server sent something that is no geometry in column {column.name!r}",
            hint="report this with the server's version and the column's definition",
        )
    return binary(out_offsets, out, values.valid), None


def _vector(column: Column, kind: int, meta: int, values: Values) -> Converted:
    """Floats end to end."""
    offsets, data = values.gathered()
    bad = np.diff(offsets) % 4 != 0
    if bad.any():
        kept = Values(values.buffer, values.starts, values.lengths, np.where(bad, 0, values.kinds).astype(np.uint8))
        array, _ = _vector(column, kind, meta, kept)
        return array, bad
    floats = pa.array(data.view("<f4"), pa.float32())
    array = pa.ListArray.from_arrays(pa.array(offsets // 4, pa.int32()), floats)
    if not values.valid.all():
        array = pc.if_else(pa.array(values.valid), array, pa.scalar(None, array.type))
    return _as_wanted(column, array), None


def _text(column: Column, kind: int, meta: int, values: Values) -> Converted:
    if kind in (table_map.BLOB_COMPRESSED, table_map.VARCHAR_COMPRESSED):
        array, bad = _inflated(column, values)
        offsets, data = np.frombuffer(array.buffers()[1], np.int32)[: len(array) + 1], array.buffers()[2]
        whole = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    else:
        (offsets, whole), bad = values.gathered(), None
    converted, moved = charsets.to_utf8(column.charset or "utf8mb4", whole, offsets)
    text, invalid = _utf8(binary(moved, converted, values.valid))
    return text, _either(bad, invalid)


def _either(one: Bad, other: Bad) -> Bad:
    return other if one is None else one if other is None else one | other


def _enum(column: Column, kind: int, meta: int, values: Values) -> Converted:
    if kind != table_map.ENUM:
        raise _refuse(column, kind)
    out = np.zeros(values.kinds.size, np.int64)
    kernels_values.integers(values.buffer, values.starts, values.kinds, meta, False, out)
    labels = pa.array(["", *column.labels], pa.string())
    bad = out >= len(labels)
    places = pa.array(np.where(bad, 0, out), mask=~values.valid)
    return labels.take(places), _any(bad)


def _set(column: Column, kind: int, meta: int, values: Values) -> Converted:
    if kind != table_map.SET:
        raise _refuse(column, kind)
    out = np.zeros(values.kinds.size, np.int64)
    kernels_values.integers(values.buffer, values.starts, values.kinds, meta, False, out)
    distinct, places = np.unique(out.view(np.uint64), return_inverse=True)
    texts = [",".join(label for i, label in enumerate(column.labels) if bits >> i & 1) for bits in distinct.tolist()]
    known = np.array([bits >> len(column.labels) == 0 for bits in distinct.tolist()], bool)
    array = pa.array(texts, pa.string()).take(pa.array(places, mask=~values.valid))
    return array, _any(~known[places]) if known.size else None


def _json(column: Column, kind: int, meta: int, values: Values) -> Converted:
    """MySQL's binary JSON; MariaDB's JSON is declared as longtext."""
    if kind != table_map.JSON:
        raise _refuse(column, kind)
    texts, bad = json_document.to_text(values.buffer, values.starts, values.lengths, values.kinds, values.bases)
    array, invalid = _utf8(texts)
    return array, _either(bad, invalid)


def _network(read: Callable[[bytes], str], width: int) -> Callable[[Column, int, int, Values], Converted]:
    """Types of MariaDB that are a fixed number of bytes, of which zeros at the end are cut off like BINARY's."""

    def convert(column: Column, kind: int, meta: int, values: Values) -> Converted:
        if kind != table_map.STRING or (values.lengths[values.valid] > width).any():
            raise _refuse(column, kind)
        seen: dict[bytes, str] = {}
        texts: list[str | None] = []
        for value in values.each():
            if value is not None and value not in seen:
                seen[value] = read(value.ljust(width, b"\0"))
            texts.append(None if value is None else seen[value])
        return pa.array(texts, pa.string()), None

    return convert


def _uuid(value: bytes) -> str:
    digits = value.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _inflated(column: Column, values: Values) -> Converted:
    """MariaDB's COMPRESSED columns: a byte that is 0 before plain bytes, else 0x80 | size of the length (1 to 4) | 8 if
    zlib's header is left out, then the length, high byte first, and the deflated bytes."""
    parts: list[bytes | None] = []
    bad = np.zeros(values.kinds.size, bool)
    for row, value in enumerate(values.each()):
        try:
            parts.append(None if value is None else _inflate(value))
        except (ValueError, zlib.error):
            parts.append(None)
            bad[row] = True
    return pa.array(parts, pa.binary()), _any(bad)


def _inflate(value: bytes) -> bytes:
    if not value or value[0] == 0:
        return value[1:]
    width = value[0] & 7
    if not value[0] & 0x80 or not 1 <= width <= 4:
        raise ValueError("unknown compression")
    size = int.from_bytes(value[1 : 1 + width], "big")
    engine = zlib.decompressobj(-zlib.MAX_WBITS if value[0] & 8 else zlib.MAX_WBITS)
    content = engine.decompress(value[1 + width :], size + 1)
    if len(content) != size:
        raise ValueError("not as long as it says")
    return content


_WIRE: dict[str, Callable[[Column, int, int, Values], Converted]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), _integer),
    "year": _year,
    **dict.fromkeys(("float", "double"), _float),
    "decimal": _decimal,
    "bit": _bit,
    **dict.fromkeys(TEMPORAL, _temporal),
    **dict.fromkeys(_PLAIN_BYTES, _bytes),
    **dict.fromkeys(
        (
            "geometry",
            "point",
            "linestring",
            "polygon",
            "multipoint",
            "multilinestring",
            "multipolygon",
            "geometrycollection",
        ),
        _geometry,
    ),
    "vector": _vector,
    "enum": _enum,
    "set": _set,
    "json": _json,
    "uuid": _network(_uuid, 16),
    "inet6": _network(lambda value: socket.inet_ntop(socket.AF_INET6, value), 16),
    "inet4": _network(lambda value: socket.inet_ntop(socket.AF_INET, value), 4),
}


def default_value(column: Column, text: str) -> pa.Scalar:
    """A constant default as a value; null if it cannot be held."""
    data = np.frombuffer(text.encode(), np.uint8)
    one = np.zeros(1, np.int64), np.array([data.size]), np.full(1, VALUE, np.uint8)
    array, bad = from_text(column, Values(data, *one))
    return array[0] if bad is None else pa.scalar(None, array.type)
