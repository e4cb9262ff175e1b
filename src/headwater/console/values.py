"""Rows as JSON can hold them, for pages: numbers within 2^53, text, true, false, null, lists and objects."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta

import duckdb
import pyarrow as pa

from headwater.console.shapes.shape import Column, Json, Rows
from headwater.serve.moments import printable

EXACT = 2**53
"""Integers beyond it are text: JavaScript would round them."""
TEXT_SHOWN = 10_000
"""Characters of one value; what is longer is cut and ends in an ellipsis."""


def rows_of(table: pa.Table, *, truncated: bool = False) -> Rows:
    """A small table for a page."""
    shown = printable(_in_microseconds(table))
    columns = [[plain(value) for value in column.to_pylist()] for column in shown.columns]
    rows = [list(row) for row in zip(*columns, strict=True)] if columns else []
    return Rows(columns=columns_of(table.schema), rows=rows, truncated=truncated)


def columns_of(schema: pa.Schema) -> list[Column]:
    """The columns with their types as DuckDB writes them."""
    if not len(schema):
        return []
    with duckdb.connect() as connection:
        try:
            types = [str(kind) for kind in connection.from_arrow(schema.empty_table()).types]
        except duckdb.Error:  # a type that DuckDB has not
            types = [str(kind) for kind in schema.types]
    return [Column(name=name, type=kind) for name, kind in zip(schema.names, types, strict=True)]


def plain(value: object) -> Json:
    """A value as JSON can hold it."""
    match value:
        case None | bool():
            return value
        case str():
            return value if len(value) <= TEXT_SHOWN else value[:TEXT_SHOWN] + "…"
        case int():
            return value if -EXACT <= value <= EXACT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes():
            return base64.b64encode(value[:TEXT_SHOWN]).decode() + ("…" if len(value) > TEXT_SHOWN else "")
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case Sequence():
            return [plain(each) for each in value]
    return str(value)


def _in_microseconds(table: pa.Table) -> pa.Table:
    """Python has no nanoseconds."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            cast = table.column(place).cast(pa.timestamp("us", field.type.tz), safe=False)
            table = table.set_column(place, field.name, cast)
    return table
