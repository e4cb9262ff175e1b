"""DuckDB's answer to a construct over the rows that are left after all changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from headwater.bench.incremental.rows import SCHEMAS
from headwater.change import WEIGHT
from headwater.sql.prelude import shared


def answer(sql: str, batches: Iterable[Mapping[str, pa.Table]]) -> pa.Table:
    """The answer over what the batches add up to.

    Args:
        sql: what is asked.
        batches: changes by table; without `_weight` all +1. No row is there twice.
    """
    connection = shared("answers", threads=2)
    for stream, schema in SCHEMAS.items():
        connection.register("given", schema.append(pa.field(WEIGHT, pa.int64())).empty_table())
        connection.execute(f"CREATE TEMP TABLE {stream}_changes AS FROM given")
    for batch in batches:
        for stream, rows in batch.items():
            connection.register("given", rows)
            weight = "" if WEIGHT in rows.column_names else f", 1 AS {WEIGHT}"
            connection.execute(f"INSERT INTO {stream}_changes SELECT *{weight} FROM given")
    for stream, schema in SCHEMAS.items():
        left = f"FROM {stream}_changes GROUP BY ALL HAVING sum({WEIGHT}) > 0"
        connection.execute(f"CREATE TEMP TABLE {stream} AS SELECT {', '.join(schema.names)} {left}")
        connection.execute(f"DROP TABLE {stream}_changes")
    result = connection.sql(sql).to_arrow_table()
    connection.close()
    return result
