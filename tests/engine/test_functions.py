"""Functions of the user's own: called from SQL, wrong rows rejected alone, part of what state means."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from oracle import multiset

import headwater
from headwater.engine.view import View
from headwater.errors import HeadwaterError, SqlError, UserError
from headwater.sql.prelude import connect

SCHEMA = pa.schema([("id", pa.int32()), ("b", pa.string()), ("p", pa.float64())])


@headwater.udf(["VARCHAR"], "VARCHAR")
def backwards(words: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.utf8_reverse(words)


@headwater.udf([pa.float64(), "INTEGER"], pa.float64(), name="scaled_by")
def scaled(values: pa.ChunkedArray, factors: pa.ChunkedArray) -> pa.ChunkedArray:
    if pc.any(pc.equal(factors, 13)).as_py():
        raise ValueError("thirteen")
    return pc.multiply(values, pc.cast(factors, pa.float64()))


@headwater.udf(["INTEGER"], "BIGINT")
def wrong_type(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(values, pa.string())


FUNCTIONS = [backwards, scaled, wrong_type]


def rows(ids: range) -> pa.Table:
    words = [None if i % 5 == 0 else f"w{i % 7}" for i in ids]
    return pa.table([list(ids), words, [i / 2 for i in ids]], schema=SCHEMA)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id, backwards(b) AS r, scaled_by(p, 2) AS s FROM t WHERE backwards(b) <> '3w' OR b IS NULL",
        "SELECT backwards(b) AS r, count(*) AS n, sum(scaled_by(p, id)) AS s, max(backwards(b)) AS m FROM t GROUP BY r",
        "SELECT x.id, y.id AS yid FROM t x JOIN t y ON backwards(x.b) = backwards(y.b) AND y.id < x.id",
        "SELECT id, row_number() OVER (PARTITION BY BACKWARDS(b) ORDER BY scaled_by(p, -1), id) AS n FROM t",
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_views_that_call_them_equal_duckdb(sql: str, threads: int) -> None:
    view = View(sql, {"t": SCHEMA}, functions=FUNCTIONS, threads=threads)
    with connect() as oracle:
        for function in FUNCTIONS:
            function.register(oracle)
        view.apply({"t": rows(range(40, 53))})
        view.apply({"t": rows(range(14, 40))})
        view.apply({"t": rows(range(20, 30)).append_column("_weight", pa.array([-1] * 10, pa.int64()))})
        oracle.register("t", pa.concat_tables([rows(range(40, 53)), rows(range(14, 20)), rows(range(30, 40))]))
        assert multiset(view.result()) == multiset(oracle.sql(sql).to_arrow_table())
    view.close()


def test_rows_on_which_one_raises_are_rejected_alone_with_its_place() -> None:
    view = View("SELECT id, scaled_by(p, id) AS s FROM t", {"t": SCHEMA}, functions=FUNCTIONS)
    view.apply({"t": rows(range(60))})
    assert view.result().num_rows == 59
    (reject,) = view.take_rejects().to_pylist()
    assert "scaled_by" in reject["message"] and "thirteen" in reject["message"]
    assert f"{__file__}:{scaled.place.line + 3}" in reject["message"]
    assert view.counts.rejected == 1 and view.counts.holds
    view.close()


def test_an_answer_of_another_type_is_told() -> None:
    view = View("SELECT wrong_type(id) AS w FROM t", {"t": SCHEMA}, functions=FUNCTIONS)
    view.apply({"t": rows(range(3))})
    assert "returned string, not int64" in view.take_rejects().to_pylist()[0]["message"]
    view.close()


def test_an_unknown_function_is_a_mistake() -> None:
    with pytest.raises(SqlError, match="backwards"):
        View("SELECT backwards(b) FROM t", {"t": SCHEMA})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: headwater.udf(["INTEGER"], "INTEGER", deterministic=False)(f), "same answer"),
        (lambda f: headwater.udf(["INTEGER"], "INTEGER", name="upper")(f), "already"),
        (lambda f: headwater.udf(["INTEGER"], "INTEGER", name="initcap")(f), "already"),
        (lambda f: headwater.udf(["INTEGRE"], "INTEGER", name="mine")(f), "no type INTEGRE"),
        (lambda f: headwater.udf(["INTEGER"], "INTEGER", name="a b")(f), "cannot call"),
    ],
)
def test_what_cannot_be_a_function(make: object, message: str) -> None:
    def body(values: pa.ChunkedArray) -> pa.ChunkedArray:
        return values

    with pytest.raises(UserError, match=message) as raised:
        make(body)
    assert raised.value.place is not None and raised.value.place.file == __file__


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="two functions"):
        View("SELECT 1 AS x FROM t", {"t": SCHEMA}, functions=[backwards, backwards])


def test_state_of_another_function_is_not_taken(tmp_path: Path) -> None:
    def other(words: pa.ChunkedArray) -> pa.ChunkedArray:
        return words

    changed = headwater.udf(["VARCHAR"], "VARCHAR", name="backwards")(other)
    sql = "SELECT backwards(b) AS r FROM t"
    view = View(sql, {"t": SCHEMA}, functions=[backwards])
    view.apply({"t": rows(range(9))})
    view.checkpoint(tmp_path / "c")
    view.close()
    with pytest.raises(HeadwaterError):
        View.restore(tmp_path / "c", functions=[changed])
    again = View.restore(tmp_path / "c", functions=[backwards])
    assert Counter(again.result().column("r").to_pylist())["1w"] == 2
    again.close()
