"""PostgreSQL's types as Arrow's: one mapping, from the text that the types' output functions write.

The snapshot (COPY) and the stream (pgoutput) both carry that same text, under the same session settings, and both
go through `Column.convert`, so a value read in the snapshot equals the same value read from the stream.

What has no exact Arrow type that DuckDB and Iceberg also hold stays text: an unbounded `numeric` (131,072 digits before
the point; any fixed scale would lose some), interval, timetz, uuid, json, enums, ranges, composites, money and
everything unknown; an array of any of them is a list of text. Casts are Arrow's, which refuse what does not fit
(DuckDB's would round a decimal), but for dates and times, of which Arrow reads fewer than there are
(`temporal`).
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.postgres import kernels, temporal
from headwater.schema import with_default

SOURCE_TYPE = b"headwater.source_type"
MAX_PRECISION = 38

FIRST_OWN_OID = 16384
"""Ids from here on are those of types that the user or an extension made (`FirstNormalObjectId`)."""

BOOL, BYTEA, NUMERIC = 16, 17, 1700
_SCALARS: dict[int, pa.DataType] = {
    BOOL: pa.bool_(),
    BYTEA: pa.binary(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    26: pa.int64(),  # oid: unsigned 32 bit
    700: pa.float32(),
    701: pa.float64(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", tz="UTC"),
}
Convert = Callable[[pa.Array], pa.Array]


def numeric_type(typmod: int) -> pa.DataType:
    """The decimal that holds every finite value of numeric(p, s), or text if there is none (`numeric_typmod_in`)."""
    if typmod < 4:
        return pa.string()
    precision = ((typmod - 4) >> 16) & 0xFFFF
    scale = (((typmod - 4) & 0x7FF) ^ 1024) - 1024
    digits, scale = (precision - scale, 0) if scale < 0 else (max(precision, scale), scale)
    return pa.decimal128(digits, scale) if digits <= MAX_PRECISION else pa.string()


def scalar_type(oid: int, typmod: int) -> pa.DataType:
    """Arrow's type for a built-in PostgreSQL type; text for all that have none."""
    if oid == NUMERIC:
        return numeric_type(typmod)
    return _SCALARS.get(oid, pa.string())


@dataclass(frozen=True)
class Column:
    """A column of a table and how to read it.

    Attributes:
        name: the column's name.
        oid, typmod: its declared type.
        base_oid, base_typmod: the same with domains unwrapped.
        source_type: the declared type as SQL writes it, "numeric(10,2)".
        as_text: the user wants the text (`text_columns`), or it is declared with more than one dimension.
        element, element_typmod: of an array: its elements' type with domains unwrapped; 0 for what is none.
        vector: a vector of pgvector: an array in brackets.
        number: its number in its table for ever (`pg_attribute.attnum`); 0 if it is not known.
        missing: the value, as text, of rows that were there when it came; None for null.
        dimensions: how many it is declared with; PostgreSQL holds nobody to it.
    """

    name: str
    oid: int
    typmod: int
    base_oid: int
    base_typmod: int
    source_type: str
    as_text: bool = False
    element: int = 0
    element_typmod: int = -1
    vector: bool = False
    number: int = 0
    missing: str | None = None
    dimensions: int = 0

    @cached_property
    def arrow_type(self) -> pa.DataType:
        """The type that rows of this column have."""
        if self.as_text:
            return pa.string()
        if self.element:
            return pa.list_(scalar_type(self.element, self.element_typmod))
        return scalar_type(self.base_oid, self.base_typmod)

    @property
    def field(self) -> pa.Field:
        """The stream's column. Nullable even under NOT NULL, which the source may give up at any time."""
        field = pa.field(self.name, self.arrow_type, metadata={SOURCE_TYPE: self.source_type.encode()})
        if self.missing is None:
            return field
        return with_default(field, self.convert(pa.array([self.missing.encode()], pa.binary())))

    def convert(self, values: pa.Array) -> pa.Array:
        """Typed values of their text.

        Args:
            values: binary, as the type's output function wrote them.

        Raises:
            pa.ArrowInvalid: at least one of them does not fit.
        """
        return _converter(self.arrow_type)(_braced(values) if self.vector and not self.as_text else values)

    @property
    def misfit(self) -> str:
        """Reason code for a value that does not fit."""
        if pa.types.is_string(self.arrow_type):
            return "invalid_text"
        return "array_shape_or_range" if pa.types.is_list(self.arrow_type) else "value_out_of_range"


def _converter(to: pa.DataType) -> Convert:
    """How text becomes `to`."""
    if pa.types.is_list(to):
        return lambda values: _lists(values, to.value_type)
    if pa.types.is_temporal(to):
        return lambda values: _moments(values, to)
    special = {pa.bool_(): _booleans, pa.binary(): _bytes}.get(to)
    return special or (lambda values: values.cast(pa.string()).cast(to))


def _booleans(values: pa.Array) -> pa.Array:
    text = values.cast(pa.string())
    if not pc.all(pc.is_in(text.drop_null(), pa.array(["t", "f"]))).as_py() and len(text.drop_null()):
        raise pa.ArrowInvalid("neither t nor f")
    return pc.equal(text, "t")


def _moments(values: pa.Array, to: pa.DataType) -> pa.Array:
    """Dates, times and timestamps."""
    offsets, data, valid = binary_buffers(values)
    numbers = np.zeros(len(values), np.int64)
    if pa.types.is_timestamp(to):
        bad = temporal.parse_timestamps(data, offsets, valid, to.tz is not None, numbers)
    else:
        parse = temporal.parse_dates if to == pa.date32() else temporal.parse_times
        bad = parse(data, offsets, valid, numbers)
    if bad:
        raise pa.ArrowInvalid(f"no {to}")
    moments = pa.array(numbers, mask=~valid)
    return moments.cast(pa.int32()).cast(to) if to == pa.date32() else moments.view(to)


def _braced(values: pa.Array) -> pa.Array:
    """Vectors, `[1,2]`, as array literals."""
    offsets, data, valid = binary_buffers(values)
    data, begins, ends = data.copy(), offsets[:-1][valid], offsets[1:][valid] - 1
    if (ends <= begins).any() or (data[begins] != ord("[")).any() or (data[ends] != ord("]")).any():
        raise pa.ArrowInvalid("not a vector")
    data[begins], data[ends] = ord("{"), ord("}")
    return binary_array(offsets, data, valid)


def _bytes(values: pa.Array) -> pa.Array:
    """Bytes of `\\x0aff` (bytea_output = hex): all the digits at once."""
    offsets, data, valid = binary_buffers(values)
    lengths = np.diff(offsets)
    prefixed = offsets[:-1][valid]
    if ((lengths[valid] < 2) | (lengths[valid] % 2 == 1)).any():
        raise pa.ArrowInvalid("not in hex format")
    if (data[prefixed] != ord("\\")).any() or (data[prefixed + 1] != ord("x")).any():
        raise pa.ArrowInvalid("not in hex format")
    keep = np.repeat(valid, lengths)  # a null may have bytes: Arrow's if_else leaves them there
    keep[prefixed] = keep[prefixed + 1] = False
    try:
        plain = binascii.unhexlify(data[keep].tobytes())
    except binascii.Error as error:
        raise pa.ArrowInvalid("not in hex format") from error
    ends = np.cumsum(np.where(valid, np.maximum(lengths - 2, 0), 0) // 2)
    return binary_array(np.concatenate(([0], ends)), np.frombuffer(plain, np.uint8), valid)


def _lists(values: pa.Array, element: pa.DataType) -> pa.Array:
    """Lists of array literals of one dimension."""
    offsets, data, valid = binary_buffers(values)
    elements, ends = np.empty(data.size, np.uint8), np.empty(data.size + 1, np.int32)
    element_valid, list_ends = np.empty(data.size + 1, bool), np.empty(len(values), np.int32)
    count = kernels.split_arrays(data, offsets, valid, elements, ends, element_valid, list_ends)
    if count < 0:
        raise pa.ArrowInvalid("not an array of one dimension that counts from 1")
    flat = binary_array(np.concatenate(([0], ends[:count])), elements, element_valid[:count])
    list_offsets = pa.array(np.concatenate(([0], list_ends)), pa.int32(), mask=np.append(~valid, False))
    return pa.ListArray.from_arrays(list_offsets, _converter(element)(flat))


def binary_buffers(values: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An Arrow binary array as int32 offsets into uint8 data, and where it is not null."""
    _, offsets, data = values.buffers()
    window = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    return window - window[0], bytes_[window[0] : window[-1]], values.is_valid().to_numpy(zero_copy_only=False)


def binary_array(offsets: np.ndarray, data: np.ndarray, valid: np.ndarray) -> pa.Array:
    """The Arrow binary array of those parts."""
    bitmap = np.packbits(valid, bitorder="little")
    buffers = [pa.py_buffer(part) for part in (bitmap, offsets.astype(np.int32, copy=False), data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)
