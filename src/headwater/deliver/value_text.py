"""Arrow columns as text that SQL databases read into columns of whatever type: a column at a time."""

from __future__ import annotations

import io
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv


def text_of(column: pa.ChunkedArray, binary_prefix: str = "\\x") -> pa.ChunkedArray:
    """A column as text: numbers and times as ISO writes them (UTC with its offset), binary as a prefix and hexadecimal
    digits, lists, structs and maps as JSON."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    if pa.types.is_dictionary(kind):
        return text_of(column.cast(kind.value_type), binary_prefix)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return _each(column, lambda value: binary_prefix + value.hex())
    if pa.types.is_nested(kind):
        return _each(column, json_text)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pc.replace_substring(column.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.string()), "Z", "+00:00")
    try:
        return column.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return _each(column, str)


def csv_of(columns: list[pa.ChunkedArray]) -> bytes:
    """Text columns as CSV (RFC 4180): every value in quotes, null as nothing at all."""
    sink = io.BytesIO()
    table = pa.table(columns, names=[str(at) for at in range(len(columns))])
    pacsv.write_csv(table, sink, pacsv.WriteOptions(include_header=False, quoting_style="all_valid"))
    return sink.getvalue()


def json_text(value: object) -> str:
    """A value as JSON; what JSON has no form for, as text."""
    return json.dumps(_plain(value), ensure_ascii=False, default=_other)


def _plain(value: object) -> object:
    """Maps come from Arrow as lists of pairs."""
    if isinstance(value, list) and value and all(isinstance(one, tuple) and len(one) == 2 for one in value):
        return {str(name): _plain(inner) for name, inner in value}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return value


def _other(value: object) -> object:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Decimal | timedelta) else repr(value)


def _each(column: pa.ChunkedArray, write: object) -> pa.ChunkedArray:
    assert callable(write)
    return pa.chunked_array([[None if value is None else write(value) for value in column.to_pylist()]], pa.string())
