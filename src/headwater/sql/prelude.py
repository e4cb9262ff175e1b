"""Time windows as DuckDB table macros, so that a model is valid DuckDB as it stands.

Each gives every column of the stream, then `window_start` and `window_end`. A row whose time is null belongs to no
window and does not appear. The engine's window operators run the very same text over a delta.

- `TUMBLE(stream, time, size)`, `HOP(stream, time, slide, size)` and `CUMULATE(stream, time, step, size)`: windows are
  [start, end), aligned to 1970-01-01 UTC, as in Flink and RisingWave. CUMULATE puts a row into the windows that begin
  where its TUMBLE window of `size` begins and end after each `step` that is not before the row.
- `SESSION(stream, key, time, gap)`: per key the runs of rows of which each is at most `gap` after the one before; the
  window ends `gap` after the last. Rows exactly `gap` apart are one session, as in Flink and Spark.
- `TUMBLE(stream, proctime(), size)`: by the time at which a row comes in. In DuckDB alone that is now.
"""

from __future__ import annotations

import re
from functools import cache

import duckdb

_EPOCH = "TIMESTAMP '1970-01-01'"

TUMBLE = f"""
SELECT s.*, time_bucket({{size}}, {{time}}, {_EPOCH}) AS window_start,
       time_bucket({{size}}, {{time}}, {_EPOCH}) + {{size}} AS window_end
FROM {{stream}} AS s
WHERE {{time}} IS NOT NULL"""

HOP = f"""
SELECT s.*, w.window_start, w.window_start + {{size}} AS window_end
FROM {{stream}} AS s, unnest(generate_series(
    time_bucket({{slide}}, {{time}} - {{size}}, {_EPOCH}) + {{slide}},
    time_bucket({{slide}}, {{time}}, {_EPOCH}), {{slide}})) AS w(window_start)
WHERE {{time}} IS NOT NULL"""

HOP_LAST = f"""
SELECT s.*, time_bucket({{slide}}, {{time}}, {_EPOCH}) AS window_start,
       time_bucket({{slide}}, {{time}}, {_EPOCH}) + {{size}} AS window_end
FROM {{stream}} AS s
WHERE {{time}} IS NOT NULL"""
"""Of the windows of HOP the last one of each row."""

CUMULATE = f"""
SELECT s.*, time_bucket({{size}}, {{time}}, {_EPOCH}) AS window_start, w.window_end
FROM {{stream}} AS s, unnest(generate_series(
    time_bucket({{step}}, {{time}}, {_EPOCH}) + {{step}},
    time_bucket({{size}}, {{time}}, {_EPOCH}) + {{size}}, {{step}})) AS w(window_end)
WHERE {{time}} IS NOT NULL"""

SESSION = """
SELECT s.* EXCLUDE ("starts#s", "ends#s"),
       max({time}) FILTER ("starts#s") OVER (
           PARTITION BY {key} ORDER BY {time} RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS window_start,
       min({time}) FILTER ("ends#s") OVER (
           PARTITION BY {key} ORDER BY {time} RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) + {gap} AS window_end
FROM (SELECT s.*, coalesce(lag({time}) OVER w + {gap} < {time}, true) AS "starts#s",
             coalesce({time} + {gap} < lead({time}) OVER w, true) AS "ends#s"
      FROM {stream} AS s WHERE {time} IS NOT NULL WINDOW w AS (PARTITION BY {key} ORDER BY {time})) AS s"""

ALONE = """
SELECT s.*, {time} AS window_start, {time} + {gap} AS window_end
FROM {stream} AS s
WHERE {time} IS NOT NULL"""
"""Each row as a session of its own: what it is judged late by."""

PROCESSING_TIME = "proctime"
"""Stands for the time at which a row comes in, as an argument of TUMBLE, HOP and CUMULATE."""

MACROS = (
    f"{PROCESSING_TIME}() AS now()::TIMESTAMP",
    "tumble(stream_, time_, size_) AS TABLE "
    + TUMBLE.format(stream="query_table(stream_)", time="time_", size="size_"),
    "hop(stream_, time_, slide_, size_) AS TABLE "
    + HOP.format(stream="query_table(stream_)", time="time_", slide="slide_", size="size_"),
    "cumulate(stream_, time_, step_, size_) AS TABLE "
    + CUMULATE.format(stream="query_table(stream_)", time="time_", step="step_", size="size_"),
    "session(stream_, key_, time_, gap_) AS TABLE "
    + SESSION.format(stream="query_table(stream_)", key="key_", time="time_", gap="gap_"),
)

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,
    "asof_loop_join_threshold": 0,
}
"""DuckDB does not know how many rows an Arrow stream has, takes it for few, and would have ASOF JOIN meet each row with
each."""
_TRYING: dict[str, str | bool | int | float | list[str]] = {"disabled_optimizers": "common_subexpressions"}
_TRIES = re.compile(r"\bTRY\s*\(", re.IGNORECASE)


def tries(sql: str) -> bool:
    """Whether SQL says TRY(...). What it has twice DuckDB computes once, before the TRY, which then catches nothing
    (seen with DuckDB 2.0): such SQL is for a connection that does not look for what is there twice (`trying`)."""
    return _TRIES.search(sql) is not None


def connect(threads: int = 1, *, trying: bool = False) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the prelude, in UTC, that sees no Python variables and keeps no order it was not asked
    for.

    Args:
        threads: that work on a query.
        trying: for SQL of which `tries` is true.
    """
    connection = _opened(threads, trying)
    install(connection)
    return connection


def shared(use: str, threads: int = 1, *, trying: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection of its own to the database that this process keeps for a use, set up as that of `connect`.

    To open a database takes twenty milliseconds, to connect to one ten microseconds. It is for temporary tables and
    views, which each connection has for itself, and not for functions, which all would see. Connections that work at
    the same time do so best on databases of their own: they share the locks of one.
    """
    return _database(use, threads, trying).cursor()


@cache
def _database(use: str, threads: int, trying: bool) -> duckdb.DuckDBPyConnection:
    """An empty database with the prelude for all connections to it."""
    connection = _opened(threads, trying)
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    for macro in MACROS:
        connection.execute(f"CREATE MACRO {macro}")
    return connection


def locked(threads: int, memory_bytes: int) -> duckdb.DuckDBPyConnection:
    """A connection like that of `connect` for SQL that a stranger wrote: it opens no file, loads nothing, and its
    settings cannot be changed any more. Its errors are JSON, with places. What is registered with it can be read.

    DuckDB's limit of memory does not hold for every function: the process needs one too.
    """
    outside: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": False,
        "allow_community_extensions": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "memory_limit": f"{memory_bytes}B",
        "temp_directory": "",  # what does not fit is told so, not written to a disk that it may not use
        "errors_as_json": True,
        **_TRYING,
    }
    connection = duckdb.connect(":memory:", config={**_SETTINGS, **outside, "threads": threads})
    install(connection)
    connection.execute("SET disabled_filesystems = 'LocalFileSystem'")
    connection.execute("SET lock_configuration = true")
    return connection


def _opened(threads: int, trying: bool) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={**_SETTINGS, **(_TRYING if trying else {}), "threads": threads})


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes the time windows known to a connection and sets its time zone to UTC, as models see it."""
    connection.execute("SET TimeZone = 'UTC'")
    for macro in MACROS:
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {macro}")
