"""The embedded view: contract, rejects, late rows, checkpoints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.change import REJECT_SCHEMA
from headwater.engine.view import View
from headwater.errors import InvariantBroken, UserError
from headwater.sql.prelude import connect

T = pa.schema([("k", pa.string()), ("n", pa.int64())])
EVENTS = pa.schema([("id", pa.int64()), ("at_", pa.timestamp("us", "UTC"))])
PER_MINUTE = "SELECT window_start, count(*) AS n, max(id) AS last FROM tumble(e, at_, INTERVAL 1 MINUTE) GROUP BY ALL"
START = datetime(2024, 5, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def t(*rows: tuple[object, ...]) -> pa.Table:
    """Rows (k, n, weight)."""
    k, n, weights = zip(*rows, strict=True)
    return pa.table(
        {"k": pa.array(k, pa.string()), "n": pa.array(n, pa.int64()), "_weight": pa.array(weights, pa.int64())}
    )


def events(*rows: tuple[int, float | None]) -> pa.Table:
    """Rows (id, seconds after the start)."""
    times = [None if s is None else at(s) for _, s in rows]
    return pa.table([pa.array([i for i, _ in rows]), pa.array(times, pa.timestamp("us", "UTC"))], schema=EVENTS)


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


def windows(table: pa.Table) -> list[tuple[float, ...]]:
    """Rows of a windowed count, the start in seconds."""
    return sorted(
        ((r["window_start"] - START).total_seconds(), r["n"], *([r["_weight"]] if "_weight" in r else []))
        for r in table.to_pylist()
    )


def test_result_before_any_input_is_duckdbs_over_empty_tables() -> None:
    view = View("SELECT count(*) AS n, max(n) AS m FROM t", {"t": T})
    assert rows(view.result()) == [(0, None)]
    assert rows(view.apply({"t": t(("a", 3, 1))})) == [(0, None, -1), (1, 3, 1)]


def test_changes_are_consolidated() -> None:
    view = View("SELECT k FROM t WHERE n > 0", {"t": T})
    assert view.apply({"t": t(("a", 1, 1), ("a", 2, -1), ("b", 3, 1), ("c", 0, 1))}).to_pylist() == [
        {"k": "b", "_weight": 1}
    ]
    assert view.schema == pa.schema([("k", pa.string())])


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("SELECT k, count(*) AS c FROM t GROUP BY k", ("k",)),
        ("SELECT k AS name, n % 2 AS p, count(*) AS c FROM t GROUP BY k, n % 2", ("name", "p")),
        ("SELECT count(*) AS c FROM t GROUP BY k", ()),
        ("SELECT k, unnest([1, 2]) AS c FROM t GROUP BY k", ()),
        ("SELECT * FROM t", ()),
    ],
)
def test_key_is_inferred_from_group_by(sql: str, key: tuple[str, ...]) -> None:
    assert View(sql, {"t": T}).key == key


def test_one_bound_of_a_window_is_key_enough() -> None:
    sql = "SELECT window_start, count(*) AS n FROM tumble(e, at_, INTERVAL 1 MINUTE) GROUP BY window_start, window_end"
    assert View(sql, {"e": EVENTS}).key == ("window_start",)


def test_an_idle_input_holds_no_window_back() -> None:
    both = View(
        "SELECT e.window_start, count(*) AS n FROM tumble(e, at_, INTERVAL 1 MINUTE) e "
        "JOIN tumble(f, at_, INTERVAL 1 MINUTE) f ON e.window_start = f.window_start GROUP BY e.window_start",
        {"e": EVENTS, "f": EVENTS},
    )
    both.advance({"e": START + timedelta(minutes=5)})
    assert both.watermark is None
    both.advance({}, idle=["f"])
    assert both.watermark == START + timedelta(minutes=5)
    both.advance({"f": START + timedelta(minutes=1)})
    assert both.watermark == START + timedelta(minutes=5)  # it never goes back
    both.advance({"e": START + timedelta(minutes=9)})
    assert both.watermark == START + timedelta(minutes=5)  # f holds it back again
    both.advance({"f": START + timedelta(minutes=7)})
    assert both.watermark == START + timedelta(minutes=7)
    with pytest.raises(UserError, match="reads no 'g'"):
        both.advance({}, idle=["g"])


def test_a_checkpoint_alone_restores_a_view(tmp_path: Path) -> None:
    view = View("SELECT k, sum(n) AS s FROM t GROUP BY k", {"t": T}, name="sums", threads=2)
    view.apply({"t": t(("a", 1, 1), ("b", 2, 1))})
    view.checkpoint(str(tmp_path / "c"))
    again = View.restore(str(tmp_path / "c"))
    assert rows(again.apply({"t": t(("a", 5, 1))})) == [("a", 1, -1), ("a", 6, 1)]
    assert rows(View.restore(tmp_path / "c", threads=3).result()) == [("a", 1), ("b", 2)]


def test_a_view_that_keeps_no_result_says_so(tmp_path: Path) -> None:
    view = View("SELECT k FROM t", {"t": T}, keep_result=False)
    assert rows(view.apply({"t": t(("a", 1, 1))})) == [("a", 1)]
    with pytest.raises(UserError, match="keeps no copy"):
        view.result()
    view.checkpoint(tmp_path / "c")
    with pytest.raises(UserError, match="has no copy"):
        View.restore(tmp_path / "c", keep_result=True)


def test_a_checkpoint_with_the_result_may_follow_one_without(tmp_path: Path) -> None:
    """As when a model is built anew because another one reads it from now on."""
    without, kept = (View("SELECT k FROM t", {"t": T}, keep_result=keep) for keep in (False, True))
    without.checkpoint(tmp_path / "a")
    kept.checkpoint(tmp_path / "b", tmp_path / "a")
    assert View.restore(tmp_path / "b").result().num_rows == 0


def test_rejects_are_whole_though_only_some_columns_are_read() -> None:
    view = View("SELECT CAST(k AS INT) AS v FROM t", {"t": T})
    view.apply({"t": t(("bad", 7, 1))})
    (reject,) = view.take_rejects().to_pylist()
    assert pa.ipc.open_stream(reject["record"]).read_all().to_pylist() == [{"k": "bad", "n": 7, "_weight": 1}]


def test_wrong_tables_are_refused_and_change_nothing() -> None:
    view = View("SELECT k FROM t", {"t": T})
    with pytest.raises(UserError, match="reads no 'u'"):
        view.apply({"u": t(("a", 1, 1))})
    with pytest.raises(UserError, match="lacks n"):
        view.apply({"t": pa.table({"k": ["a"]})})
    with pytest.raises(UserError, match="should not: m"):
        view.apply({"t": t(("a", 1, 1)).append_column("m", pa.array([1]))})
    view.apply({"t": t(("a", 1, 1))})
    assert rows(view.result()) == [("a",)]


@pytest.mark.parametrize(
    "sql", ["SELECT k, count(*) AS c FROM t GROUP BY k", "SELECT k FROM t", "SELECT k, max(n) AS m FROM t GROUP BY k"]
)
def test_retracting_what_was_never_there_stops_the_view(sql: str) -> None:
    view = View(sql, {"t": T})
    with pytest.raises(InvariantBroken, match="retracted"):
        view.apply({"t": t(("a", 1, -1))})
    with pytest.raises(InvariantBroken, match="failed before"):
        view.apply({"t": t(("a", 1, 1))})


def test_rows_whose_expression_fails_are_rejected_whole_and_the_rest_goes_on() -> None:
    view = View("SELECT CAST(k AS INT) + 1 AS v FROM t WHERE n > 0", {"t": T}, name="model")
    given_rows = t(("1", 1, 1), ("x", 1, 1), ("2", 0, 1), ("y", 2, 2), ("3", 1, 1))
    assert rows(view.apply({"t": given_rows})) == [(2, 1), (4, 1)]
    rejects = view.take_rejects()
    assert rejects is not None
    assert rejects.schema == REJECT_SCHEMA
    assert [(r["stream"], r["stage"], r["reason"], r["weight"]) for r in rejects.to_pylist()] == [
        ("model/t", "evaluate", "conversion", 1),
        ("model/t", "evaluate", "conversion", 2),
    ]
    record = pa.ipc.open_stream(rejects.column("record")[1].as_py()).read_all()
    assert record.to_pylist() == [{"k": "y", "n": 2, "_weight": 2}]
    assert (view.counts.read, view.counts.landed, view.counts.rejected, view.counts.filtered) == (6, 2, 3, 1)
    assert view.take_rejects() is None


def test_a_rejected_row_can_be_retracted() -> None:
    view = View("SELECT k, sum(CAST(k AS INT)) AS s FROM t GROUP BY k", {"t": T})
    view.apply({"t": t(("x", 1, 1), ("4", 1, 1))})
    view.apply({"t": t(("x", 1, -1), ("4", 1, -1))})
    assert view.result().num_rows == 0
    assert [r["weight"] for r in view.take_rejects().to_pylist()] == [1, -1]
    assert view.counts.holds


def test_a_derived_row_that_fails_is_rejected_without_breaking_the_identity() -> None:
    view = View("SELECT k, CAST(repeat('9', count(*)::INT) AS TINYINT) AS c FROM t GROUP BY k", {"t": T}, name="v")
    view.apply({"t": t(("a", 1, 3), ("b", 1, 1))})
    assert rows(view.result()) == [("b", 9)]
    view.apply({"t": t(("a", 1, -1))})
    assert rows(view.result()) == [("a", 99), ("b", 9)]
    assert view.counts.holds and view.counts.rejected == 0
    assert [r["weight"] for r in view.take_rejects().to_pylist()] == [1, -1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["1", "22", "x", "", "7z", None]), st.sampled_from([1, 1, 2])), max_size=40))
def test_identity_holds_whatever_fails(given_rows: list[tuple[str | None, int]]) -> None:
    view = View("SELECT CAST(k AS INT) AS v FROM t WHERE k IS NOT NULL", {"t": T})
    table = t(*[(k, 0, w) for k, w in given_rows]) if given_rows else t(("1", 0, 0))
    view.apply({"t": table})
    good = sum(w for k, w in given_rows if k in ("1", "22"))
    nulls = sum(w for k, w in given_rows if k is None)
    assert (view.counts.landed, view.counts.filtered) == (good, nulls)
    assert view.counts.holds
    assert view.result().num_rows == good


def test_final_emits_a_window_once_when_it_is_closed() -> None:
    view = View(PER_MINUTE, {"e": EVENTS}, emit="final", lateness=timedelta(seconds=10))
    assert view.apply({"e": events((1, 5), (2, 59), (3, 61), (4, None))}).num_rows == 0
    assert view.watermark is None
    assert view.advance({"e": at(69.9)}).num_rows == 0
    view.apply({"e": events((5, 7))})
    assert windows(view.advance({"e": at(70)})) == [(0, 3, 1)]
    assert view.watermark == at(70)
    assert view.apply({"e": events((6, 8), (7, 62))}).num_rows == 0
    assert windows(view.advance({"e": at(200)})) == [(60, 2, 1)]
    assert windows(view.result()) == [(0, 3), (60, 2)]
    assert (view.counts.late, view.counts.filtered, view.counts.landed) == (1, 1, 5)
    (reject,) = view.take_rejects().to_pylist()
    assert (reject["stage"], reject["reason"], reject["stream"]) == ("late", "late", "view/e")


def test_a_watermark_never_goes_back() -> None:
    view = View(PER_MINUTE, {"e": EVENTS}, emit="final")
    view.apply({"e": events((1, 5), (2, 65))})
    view.advance({"e": at(60)})
    assert view.advance({"e": at(10)}).num_rows == 0
    assert view.watermark == at(60)


@pytest.mark.parametrize(("late", "counted", "rejected"), [("drop", 1, 0), ("reject", 1, 1), ("update", 0, 0)])
@pytest.mark.parametrize("emit", ["changes", "final"])
def test_late_policies(emit: str, late: str, counted: int, rejected: int) -> None:
    view = View(PER_MINUTE, {"e": EVENTS}, emit=emit, late=late)
    view.apply({"e": events((1, 5))})
    view.advance({"e": at(60)})
    change = windows(view.apply({"e": events((2, 6))}))
    assert change == ([(0, 1, -1), (0, 2, 1)] if late == "update" else [])
    assert view.counts.late == counted
    assert len(view.take_rejects() or []) == rejected
    assert view.counts.holds
    assert ("keeps 1 groups" in view.explain()) == (late == "update")


def test_state_of_closed_windows_is_freed() -> None:
    sql = "SELECT window_start, count(*) AS n FROM tumble(e, at_, INTERVAL 1 MINUTE) GROUP BY window_start, window_end"
    view = View(sql, {"e": EVENTS}, emit="final")
    view.apply({"e": events(*[(i, i * 30) for i in range(10)])})
    assert "keeps 5 groups" in view.explain()
    view.advance({"e": at(240)})
    assert "keeps 1 groups" in view.explain() and "keeps 1 rows of open windows" in view.explain()
    assert view.result().num_rows == 4


def test_a_row_of_a_hop_is_late_per_window() -> None:
    sql = "SELECT window_start, count(*) AS n FROM hop(e, at_, INTERVAL 30 SECOND, INTERVAL 1 MINUTE) GROUP BY ALL"
    view = View(sql, {"e": EVENTS}, emit="final")
    view.apply({"e": events((1, 45))})
    assert windows(view.advance({"e": at(60)})) == [(0, 1, 1)]
    view.apply({"e": events((2, 50), (3, 20))})
    assert windows(view.advance({"e": at(90)})) == [(30, 2, 1)]
    assert (view.counts.landed, view.counts.late, view.counts.missed_windows) == (2, 1, 1)
    assert view.counts.holds


TOP = """SELECT window_start, k, n, place FROM (
  SELECT *, row_number() OVER (PARTITION BY window_start, window_end ORDER BY n DESC, k) AS place FROM (
    SELECT window_start, window_end, k, count(*) AS n FROM hop(s, at_, INTERVAL 30 SECOND, INTERVAL 1 MINUTE) GROUP BY
    ALL))
WHERE place <= 2"""
SALES = pa.schema([("k", pa.string()), ("at_", pa.timestamp("us"))])


def sales(*given_rows: tuple[str, float]) -> pa.Table:
    times = [at(s).replace(tzinfo=None) for _, s in given_rows]
    return pa.table([pa.array([k for k, _ in given_rows]), pa.array(times, pa.timestamp("us"))], schema=SALES)


def test_top_per_hopping_window_in_both_emit_modes() -> None:
    given_rows = sales(("a", 35), ("a", 36), ("b", 40), ("b", 41), ("b", 42), ("c", 43), ("c", 70))
    changes, final = (View(TOP, {"s": SALES}, emit=emit) for emit in ("changes", "final"))
    changes.apply({"s": given_rows})
    assert final.apply({"s": given_rows}).num_rows == 0
    first = [r for r in rows(changes.result()) if r[0] == START.replace(tzinfo=None)]
    assert [r[1:] for r in first] == [("a", 2, 2), ("b", 3, 1)]
    assert rows(final.advance({"s": at(60)})) == [(*r, 1) for r in first]
    final.advance({"s": at(1000)})
    assert rows(final.result()) == rows(changes.result())
    assert "keeps 0 groups" in final.explain() and "keeps 0 rows of 0 keys" in final.explain()


def test_final_through_a_join_of_windows_waits_for_both_inputs() -> None:
    sql = """SELECT x.window_start, x.n, y.n AS m FROM
      (SELECT window_start, count(*) AS n FROM tumble(e, at_, INTERVAL 1 MINUTE) GROUP BY window_start) x
      JOIN (SELECT window_start, count(*) AS n FROM tumble(f, at_, INTERVAL 1 MINUTE) GROUP BY window_start) y
      ON x.window_start = y.window_start"""
    view = View(sql, {"e": EVENTS, "f": EVENTS}, emit="final")
    view.apply({"e": events((1, 5), (2, 6)), "f": events((3, 7))})
    assert view.advance({"e": at(100)}).num_rows == 0
    assert windows(view.advance({"f": at(60)})) == [(0, 2, 1)]


@pytest.mark.parametrize("split", [1, 2, 3])
def test_restored_in_the_middle_of_a_window(tmp_path: Path, split: int) -> None:
    steps = [events((1, 5), (2, 65)), at(60), events((3, 6), (4, 66)), at(125)]
    inputs, options = {"e": EVENTS}, {"emit": "final", "name": "m"}
    view = View(PER_MINUTE, inputs, **options)
    for number, step in enumerate(steps):
        if number == split:
            view.checkpoint(tmp_path / "c")
            view = View.restore(tmp_path / "c", PER_MINUTE, inputs, **options)
        if isinstance(step, datetime):
            view.advance({"e": step})
        else:
            view.apply({"e": step})
    assert windows(view.result()) == [(0, 1), (60, 2)]
    assert (view.counts.read, view.counts.late) == (4, 1)
    assert len(view.take_rejects()) == 1


def test_a_checkpoint_of_another_view_is_refused(tmp_path: Path) -> None:
    View("SELECT k FROM t", {"t": T}).checkpoint(tmp_path / "c")
    with pytest.raises(UserError, match="other SQL"):
        View.restore(tmp_path / "c", "SELECT n FROM t", {"t": T})


def test_float_sums_do_not_drift() -> None:
    floats = pa.schema([("x", pa.float64())])
    view = View("SELECT sum(x) AS s FROM f", {"f": floats})
    view.apply({"f": pa.table({"x": [1e17, 1.0]})})
    view.apply({"f": pa.table({"x": [1e17], "_weight": [-1]})})
    assert rows(view.result()) == [(1.0,)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(1, 3)), min_size=1, max_size=30))
def test_integer_sums_are_exact_and_come_back(given_rows: list[tuple[int, int]]) -> None:
    view = View("SELECT sum(n) AS s, count(n) AS c FROM t", {"t": T})
    view.apply({"t": t(*[("k", n, w) for n, w in given_rows], ("k", 5, 1))})
    total = sum(n * w for n, w in given_rows) + 5
    assert rows(view.result()) == [(Decimal(total), sum(w for _, w in given_rows) + 1)]
    view.apply({"t": t(*[("k", n, -w) for n, w in given_rows])})
    assert rows(view.result()) == [(Decimal(5), 1)]


def test_explain_names_the_last_resort() -> None:
    plan = View("SELECT string_agg(k) AS m FROM t", {"t": T}).explain()
    assert "recompute the whole" in plan and "last resort" in plan


def test_asof_joins_of_streams_are_no_nested_loops() -> None:
    connection = connect()
    sides = {name: pa.table({"k": range(100), "t": range(100)}) for name in ("l", "r")}
    for name, rows in sides.items():
        connection.register(name, pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches()))
    sql = "SELECT * FROM l ASOF JOIN r ON l.k = r.k AND l.t >= r.t"
    plan = connection.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
    connection.close()
    assert "ASOF_JOIN" in plan[0][1] and "NESTED_LOOP" not in plan[0][1], plan[0][1]
