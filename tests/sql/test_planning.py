"""Planning: the same plan in every process, for a checkpoint is of its nodes; and planners that know nothing of each
other."""

from __future__ import annotations

import os
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest

from headwater.errors import SqlError
from headwater.sql.check import check
from headwater.sql.prelude import shared

PROGRAM = """
from dataclasses import fields
from headwater.bench.incremental.constructs import CONSTRUCTS
from headwater.bench.incremental.rows import SCHEMAS
from headwater.sql.check import check
for construct in CONSTRUCTS.values():
    for node in check(construct.sql, SCHEMAS).plan.nodes():
        print(type(node).__name__, [(f.name, getattr(node, f.name)) for f in fields(node) if f.name != "inputs"],
              [source.name for source in node.inputs])
"""
T = pa.schema([("a", pa.int64()), ("ts", pa.timestamp("us"))])


def test_plans_do_not_hang_on_the_process() -> None:
    told = [
        subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
                       capture_output=True, text=True).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert told[0] == told[1]
    assert told[0].count("Scan") > 100


def test_connections_to_a_shared_database_see_only_their_own() -> None:
    with shared("test") as one, shared("test") as other:
        one.execute("CREATE TEMP TABLE t AS SELECT TIMESTAMP '2024-05-01 00:00:07' AS ts")
        one.register("given", pa.table({"ts": pa.array([7_000_000], pa.timestamp("us"))}))
        for name in ("t", "given"):
            found = one.sql(f"SELECT epoch(window_start) % 60 FROM tumble({name}, ts, INTERVAL 5 SECOND)").fetchall()
            assert found == [(5,)]
            with pytest.raises(duckdb.CatalogException):
                other.execute(f"FROM {name}")
        assert other.sql("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_a_select_is_planned_once_but_not_for_other_inputs() -> None:
    sql = "SELECT a + 1 AS b FROM t"
    assert check(sql, {"t": T}).plan is check(sql, {"t": T}).plan
    wider = check(sql, {"t": T.set(0, pa.field("a", pa.float64()))})
    assert [field.type for field in wider.columns] == [pa.float64()]


def test_a_mistake_is_told_each_time_in_an_error_of_its_own() -> None:
    first, second = (check("SELECT x FROM t", {"t": T}).mistakes for _ in range(2))
    assert isinstance(first[0], SqlError) and first[0] is not second[0]
    assert str(first[0]) == str(second[0])
