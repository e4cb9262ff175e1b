"""Dates and timestamps for people: those that Python and CSV have no words for, as DuckDB writes them."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

_DAY_US = 86_400_000_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, the first and last that Python has, in days since 1970."""


def printable(rows: pa.Table) -> pa.Table:
    """`rows` with every column as text that holds infinity, a year before 1 or one after 9999, also inside of lists."""
    for place, field in enumerate(rows.schema):
        if _beyond(rows.column(place)):
            rows = rows.set_column(place, field.name, _as_text(rows.column(place)))
    return rows


def _beyond(values: pa.ChunkedArray) -> bool:
    if pa.types.is_list(values.type):
        return any(_beyond(pa.chunked_array([chunk.flatten()])) for chunk in values.chunks)
    if pa.types.is_date32(values.type):
        first, last, numbers = _FIRST_DAY, _LAST_DAY, values.cast(pa.int32())
    elif pa.types.is_timestamp(values.type) and values.type.unit == "us":
        first, last, numbers = _FIRST_DAY * _DAY_US, (_LAST_DAY + 1) * _DAY_US - 1, values.cast(pa.int64())
    else:
        return False
    ends = pc.min_max(numbers)
    return bool(ends["min"].is_valid and (ends["min"].as_py() < first or ends["max"].as_py() > last))


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    many = pa.types.is_list(values.type)
    query = "SELECT CAST(moment AS VARCHAR[]) FROM given" if many else "SELECT CAST(moment AS VARCHAR) FROM given"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("given", pa.table({"moment": values}))
        return connection.sql(query).to_arrow_table().column(0)
