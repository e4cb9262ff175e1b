"""Whether changes add up to an answer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.sql.prelude import shared

TOLERANCE = 1e-9
"""By how much, relatively, two floating point values may differ and be held equal."""


def differences(changes: Iterable[pa.RecordBatch], result: pa.Table) -> str:
    """What is not the same in the sum of `changes` and in `result`, as multisets of rows; "" if nothing is.

    Strings are compared by their MD5, floating point numbers to `TOLERANCE`, everything else as it is.
    """
    connection = shared("comparison")
    columns = ", ".join(_compared(field) for field in result.schema)
    connection.register("given", result)
    connection.execute(f"CREATE TEMP TABLE found AS SELECT {columns}, -1::BIGINT AS {WEIGHT} FROM given")
    for batch in changes:
        connection.register("given", batch)
        connection.execute(f"INSERT INTO found SELECT {columns}, {WEIGHT} FROM given")
    names = ", ".join(_quoted(name) for name in result.schema.names)
    left = connection.sql(
        f"SELECT {names}, sum({WEIGHT})::BIGINT AS {WEIGHT} FROM found GROUP BY ALL HAVING sum({WEIGHT}) <> 0"
    ).to_arrow_table()
    connection.close()
    return _settled(left)


def _settled(left: pa.Table) -> str:
    """The rows that did not cancel, less those that differ by rounding alone."""
    if not left.num_rows:
        return ""
    floats = [field.name for field in left.schema if pa.types.is_floating(field.type)]
    exact = [name for name in left.schema.names if name not in {*floats, WEIGHT}]
    order = [(name, "ascending") for name in [*exact, *floats]]
    weights = left.column(WEIGHT).to_numpy()
    more, less = (left.filter(pa.array(mine)).sort_by(order) for mine in (weights > 0, weights < 0))
    same = floats and more.num_rows == less.num_rows and more.select(exact).equals(less.select(exact))
    same = same and (more.column(WEIGHT).to_numpy() == -less.column(WEIGHT).to_numpy()).all()
    if same and all(_close(more.column(name), less.column(name)) for name in floats):
        return ""
    shown = left.slice(0, 2).to_pylist()
    return f"{more.num_rows} rows too many, {less.num_rows} missing, such as {shown}"


def _close(ours: pa.ChunkedArray, theirs: pa.ChunkedArray) -> bool:
    a, b = (column.to_numpy(zero_copy_only=False).astype(np.float64) for column in (ours, theirs))
    return bool(np.isclose(a, b, rtol=TOLERANCE, atol=0.0, equal_nan=True).all())


def _compared(field: pa.Field) -> str:
    name = _quoted(field.name)
    return f"md5_number({name}) AS {name}" if pa.types.is_string(field.type) else name


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
