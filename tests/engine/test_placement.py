"""Rows change workers only where they must, and rows of equal keys always meet."""

from __future__ import annotations

import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.placement import offered, places
from headwater.engine.share import Offered, Share, owners, received, split
from headwater.engine.view import View
from headwater.sql.plan import Scan

T = pa.schema([("a", pa.int64()), ("b", pa.int32()), ("n", pa.int64())])
INPUTS = {"t": T, "u": T}


def exchanges(sql: str) -> list[tuple[str, ...]]:
    """By which columns rows change workers in the plan of a query, in the order of its nodes."""
    view = View(sql, INPUTS)
    return [move.by for place in places(view.plan.nodes(), 2).values() for move in place.given if move is not None]


def test_rows_that_come_by_a_part_of_the_key_stay() -> None:
    inner = "SELECT a, count(*) AS c FROM t GROUP BY a"
    assert len(exchanges(inner)) == 1
    assert len(exchanges(f"SELECT a, c, count(*) AS m FROM ({inner}) GROUP BY a, c")) == 1
    assert len(exchanges(f"SELECT c, count(*) AS m FROM ({inner}) GROUP BY c")) == 2
    assert len(exchanges(f"SELECT a + 1 AS k, count(*) AS m FROM ({inner}) GROUP BY a + 1")) == 2


def test_only_the_side_of_a_join_that_is_elsewhere_moves() -> None:
    grouped = "(SELECT a, count(*) AS c FROM t GROUP BY a)"
    assert len(exchanges(f"SELECT x.a, x.c, u.n FROM {grouped} AS x JOIN u ON u.a = x.a")) == 2
    assert len(exchanges("SELECT t.a, count(*) AS c FROM t JOIN u ON t.a = u.a GROUP BY t.a")) == 2
    assert len(exchanges("SELECT u.a, count(*) AS c FROM t JOIN u ON t.a = u.a GROUP BY u.a")) == 2
    assert len(exchanges("SELECT t.b, count(*) AS c FROM t JOIN u ON t.a = u.a GROUP BY t.b")) == 3


def test_inputs_whose_rows_all_change_workers_are_offered() -> None:
    def shown(sql: str, workers: int = 2) -> frozenset[str]:
        found = offered(places(View(sql, INPUTS).plan.nodes(), workers), workers)
        return frozenset(node.stream for node in found if isinstance(node, Scan))

    first = "QUALIFY row_number() OVER (PARTITION BY b ORDER BY n, a) <= 3"
    assert shown("SELECT t.a, u.n FROM t JOIN u ON t.a = u.a") == {"t", "u"}
    assert shown("SELECT t.a, u.n FROM t JOIN u ON t.a = u.a WHERE u.n > 3") == {"t"}
    assert shown(f"SELECT a, b, n FROM t {first}") == {"t"}
    assert shown(f"SELECT a, b, n FROM t {first} UNION ALL SELECT a, b, n FROM t") == frozenset()
    assert shown("SELECT a, count(*) AS c FROM t GROUP BY a") == frozenset()
    assert shown(f"SELECT a, b, n FROM t {first}", 1) == frozenset()


def test_what_has_no_key_is_done_by_one_worker() -> None:
    assert exchanges("SELECT sum(n) AS s FROM t") == [()]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT c, count(*) AS m, sum(a) AS s FROM (SELECT a, count(*) AS c FROM t GROUP BY a) GROUP BY c",
        "SELECT t.b, count(*) AS c, sum(u.n) AS s FROM t JOIN u ON t.a = u.a GROUP BY t.b",
        "SELECT a, b, n FROM t QUALIFY row_number() OVER (PARTITION BY b ORDER BY n, a) <= 3",
        "SELECT count(*) AS c, max(n) AS m FROM t WHERE b % 3 = 1",
    ],
)
def test_large_batches_on_three_threads_equal_duckdb(sql: str) -> None:
    rng = np.random.default_rng(7)
    view, whole = View(sql, INPUTS, threads=3), {}
    for name, size in (("u", 3_000), ("t", 20_000)):
        columns = [rng.integers(0, 4_000, size), rng.integers(0, 50, size).astype(np.int32), np.arange(size)]
        whole[name] = pa.table(columns, schema=T)
        for start in range(0, size, 9_000):
            view.apply({name: whole[name].slice(start, 9_000)})
    with duckdb.connect() as connection:
        for name, rows in whole.items():
            connection.register(name, rows)
        expected = connection.sql(sql).fetchall()
    assert sorted(tuple(row.values()) for row in view.result().to_pylist()) == sorted(expected)
    view.close()


VALUES = {
    pa.int32(): st.integers(-5, 5), pa.int64(): st.integers(-5, 5),
    pa.float64(): st.sampled_from([0.0, -0.0, 1.5, math.nan]),
    pa.string(): st.sampled_from(["", "a", "abcdefgh", "abcdefghi", "ü"]), pa.bool_(): st.booleans(),
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["", "a", "b"]), pa.decimal128(10, 2): st.integers(0, 3),
    pa.list_(pa.int32()): st.lists(st.integers(0, 2), max_size=2),
}  # fmt: skip


@given(st.data())
def test_equal_values_have_one_owner(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(VALUES)))
    values = data.draw(st.lists(st.none() | VALUES[kind], min_size=1, max_size=30))
    begin = data.draw(st.integers(0, len(values) - 1))
    column = pa.array(values, kind)
    rows = pa.table({"k": column, "at": np.arange(len(values))})
    owner = owners(rows, ["k"], 3)
    assert (owners(rows.slice(begin), ["k"], 3) == owner[begin:]).all()
    seen: dict[str, int] = {}
    for value, number in zip(values, owner.tolist(), strict=True):
        canonical = "0.0" if value == 0 and isinstance(value, float) else repr(value)
        assert seen.setdefault(canonical, number) == number
    sent = [split(part, ["k"], 3) for part in (rows.slice(0, begin), rows.slice(begin))]
    for number in range(3):
        part = received(sent, number)
        mine = np.flatnonzero(Share(number, 3).mine(rows, ["k"]))
        assert (part.column("at").to_pylist() if part is not None else []) == mine.tolist()
        picked = received([Offered(rows, ["k"], 3)], number)
        assert (picked.column("at").to_pylist() if picked is not None else []) == mine.tolist()


def test_widths_of_integers_do_not_matter() -> None:
    values = list(range(-200, 200))
    kinds = (pa.int16(), pa.int32(), pa.int64())
    by_kind = [owners(pa.table({"k": pa.array(values, kind)}), ["k"], 7).tolist() for kind in kinds]
    assert by_kind[0] == by_kind[1] == by_kind[2]
    assert len(set(by_kind[0])) == 7
