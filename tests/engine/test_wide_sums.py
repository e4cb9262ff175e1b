"""Sums of more than 64-bit numbers against Python's integers: exact within 128 bits, out of range beyond."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.engine.view import View
from headwater.errors import SqlError

MOST = 10**38 - 1
SCHEMA = pa.schema([("k", pa.int64()), ("x", pa.decimal128(38, 0))])
SQL = "SELECT k, sum(x) AS s FROM t GROUP BY k"


def _delta(*rows: tuple[int, int]) -> pa.Table:
    columns = [pa.array([1] * len(rows)), pa.array([Decimal(x) for x, _ in rows], pa.decimal128(38, 0))]
    return pa.Table.from_arrays(columns, schema=SCHEMA).append_column("_weight", pa.array([w for _, w in rows]))


def _sum(view: View) -> int:
    """The result's one sum as its 128 bits say it, which may be more than 38 digits."""
    column = view.result().column("s").combine_chunks()
    return int.from_bytes(column.buffers()[1].to_pybytes()[16 * column.offset :][:16], "little", signed=True)


numbers = st.one_of(st.integers(-MOST, MOST), st.integers(-3, 3), st.sampled_from([MOST, -MOST, 2**64, -(2**64)]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, st.sampled_from([1, 1, 2, 3, 1_000_003])), min_size=1, max_size=8))
def test_sums_are_exact_or_out_of_range(rows: list[tuple[int, int]]) -> None:
    view = View(SQL, {"t": SCHEMA})
    expected = sum(x * weight for x, weight in rows)
    if -(2**127) <= expected < 2**127:
        view.apply({"t": _delta(*rows)})
        assert _sum(view) == expected
    else:
        with pytest.raises(SqlError, match="out of range"):
            view.apply({"t": _delta(*rows)})
    view.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(numbers, st.sampled_from([1, 7, 2**40])), min_size=1, max_size=8), st.integers(-9, 9))
def test_what_is_taken_back_leaves_nothing(rows: list[tuple[int, int]], left: int) -> None:
    view = View(SQL, {"t": SCHEMA})
    view.apply({"t": _delta((left, 1), *rows, *((x, -weight) for x, weight in rows))})
    assert _sum(view) == left
    view.close()


def test_sums_of_several_workers_are_exact_or_out_of_range() -> None:
    view = View("SELECT sum(x) AS s FROM t", {"t": SCHEMA}, threads=3)
    given = [(MOST if i % 2 else -MOST, 1) for i in range(20_000)]
    view.apply({"t": _delta(*given, (MOST, 1), (5, 1))})
    assert _sum(view) == MOST + 5
    with pytest.raises(SqlError, match="out of range"):
        view.apply({"t": _delta(*given, (MOST, 1))})
    view.close()


def test_a_restored_sum_is_out_of_range_all_the_same(tmp_path: Path) -> None:
    view = View(SQL, {"t": SCHEMA})
    view.apply({"t": _delta((MOST, 1))})
    view.checkpoint(tmp_path / "c")
    view.close()
    again = View.restore(tmp_path / "c")
    with pytest.raises(SqlError, match="out of range"):
        again.apply({"t": _delta((MOST - 1, 1))})
    again.close()


def test_an_average_of_a_sum_out_of_range_is_out_of_range() -> None:
    view = View("SELECT avg(x) AS a FROM t", {"t": SCHEMA})
    with pytest.raises(SqlError, match="out of range"):
        view.apply({"t": _delta((MOST, 1), (MOST - 1, 1))})
    view.close()
