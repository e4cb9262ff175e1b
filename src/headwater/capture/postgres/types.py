"""PostgreSQL's types as Arrow's: one mapping, from the text that the types' output functions write.

The snapshot (COPY) and the stream (pgoutput) both carry that same text, under the same session settings, and both
go through `Column.convert`, so a value read in the snapshot equals the same value read from the stream.

What has no exact Arrow type that DuckDB and Iceberg also hold stays text: an unbounded `numeric` (131,072 digits before
the point; any fixed scale would lose some), interval, timetz, uuid, json, enums, ranges, composites, money and
everything unknown. Casts are Arrow's, which refuse what does not fit; DuckDB's would round a decimal and read
"infinity" as a date.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.capture.postgres import kernels

SOURCE_TYPE = b"headwater.source_type"
MAX_PRECISION = 38

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
_ELEMENTS = {
    1000: BOOL,
    1001: BYTEA,
    1002: 18,
    1003: 19,
    1005: 21,
    1007: 23,
    1009: 25,
    1014: 1042,
    1015: 1043,
    1016: 20,
    1021: 700,
    1022: 701,
    1028: 26,
    1115: 1114,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: NUMERIC,
    1270: 1266,
    199: 114,
    2951: 2950,
    3807: 3802,
}
"""Array type to element type, by OID (`pg_type.dat`); arrays of anything else stay text."""

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
    """

    name: str
    oid: int
    typmod: int
    base_oid: int
    base_typmod: int
    source_type: str
    as_text: bool = False

    @cached_property
    def arrow_type(self) -> pa.DataType:
        """The type that rows of this column have."""
        if self.as_text:
            return pa.string()
        element = _ELEMENTS.get(self.base_oid)
        if element is not None:
            return pa.list_(scalar_type(element, self.base_typmod))
        return scalar_type(self.base_oid, self.base_typmod)

    @property
    def field(self) -> pa.Field:
        """The stream's column. Nullable even under NOT NULL, which the source may give up at any time."""
        return pa.field(self.name, self.arrow_type, metadata={SOURCE_TYPE: self.source_type.encode()})

    def convert(self, values: pa.Array) -> pa.Array:
        """Typed values of their text.

        Args:
            values: binary, as the type's output function wrote them.

        Raises:
            pa.ArrowInvalid: at least one of them does not fit.
        """
        return _converter(self.arrow_type)(values)

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
    special = {pa.bool_(): _booleans, pa.binary(): _bytes, pa.time64("us"): _times}.get(to)
    return special or (lambda values: values.cast(pa.string()).cast(to))


def _booleans(values: pa.Array) -> pa.Array:
    text = values.cast(pa.string())
    if not pc.all(pc.is_in(text.drop_null(), pa.array(["t", "f"]))).as_py() and len(text.drop_null()):
        raise pa.ArrowInvalid("neither t nor f")
    return pc.equal(text, "t")


def _times(values: pa.Array) -> pa.Array:
    """Times of day, read as times of 1970-01-01; "24:00:00" is refused."""
    text = pc.binary_join_element_wise("1970-01-01", values.cast(pa.string()), " ")
    return text.cast(pa.timestamp("us")).cast(pa.time64("us"))


def _bytes(values: pa.Array) -> pa.Array:
    """Bytes of `\\x0aff` (bytea_output = hex): all the digits at once."""
    offsets, data, valid = binary_buffers(values)
    lengths = np.diff(offsets)
    prefixed = offsets[:-1][valid]
    if ((lengths[valid] < 2) | (lengths[valid] % 2 == 1)).any():
        raise pa.ArrowInvalid("not in hex format")
    if (data[prefixed] != ord("\\")).any() or (data[prefixed + 1] != ord("x")).any():
        raise pa.ArrowInvalid("not in hex format")
    keep = np.ones(data.size, bool)
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
