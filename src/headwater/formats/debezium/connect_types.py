"""Values as Kafka Connect and Debezium write them in JSON, in the types that the event's schema gives them.

The semantic types are those of Debezium's connectors (https://debezium.io/documentation/reference/stable/connectors)
and of Kafka Connect's `org.apache.kafka.connect.data`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_PLAIN: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float": pa.float32(),
    "float32": pa.float32(),
    "double": pa.float64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bytes": pa.binary(),
}
_DAY, _TIME, _STAMP = pa.date32(), pa.time64("us"), pa.timestamp("us")
_ZONED = pa.timestamp("us", tz="UTC")
_UNITS: Mapping[str, tuple[pa.DataType, int, int]] = {
    "io.debezium.time.Date": (_DAY, 1, 1),
    "org.apache.kafka.connect.data.Date": (_DAY, 1, 1),
    "io.debezium.time.Time": (_TIME, 1000, 1),
    "io.debezium.time.MicroTime": (_TIME, 1, 1),
    "io.debezium.time.NanoTime": (_TIME, 1, 1000),
    "org.apache.kafka.connect.data.Time": (_TIME, 1000, 1),
    "io.debezium.time.Timestamp": (_STAMP, 1000, 1),
    "io.debezium.time.MicroTimestamp": (_STAMP, 1, 1),
    "io.debezium.time.NanoTimestamp": (_STAMP, 1, 1000),
    "org.apache.kafka.connect.data.Timestamp": (_STAMP, 1000, 1),
}
"""Numbers of a unit: the type, and what to multiply and then divide by to have microseconds or days."""
_TEXTS = {"io.debezium.time.ZonedTimestamp": _ZONED}
_DECIMAL = "org.apache.kafka.connect.data.Decimal"
_DIGITS = 38


@dataclass(frozen=True)
class ConnectType:
    """A column's type: the plain one, the semantic one or "", and a decimal's precision and scale."""

    plain: str
    semantic: str = ""
    precision: int = _DIGITS
    scale: int = 0


def row_types(schema: str | None) -> dict[str, ConnectType]:
    """The types of a row's columns in the text of an envelope's schema; empty if it says nothing of them."""
    try:
        parsed = json.loads(schema) if schema else {}
        fields = [f for f in parsed.get("fields", ()) if f.get("field") in ("after", "before")]
        return {column["field"]: _connect_type(column) for field in fields for column in field.get("fields", ())}
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}


def _connect_type(column: Mapping[str, object]) -> ConnectType:
    given = cast("dict[str, str]", column.get("parameters") or {})
    precision = min(int(given.get("connect.decimal.precision", _DIGITS)), _DIGITS)
    return ConnectType(str(column["type"]), str(column.get("name") or ""), precision, int(given.get("scale", 0)))


def typed(values: pa.Array, kind: ConnectType) -> pa.Array:
    """Values in their type; as they came if they are not of it."""
    try:
        return _typed(values, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, duckdb.Error, ValueError):
        return values


def _typed(values: pa.Array, kind: ConnectType) -> pa.Array:
    if kind.semantic in _UNITS:
        wanted, times, by = _UNITS[kind.semantic]
        numbers = pc.divide(pc.multiply_checked(values.cast(pa.int64()), times), by)
        return numbers.cast(pa.int32()).cast(wanted) if wanted == _DAY else numbers.cast(wanted)
    if kind.semantic in _TEXTS:
        return values.cast(_TEXTS[kind.semantic])
    if kind.semantic == _DECIMAL:
        return _decimals(values, pa.decimal128(kind.precision, kind.scale))
    wanted = _PLAIN.get(kind.plain)
    if wanted is None or values.type.equals(wanted):
        return values
    if pa.types.is_binary(wanted):
        return _bytes(values)
    if pa.types.is_string(wanted) and not pa.types.is_null(values.type):
        return values
    return values.cast(wanted)


def _bytes(values: pa.Array) -> pa.Array:
    """Base64 undone."""
    if pa.types.is_null(values.type):
        return values.cast(pa.binary())
    with duckdb.connect() as connection:
        connection.register("given", pa.table({"value": values, "number": pa.array(range(len(values)), pa.int64())}))
        found = connection.sql("SELECT from_base64(value) AS value FROM given ORDER BY number").to_arrow_table()
    chunks = found.column("value").cast(pa.binary()).chunks
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.binary())


def _decimals(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Decimals of base64 of the unscaled value, big endian, two's complement; or of text or numbers
    (`decimal.handling.mode`)."""
    if not pa.types.is_string(values.type):
        return values.cast(kind)
    raw = _bytes(values)
    lengths = pc.binary_length(raw).fill_null(0).to_numpy().astype(np.int64)
    if lengths.max(initial=0) > 16:
        raise ValueError("more than 16 bytes")
    data = np.frombuffer(b"".join(value or b"" for value in raw.to_pylist()) or b"\0", np.uint8)
    ends = np.cumsum(lengths)
    first = data[np.minimum(ends - lengths, len(data) - 1)]
    sign = np.where((first >= 128) & (lengths > 0), 255, 0).astype(np.uint8)
    wide = np.repeat(sign[:, None], 16, axis=1)
    for place in range(16):
        held = lengths > place
        wide[held, place] = data[ends[held] - 1 - place]
    valid = pa.py_buffer(np.packbits(raw.is_valid().to_numpy(zero_copy_only=False), bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(np.ascontiguousarray(wide))])
