"""Rows as JSON documents, one each, for destinations that keep a record as a document.

Decimals are numbers with all their digits, times ISO 8601 (those in UTC ending in Z), binary values base64,
durations seconds; what JSON has no number for (NaN, infinity) is null.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import math
import re
import secrets
from collections.abc import Iterator

import pyarrow as pa

_NUMBER = "\x00" + secrets.token_hex(8)
_AS_NUMBER = re.compile(rf'"\\u0000{_NUMBER[1:]}([^"]*)"')


def documents(rows: pa.Table) -> list[bytes]:
    """A JSON object per row, by column name, in UTF-8."""
    exact = any(_has_decimal(field.type) for field in rows.schema)
    return [_document(row, exact=exact) for row in rows.to_pylist(maps_as_pydicts="strict")]


def _document(row: dict[str, object], *, exact: bool) -> bytes:
    try:
        text = json.dumps(row, default=_plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(row), default=_plain, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return (_AS_NUMBER.sub(r"\1", text) if exact else text).encode()


def _plain(value: object) -> object:
    if isinstance(value, decimal.Decimal):
        return f"{_NUMBER}{value:f}" if value.is_finite() else None
    if isinstance(value, datetime.datetime):
        text = value.isoformat()
        return text.replace("+00:00", "Z")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _finite(value: object) -> object:
    """The value without numbers that JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list) else value


def _has_decimal(kind: pa.DataType) -> bool:
    return pa.types.is_decimal(kind) or any(_has_decimal(part) for part in _parts(kind))


def _parts(kind: pa.DataType) -> Iterator[pa.DataType]:
    for number in range(kind.num_fields):
        yield kind.field(number).type
