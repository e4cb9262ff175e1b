"""Lineage against DuckDB itself: what is not said to have a part in a column makes no difference to it."""

from __future__ import annotations

import os
import random
import zlib
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from oracle import Case, Row, canonical, read_cases

from headwater.sql.lineage import DIRECT, QueryLineage, lineage
from headwater.sql.prelude import connect

CASES = list(read_cases(Path(__file__).parent))
SHARE = 1 if os.environ.get("HEADWATER_SIZE", "pr") != "pr" else 9
"""One query in so many is tried; with HEADWATER_SIZE=night all."""
ROWS = 12


def contents(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Counter[object]] | None:
    """How often each value is in each column of the answer; None if the query fails on these rows."""
    try:
        answer = connection.sql(sql).to_arrow_table()
    except duckdb.Error:
        return None
    return {name: Counter(repr(canonical(v)) for v in answer[name].to_pylist()) for name in answer.column_names}


def load(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("given", table)
    connection.execute(f'CREATE OR REPLACE TABLE "{name}" AS FROM given')


def wrongly_left_out(case: Case, found: QueryLineage, rng: random.Random) -> list[str]:
    """Columns of the result that change with a column of which the lineage says that it has no part in them."""
    connection, wrong = connect(), []
    rows: dict[str, list[Row]] = {n: [i.row(rng, at) for at in range(ROWS)] for n, i in case.inputs.items()}
    for name, given in case.inputs.items():
        load(connection, name, given.table(rows[name]))
    before = contents(connection, case.sql)
    for name, given in case.inputs.items():
        for at, (column, _) in enumerate(given.columns):
            if (name, column) in found.rows:
                continue
            other = [given.row(rng, number + ROWS) for number in range(ROWS)]
            mixed = [(*row[:at], new[at], *row[at + 1 :]) for row, new in zip(rows[name], other, strict=True)]
            load(connection, name, given.table(mixed))
            after = contents(connection, case.sql)
            load(connection, name, given.table(rows[name]))
            if before is None or after is None:
                continue
            silent = [c for c in before if (name, column) not in found.columns.get(c, {})]
            wrong += [f"{name}.{column} changes {c}" for c in silent if before[c] != after[c]]
    return wrong


@pytest.mark.parametrize("case", CASES[::SHARE], ids=lambda case: case.name)
def test_what_is_not_in_the_lineage_makes_no_difference(case: Case) -> None:
    if "rejects" in case.settings:
        pytest.skip("fails on some rows by design")
    found = lineage(case.sql, {name: given.schema for name, given in case.inputs.items()})
    rng = random.Random(zlib.crc32(case.sql.encode()))
    for _ in range(3):
        assert wrongly_left_out(case, found, rng) == []


T = pa.schema([("id", pa.int64()), ("a", pa.int64()), ("b", pa.string()), ("ts", pa.timestamp("us"))])
U = pa.schema([("id", pa.int64()), ("c", pa.string())])


@pytest.mark.parametrize(
    ("sql", "columns", "rows"),
    [
        ("SELECT id, a AS x FROM t", {"id": {"t.id": "identity"}, "x": {"t.a": "identity"}}, {}),
        ("SELECT a + id AS s FROM t WHERE b = 'x'", {"s": {"t.a": "transformation", "t.id": "transformation"}},
         {"t.b": "filter"}),
        ("SELECT b, sum(a * 2) AS s, count(*) AS n FROM t GROUP BY b",
         {"b": {"t.b": "identity"}, "s": {"t.a": "aggregation"}, "n": {}}, {"t.b": "group"}),
        ("SELECT * EXCLUDE (id, ts, b) FROM t", {"a": {"t.a": "identity"}}, {}),
        ("SELECT t.a, u.c FROM t LEFT JOIN u USING (id)", {"a": {"t.a": "identity"}, "c": {"u.c": "identity"}},
         {"t.id": "join", "u.id": "join"}),
        ("WITH x AS (SELECT b, max(a) AS m FROM t GROUP BY b) SELECT upper(b) AS k, m + 1 AS n FROM x",
         {"k": {"t.b": "transformation"}, "n": {"t.a": "aggregation"}}, {"t.b": "group"}),
        ("SELECT id, sum(a) OVER (PARTITION BY b ORDER BY id) AS s FROM t",
         {"id": {"t.id": "identity"}, "s": {"t.a": "aggregation", "t.b": "window", "t.id": "window"}}, {}),
        ("SELECT id FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id AND u.c = t.b)",
         {"id": {"t.id": "identity"}}, {"t.id": "join", "u.id": "join", "u.c": "join", "t.b": "join"}),
        ("SELECT window_start, sum(a) AS s FROM tumble(t, ts, INTERVAL '1 minute') GROUP BY window_start",
         {"window_start": {"t.ts": "transformation"}, "s": {"t.a": "aggregation"}}, {"t.ts": "group"}),
        ("SELECT id, a FROM t UNION ALL SELECT id, length(c) FROM u",
         {"id": {"t.id": "identity", "u.id": "identity"}, "a": {"t.a": "identity", "u.c": "transformation"}}, {}),
        ("SELECT a FROM t ORDER BY id LIMIT 3", {"a": {"t.a": "identity"}}, {"t.id": "sort"}),
        ("SELECT b, string_agg(b, ',' ORDER BY id) AS l FROM t GROUP BY b",
         {"b": {"t.b": "identity"}, "l": {"t.b": "aggregation", "t.id": "aggregation"}}, {"t.b": "group"}),
    ],
)  # fmt: skip
def test_how(sql: str, columns: dict[str, dict[str, str]], rows: dict[str, str]) -> None:
    found = lineage(sql, {"t": T, "u": U})
    assert {n: {".".join(c): how for c, how in origins.items()} for n, origins in found.columns.items()} == columns
    named = {".".join(c): how for c, how in found.rows.items()}
    assert {column: named.get(column) for column in rows} == rows
    assert set(DIRECT).isdisjoint(found.rows.values())
