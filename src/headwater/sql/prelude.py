"""Time windows as DuckDB table macros, so that a model is valid DuckDB as it stands.

`TUMBLE(stream, time_column, size)` and `HOP(stream, time_column, slide, size)` give every column of the stream, then
`window_start` and `window_end`. Windows are [start, end), aligned to 1970-01-01 UTC, as in Flink and RisingWave. A
row whose time is null belongs to no window and does not appear. The engine's window operator runs the very same text
over a delta.
"""

from __future__ import annotations

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

MACROS = (
    "CREATE OR REPLACE TEMP MACRO tumble(stream_, time_, size_) AS TABLE "
    + TUMBLE.format(stream="query_table(stream_)", time="time_", size="size_"),
    "CREATE OR REPLACE TEMP MACRO hop(stream_, time_, slide_, size_) AS TABLE "
    + HOP.format(stream="query_table(stream_)", time="time_", slide="slide_", size="size_"),
)


def connect(threads: int = 1) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB with the prelude, in UTC, that sees no Python variables and keeps no order it was not asked
    for."""
    config: dict[str, str | bool | int | float | list[str]] = {"threads": threads, "python_enable_replacements": False}
    connection = duckdb.connect(":memory:", config=config)
    install(connection)
    return connection


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes TUMBLE and HOP known to a connection and sets its time zone to UTC, as models see it."""
    connection.execute("SET TimeZone = 'UTC'")
    for macro in MACROS:
        connection.execute(macro)
