"""DuckDB's answer to a query over all rows at once, and how long it takes."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb
import pyarrow as pa

from headwater.bench.nexmark.generator import Batch
from headwater.bench.nexmark.queries import Query
from headwater.bench.stopwatch import Stopwatch
from headwater.sql.prelude import connect

_REPEATS, _REPEAT_UNDER_S = 3, 3.0


def answer(query: Query, batches: Iterable[Batch], threads: int, watch: Stopwatch) -> pa.Table:
    """DuckDB's answer, from its tables to an Arrow table: timed three times if it is quick.

    Args:
        query: what is asked.
        batches: all rows; loading them is not timed.
        threads: DuckDB's.
        watch: takes each time as a lap.
    """
    connection = connect(threads)
    _load(connection, batches)
    while not watch.laps_s or (len(watch.laps_s) < _REPEATS and watch.seconds < _REPEAT_UNDER_S):
        with watch:
            result = connection.sql(query.batch_sql).to_arrow_table()
    connection.close()
    return result


def _load(connection: duckdb.DuckDBPyConnection, batches: Iterable[Batch]) -> None:
    known: set[str] = set()
    for batch in batches:
        for stream, rows in batch.items():
            connection.register("given", rows)
            into = f"INSERT INTO {stream}" if stream in known else f"CREATE TABLE {stream} AS"
            connection.execute(f"{into} FROM given")
            known.add(stream)
    connection.unregister("given")
