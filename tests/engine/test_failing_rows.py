"""Rows, pairs and keys on which the SQL fails: rejected, while everything else goes on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.engine.view import View
from headwater.errors import SqlError

T = pa.schema([("k", pa.string()), ("note", pa.string()), ("n", pa.int64())])
U = pa.schema([("id", pa.int64()), ("x", pa.int64())])
INPUTS = {"t": T, "u": U}
OUTER = "SELECT t.k, t.n, u.x FROM t LEFT JOIN u ON t.n = u.id AND CAST(t.note || u.x AS INT) > 0"


def t(*given: tuple[str, str, int, int]) -> pa.Table:
    """Rows (k, note, n, weight)."""
    arrays = [pa.array(values, field.type) for values, field in zip(zip(*given, strict=True), [*T, W], strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema([*T, W]))


W = pa.field("_weight", pa.int64())


def u(*given: tuple[int, int, int]) -> pa.Table:
    """Rows (id, x, weight)."""
    ids, xs, weights = zip(*given, strict=True)
    return pa.table({"id": ids, "x": xs, "_weight": weights})


def rows(table: pa.Table) -> list[tuple[object, ...]]:
    return sorted((tuple(row.values()) for row in table.to_pylist()), key=repr)


def rejects(view: View) -> list[tuple[str, str, int, dict[str, object]]]:
    """What was rejected since the last call: (stream, reason, weight, record)."""
    taken = view.take_rejects()
    found = taken.to_pylist() if taken is not None else []
    records = [pa.ipc.open_stream(r["record"]).read_all().to_pylist()[0] for r in found]
    return [(r["stream"], r["reason"], r["weight"], record) for r, record in zip(found, records, strict=True)]


def test_the_aggregate_of_a_key_goes_on_without_the_row_that_fails() -> None:
    view = View("SELECT k, max(CAST(note AS INT)) AS m, count(*) AS c FROM t GROUP BY k", {"t": T}, name="v")
    view.apply({"t": t(("a", "1", 1, 1), ("a", "bad", 2, 1), ("b", "3", 3, 1))})
    assert rows(view.result()) == [("a", 1, 1), ("b", 3, 1)]
    assert rejects(view) == [("v/t", "conversion", 1, {"k": "a", "note": "bad", "n": 2, "_weight": 1})]
    assert (view.counts.read, view.counts.landed, view.counts.rejected) == (3, 2, 1)


def test_rows_that_a_filter_clause_leaves_out_need_not_be_cast() -> None:
    sql = "SELECT k, max(CAST(note AS INT)) FILTER (WHERE n > 1) AS m, count(*) AS c FROM t GROUP BY k"
    view = View(sql, {"t": T})
    view.apply({"t": t(("a", "7", 2, 1), ("a", "bad", 1, 1), ("a", "also bad", 3, 1))})
    assert rows(view.result()) == [("a", 7, 2)]
    assert [record["note"] for *_, record in rejects(view)] == ["also bad"]


def test_case_and_coalesce_guard_their_parts() -> None:
    guarded = "CASE WHEN note <> 'bad' THEN coalesce(n, CAST('x' || note AS INT)) END"
    view = View(
        f"SELECT k, max({guarded}) AS m, string_agg(note, ',' ORDER BY {guarded}) AS s FROM t GROUP BY k", {"t": T}
    )
    view.apply({"t": t(("a", "bad", 1, 1), ("a", "good", 2, 1))})
    assert rows(view.result()) == [("a", 2, "good,bad")]
    assert rejects(view) == []


def test_qualify_fails_after_the_window_function_has_seen_the_row() -> None:
    sql = "SELECT k, n FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY n DESC) = 1 AND CAST(note AS INT) > 0"
    view = View(sql, {"t": T}, name="v")
    view.apply({"t": t(("a", "1", 1, 1), ("a", "bad", 2, 1), ("b", "worse", 1, 1), ("b", "3", 3, 1))})
    assert rows(view.result()) == [("b", 3)]
    assert [(weight, record["note"]) for _, _, weight, record in rejects(view)] == [(1, "bad")]
    view.apply({"t": t(("a", "bad", 2, -1))})
    assert rows(view.result()) == [("a", 1), ("b", 3)]
    assert [(weight, record["note"]) for _, _, weight, record in rejects(view)] == [(-1, "bad")]


@pytest.mark.parametrize("on", ["t.n = u.id AND", ""])
def test_pairs_of_an_inner_join_that_fail_are_rejected_in_both_directions(on: str) -> None:
    sql = f"SELECT t.k, u.x FROM t JOIN u ON {on} CAST(t.note || u.x AS INT) > 0"
    view = View(sql, INPUTS)
    view.apply({"u": u((1, 10, 1))})
    view.apply({"t": t(("a", "1", 1, 1), ("b", "bad", 1, 2))})
    view.apply({"u": u((1, 20, 1))})
    assert rows(view.result()) == [("a", 10), ("a", 20)]
    assert [(weight, record["t.k"], record["u.x"]) for _, _, weight, record in rejects(view)] == [
        (2, "b", 10), (2, "b", 20)]  # fmt: skip
    view.apply({"t": t(("b", "bad", 1, -2), ("a", "1", 1, -1))})
    assert view.result().num_rows == 0
    assert [weight for _, _, weight, _ in rejects(view)] == [-2, -2]
    assert view.counts.holds


def test_a_key_that_cannot_be_computed_has_no_result_until_it_can(tmp_path: Path) -> None:
    view = View(OUTER, INPUTS, name="v")
    view.apply({"u": u((1, 10, 1), (2, 20, 1), (3, 30, 1)), "t": t(("a", "1", 1, 1), ("b", "2", 2, 1))})
    assert rows(view.apply({"t": t(("c", "bad", 1, 1), ("d", "4", 3, 1))})) == [("a", 1, 10, -1), ("d", 3, 30, 1)]
    ((stream, reason, weight, record),) = rejects(view)
    assert (stream.startswith("v/"), reason, weight, 1 in record.values()) == (True, "conversion", 1, True)
    view.checkpoint(tmp_path / "c")
    view = View.restore(tmp_path / "c", OUTER, INPUTS, name="v")
    assert view.apply({"t": t(("e", "5", 1, 1))}).num_rows == 0
    assert rejects(view) == [] and "1 keys fail" in view.explain()
    assert rows(view.apply({"t": t(("c", "bad", 1, -1), ("f", "6", 2, 1))})) == [
        ("a", 1, 10, 1), ("e", 1, 10, 1), ("f", 2, 20, 1)]  # fmt: skip
    assert [(weight, again) for _, _, weight, again in rejects(view)] == [(-1, {**record, "_weight": -1})]
    assert rows(view.result()) == [("a", 1, 10), ("b", 2, 20), ("d", 3, 30), ("e", 1, 10), ("f", 2, 20)]
    assert view.counts.holds and view.counts.rejected == 0


def test_each_of_many_keys_that_fail_is_told_once() -> None:
    view = View(OUTER, INPUTS)
    view.apply({"u": u(*[(i, 1, 1) for i in range(40)])})
    view.apply({"t": t(*[("k", "bad" if i % 3 == 0 else "1", i, 1) for i in range(40)])})
    assert sorted(n for _, n, _ in rows(view.result())) == [i for i in range(40) if i % 3]
    assert len(rejects(view)) == 14
    view.apply({"t": t(*[("k", "bad", i, -1) for i in range(0, 40, 3)])})
    assert [weight for _, _, weight, _ in rejects(view)] == [-1] * 14
    assert view.result().num_rows == 26


def test_a_key_that_fails_and_goes_away_is_taken_back() -> None:
    view = View(OUTER, INPUTS)
    view.apply({"u": u((1, 10, 1)), "t": t(("c", "bad", 1, 1))})
    view.apply({"u": u((1, 10, -1)), "t": t(("c", "bad", 1, -1))})
    assert view.result().num_rows == 0
    assert [weight for _, _, weight, _ in rejects(view)] == [1, -1]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST(note AS INT) AS v, n FROM t WHERE n >= 0",
        "SELECT k, n FROM t WHERE CAST(note AS INT) >= 0",
        "SELECT n, x.v FROM t, UNNEST([CAST(note AS INT)]) AS x(v)",
        "SELECT unnest([CAST(note AS INT)]) AS v FROM t",
    ],
)
def test_many_rows_of_a_batch_fail(sql: str) -> None:
    given = [("k", f"x{n}" if n % 3 == 0 else str(n), n, 1 + n % 2) for n in range(900)]
    view = View(sql, {"t": T})
    view.apply({"t": t(*given, ("k", "0", -1, 1), ("k", None, 5, 1))})
    found = rejects(view)
    assert Counter((record["note"], weight) for _, _, weight, record in found) == Counter(
        (note, weight) for _, note, n, weight in given if n % 3 == 0
    )
    assert {reason for _, reason, _, _ in found} == {"conversion"}
    assert view.counts.holds and view.counts.rejected == 450
    view.apply({"t": t(*[(k, note, n, -weight) for k, note, n, weight in given])})
    assert sum(weight for _, _, weight, _ in rejects(view)) == -450
    assert view.result().num_rows <= 2


def test_of_many_rows_that_fail_the_first_are_told_with_their_own_message() -> None:
    view = View("SELECT CAST(note AS INT) AS v FROM t", {"t": T})
    view.apply({"t": t(*[("k", f"x{n}", n, 1) for n in range(300)], ("k", "1", 1, 1))})
    messages = view.take_rejects().column("message").to_pylist()
    assert "'x7'" in messages[7] and len(set(messages)) > 100
    assert messages[-1].startswith("one of 300 rows of a batch on which it fails; the first says: Conversion Error")


def test_without_a_key_the_view_stops_and_says_what_to_do() -> None:
    view = View("SELECT k FROM t WHERE (k, CAST(note AS INT)) NOT IN (SELECT k, n FROM t)", {"t": T})
    with pytest.raises(SqlError, match="no key to tell the rows at fault by") as caught:
        view.apply({"t": t(("a", "bad", 1, 1))})
    assert "TRY_CAST" in caught.value.hint


@pytest.mark.parametrize("good", [3, 200])
def test_a_row_at_which_what_is_computed_twice_fails_is_rejected(good: int) -> None:
    """DuckDB computes the cast once, before the TRY with which the rows at fault are looked for."""
    sql = "SELECT k, CAST(note AS INT) AS number, 1 / (CAST(note AS INT) % 7) AS share FROM t"
    view = View(sql, {"t": T}, name="v")
    view.apply({"t": t(*((str(at), str(at), at, 1) for at in range(1, good + 1)), ("bad", "none", 0, 1))})
    assert view.result().num_rows == good
    assert [(reason, record["k"]) for _, reason, _, record in rejects(view)] == [("conversion", "bad")]


def test_what_is_tried_twice_is_null_where_it_fails() -> None:
    view = View("SELECT k, TRY(CAST(note AS INT) + 1) AS a, try (CAST(note AS INT) + 2) AS b FROM t", {"t": T})
    view.apply({"t": t(("a", "7", 1, 1), ("b", "bad", 2, 1))})
    assert rows(view.result()) == [("a", 8, 9), ("b", None, None)]
    assert not rejects(view)
