"""SESSION: fast path and general operator against DuckDB, whatever the order and the cut; and when state goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import multiset

from headwater.engine.view import View
from headwater.sql.prelude import shared

SCHEMA = pa.schema([("k", pa.string()), ("ts", pa.timestamp("us")), ("v", pa.int32())])
SQL = """SELECT k, window_start, window_end, count(*) AS n, count(v) AS c, sum(v) AS s, min(v) AS lo, max(ts) AS hi
FROM session(t, k, ts, INTERVAL 10 SECOND) GROUP BY ALL"""
BASE = datetime(2024, 5, 1)

Row = tuple[str | None, float, int | None]


def table(rows: list[Row], weight: int | None = None) -> pa.Table:
    times = [None if at is None else BASE + timedelta(seconds=at) for _, at, _ in rows]
    made = pa.table([[k for k, _, _ in rows], times, [v for _, _, v in rows]], schema=SCHEMA)
    return made if weight is None else made.append_column("_weight", pa.array([weight] * len(rows), pa.int64()))


def expected(rows: list[Row], sql: str = SQL) -> object:
    with shared("oracle") as connection:
        connection.register("given", table(rows))
        connection.execute("CREATE TEMP TABLE t AS FROM given")
        return multiset(connection.sql(sql).to_arrow_table())


rows_of = st.lists(
    st.tuples(
        st.sampled_from(["a", "a", None]),
        st.one_of(st.none(), st.integers(-60, 300).map(lambda n: n / 2)),
        st.one_of(st.none(), st.integers(-5, 5)),
    ),
    min_size=8,
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(rows_of, st.integers(1, 4))
def test_fast_path_equals_duckdb_in_any_order_and_cut(rows: list[Row], cut: int) -> None:
    view = View(SQL, {"t": SCHEMA}, append_only=["t"])
    assert "session_entries" in {node.fast for node in view.plan.nodes()}
    total = multiset(view.result())
    for start in range(0, len(rows), cut):
        total.update(multiset(view.apply({"t": table(rows[start : start + cut])})))
        wanted = expected(rows[: start + cut])
        assert multiset(view.result()) == wanted
        assert {row: n for row, n in total.items() if n} == wanted
    view.close()


@settings(max_examples=25, deadline=None)
@given(rows_of, rows_of, st.integers(1, 12), st.booleans())
def test_general_operator_splits_and_joins_sessions(a: list[Row], b: list[Row], cut: int, whole: bool) -> None:
    sql = "SELECT * FROM session(t, k, ts, INTERVAL 10 SECOND)" if whole else SQL
    view = View(sql, {"t": SCHEMA})
    view.apply({"t": table(a)})
    for start in range(0, len(b), cut):
        view.apply({"t": table(b[start : start + cut])})
        assert multiset(view.result()) == expected(a + b[: start + cut], sql)
    for start in range(0, len(a), cut):
        view.apply({"t": table(a[start : start + cut], -1)})
        assert multiset(view.result()) == expected(a[start + cut :] + b, sql)
    view.close()


@pytest.mark.parametrize("append_only", [["t"], []])
@pytest.mark.parametrize("threads", [1, 3])
def test_restored_sessions_go_on(append_only: list[str], threads: int, tmp_path: Path) -> None:
    rows = [("abcd"[i % 4], float(i * 37 % 200), i) for i in range(120)]
    view = View(SQL, {"t": SCHEMA}, append_only=append_only, threads=1)
    view.apply({"t": table(rows[:70])})
    view.checkpoint(tmp_path / "c")
    view.close()
    again = View.restore(tmp_path / "c", SQL, {"t": SCHEMA}, append_only=append_only, threads=threads)
    again.apply({"t": table(rows[70:])})
    assert multiset(again.result()) == expected(rows)
    again.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_checkpoints_that_build_on_each_other_hold_the_sessions(threads: int, tmp_path: Path) -> None:
    rows = [("abcd"[i % 4], float(i * 37 % 600), i) for i in range(240)]
    view = View(SQL, {"t": SCHEMA}, append_only=["t"])
    for number in range(6):
        view.apply({"t": table(rows[number * 40 : number * 40 + 40])})
        view.checkpoint(tmp_path / str(number), tmp_path / str(number - 1) if number else None)
    view.close()
    again = View.restore(tmp_path / "5", SQL, {"t": SCHEMA}, append_only=["t"], threads=threads)
    assert multiset(again.result()) == expected(rows)
    more = [("a", float(at), 1) for at in range(0, 600, 7)]
    again.apply({"t": table(more)})
    assert multiset(again.result()) == expected(rows + more)
    again.close()


def test_a_checkpoint_writes_the_sessions_that_changed(tmp_path: Path) -> None:
    view = View(SQL, {"t": SCHEMA}, append_only=["t"], keep_result=False)
    view.apply({"t": table([(f"k{i}", 0.0, i) for i in range(20_000)])})
    view.checkpoint(tmp_path / "0")
    view.apply({"t": table([("k7", 5.0, 1), ("new", 1.0, 1)])})
    view.checkpoint(tmp_path / "1", tmp_path / "0")
    old = {path.stat().st_ino for path in (tmp_path / "0").rglob("*") if path.is_file()}
    files = [path.stat() for path in (tmp_path / "1").rglob("*") if path.is_file()]
    written = sum(stat.st_size for stat in files if stat.st_ino not in old)
    assert written < 20_000 < sum(stat.st_size for stat in files)
    view.close()


@pytest.mark.parametrize("append_only", [["t"], []])
def test_final_gives_each_session_once_and_frees_it(append_only: list[str]) -> None:
    view = View(SQL, {"t": SCHEMA}, emit="final", append_only=append_only)
    assert not view.apply({"t": table([("a", 0, 1), ("a", 9, 2), ("b", 5, 3)])}).num_rows
    assert not view.advance({"t": BASE + timedelta(seconds=14)}).num_rows
    (b,) = view.advance({"t": BASE + timedelta(seconds=18)}).to_pylist()
    assert (b["k"], b["n"], b["window_end"]) == ("b", 1, BASE + timedelta(seconds=15))
    assert not view.apply({"t": table([("a", 17, 1)])}).num_rows
    (a,) = view.advance({"t": BASE + timedelta(seconds=30)}).to_pylist()
    assert (a["k"], a["n"], a["window_end"]) == ("a", 3, BASE + timedelta(seconds=27))
    assert "keeps 0 " in next(line for line in view.explain().splitlines() if "session by" in line)
    view.apply({"t": table([("a", 19, 1)])})
    assert view.counts.late == 1 and view.counts.holds
    assert view.take_rejects() is not None
    view.close()


def test_a_closed_session_is_not_reopened_by_a_row_that_touches_it() -> None:
    view = View(SQL, {"t": SCHEMA}, emit="final", append_only=["t"])
    view.apply({"t": table([("a", 0, 1)])})
    assert view.advance({"t": BASE + timedelta(seconds=11)}).num_rows == 1
    assert not view.apply({"t": table([("a", 9, 1)])}).num_rows
    (later,) = view.advance({"t": BASE + timedelta(seconds=40)}).to_pylist()
    assert (later["window_start"], later["n"]) == (BASE + timedelta(seconds=9), 1)
    view.close()


@pytest.mark.parametrize(
    "window", ["tumble(t, proctime(), INTERVAL 10 SECOND)", "hop(t, proctime(), INTERVAL 5 SECOND, INTERVAL 10 SECOND)"]
)
@pytest.mark.parametrize("append_only", [["t"], []])
def test_time_of_arrival(window: str, append_only: list[str]) -> None:
    sql = f"SELECT k, window_start, window_end, count(*) AS n FROM {window} GROUP BY ALL"
    view = View(sql, {"t": SCHEMA}, append_only=append_only)
    rows = [("a", 0.0, 1), ("a", 0.0, 1), ("b", None, 2)]
    view.apply({"t": table(rows)}, datetime(2024, 1, 1, 0, 0, 3, tzinfo=UTC))
    view.apply({"t": table(rows[:1])}, datetime(2024, 1, 1, 0, 0, 14))
    found = {(r["k"], r["window_start"].second, r["n"]) for r in view.result().to_pylist()}
    if "tumble" in window:
        assert found == {("a", 0, 2), ("b", 0, 1), ("a", 10, 1)}
    if not append_only:
        view.apply({"t": table(rows[:1] * 2, -1)}, datetime(2024, 1, 1, 0, 1))
        left = {(r["k"], r["window_start"].second, r["n"]) for r in view.result().to_pylist()}
        assert ("a", 10, 1) not in left
        view.apply({"t": table([("a", 0.0, 1), ("b", None, 2)], -1)}, datetime(2024, 1, 1, 0, 2))
        assert not view.result().num_rows
    assert view.counts.holds
    view.close()
