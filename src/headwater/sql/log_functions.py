"""Functions for text of logs that every model may call, as if the project had defined them.

- `grok(text, pattern)`: a MAP of what the pattern names to the text that it matched; NULL if it does not match.
- `log_time(text, format)` and `log_time_in(text, format, zone)`: the time that a text says, in a format of
  Logstash's date filter (`headwater.grok.times`); NULL if it says none. What does not say its zone is in UTC, or in
  `zone`.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from functools import cache

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import Place
from headwater.grok.extract import check_zone, texts
from headwater.grok.pattern import compile_pattern
from headwater.grok.times import time_sql
from headwater.sql.functions import Columns, Function, arrow_type

_PLACE = Place("<headwater>")
_MAP = "MAP(VARCHAR, VARCHAR)"
_TIME = "TIMESTAMP WITH TIME ZONE"
_local = threading.local()


def functions_in(sql: str, hidden: frozenset[str] = frozenset()) -> tuple[Function, ...]:
    """Those of these functions that SQL may call.

    Args:
        sql: a SELECT.
        hidden: names that the project has given to functions of its own.
    """
    if not re.search(r"\b(?:grok|log_time|log_time_in)\b", sql, re.IGNORECASE):
        return ()
    return tuple(one for one in _functions() if one.name not in hidden and one.called_in(sql))


@cache
def _functions() -> tuple[Function, ...]:
    return (
        _function("grok", ("VARCHAR", "VARCHAR"), _MAP, _grok),
        _function("log_time", ("VARCHAR", "VARCHAR"), _TIME, _log_time),
        _function("log_time_in", ("VARCHAR", "VARCHAR", "VARCHAR"), _TIME, _log_time_in),
    )


def _function(name: str, arguments: tuple[str, ...], returns: str, body: Columns) -> Function:
    version = hashlib.sha256(f"{name} 1".encode()).hexdigest()[:16]
    return Function(name, arguments, returns, body, _PLACE, version)


def _grok(lines: pa.ChunkedArray, patterns: pa.ChunkedArray) -> pa.Array:
    return _by_settings(lines, (patterns,), arrow_type(_MAP), lambda part, given: _maps(part, given[0]))


def _maps(lines: pa.Array, text: str) -> pa.Array:
    """What a pattern found in lines, as a map each."""
    pattern = compile_pattern(text)
    columns, matched = texts(lines, pattern)
    if not columns:
        offsets = pa.array(np.zeros(len(lines) + 1, np.int32), mask=np.append(~matched, False))
        return pa.MapArray.from_arrays(offsets, pa.array([], pa.string()), pa.array([], pa.string()))
    valid = np.column_stack([column.is_valid().to_numpy(zero_copy_only=False) for column in columns])
    row, field = np.nonzero(valid)
    values = pa.concat_arrays(columns).take(pa.array(field * len(lines) + row))
    names = pa.DictionaryArray.from_arrays(pa.array(field), pa.array([one.name for one in pattern.fields]))
    offsets = np.concatenate(([0], np.cumsum(valid.sum(axis=1)))).astype(np.int32)
    marked = pa.array(offsets, mask=np.append(~matched, False))
    return pa.MapArray.from_arrays(marked, names.cast(pa.string()), values)


def _log_time(text: pa.ChunkedArray, formats: pa.ChunkedArray) -> pa.Array:
    return _by_settings(text, (formats,), arrow_type(_TIME), lambda part, given: _times(part, given[0], "UTC"))


def _log_time_in(text: pa.ChunkedArray, formats: pa.ChunkedArray, zones: pa.ChunkedArray) -> pa.Array:
    return _by_settings(text, (formats, zones), arrow_type(_TIME), lambda part, given: _times(part, given[0], given[1]))


def _times(text: pa.Array, form: str, zone: str) -> pa.Array:
    connection = _connection()
    check_zone(connection, zone)
    connection.register("given", pa.table({"text": text}))
    made = connection.sql(f"SELECT {time_sql('text', [form], zone)} AS value FROM given").to_arrow_table()
    connection.unregister("given")
    return _joined(made.column("value"))


def _connection() -> duckdb.DuckDBPyConnection:
    """A connection of the thread's own."""
    if not hasattr(_local, "connection"):
        _local.connection = duckdb.connect(config={"threads": 1})
        _local.connection.execute("SET TimeZone = 'UTC'")
    found: duckdb.DuckDBPyConnection = _local.connection
    return found


def _by_settings(
    rows: pa.ChunkedArray,
    settings: tuple[pa.ChunkedArray, ...],
    kind: pa.DataType,
    run: Callable[[pa.Array, tuple[str, ...]], pa.Array],
) -> pa.Array:
    """Runs over the rows of each combination of settings, of which there nearly always is one; NULL where one is
    NULL."""
    lines = _joined(rows)
    given = [_joined(column) for column in settings]
    uniques = [column.unique().to_pylist() for column in given]
    if all(len(values) == 1 and values[0] is not None for values in uniques):
        return run(lines, tuple(values[0] for values in uniques)).cast(kind)
    table = pa.table([lines, *given, pa.array(np.arange(len(lines)))], [*map(str, range(len(given) + 1)), "place"])
    parts, places = [pa.nulls(1, kind)], np.zeros(len(lines), np.int64)
    names = [str(number) for number in range(1, len(given) + 1)]
    for combination in table.select(names).group_by(names).aggregate([]).to_pylist():
        if None in combination.values():
            continue
        mask = np.ones(len(lines), np.bool_)
        for name, value in combination.items():
            mask &= pc.fill_null(pc.equal(_joined(table.column(name)), value), False).to_numpy(zero_copy_only=False)
        places[mask] = sum(map(len, parts)) + np.arange(int(mask.sum()))
        parts.append(run(lines.filter(pa.array(mask)), tuple(combination[name] for name in names)).cast(kind))
    return pa.concat_arrays(parts).take(pa.array(places))


def _joined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
