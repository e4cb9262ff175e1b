"""Arithmetic and filters without SQL: DuckDB's answers and DuckDB's failures, up to the limits of every type."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import multiset

from headwater.engine.view import View
from headwater.sql.prelude import shared

_TYPES = {
    "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(), "u8": pa.uint8(), "u16": pa.uint16(),
    "u32": pa.uint32(), "t": pa.string(),
}  # fmt: skip
SCHEMA = pa.schema([("id", pa.int64()), *_TYPES.items()])


def _numbers(kind: pa.DataType) -> st.SearchStrategy[int | None]:
    bits = kind.bit_width
    low, high = (
        (0, (1 << bits) - 1) if pa.types.is_unsigned_integer(kind) else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    )
    edges = st.sampled_from([low, low + 1, high - 1, high, 0, high // 2, high // 3])
    return st.none() | st.integers(max(low, -5), 5) | st.integers(low, high) | edges


_TEXTS = st.none() | st.text(max_size=9) | st.text("ab\0\U0001f600é", max_size=40)
ROWS = st.lists(
    st.tuples(*(_TEXTS if name == "t" else _numbers(kind) for name, kind in _TYPES.items())), min_size=1, max_size=6
)


def _leaf(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 9))
    if kind < 5:
        return draw(st.sampled_from(["i8", "i16", "i32", "i64", "u8", "u16", "u32"]))
    if kind < 8:
        return draw(
            st.sampled_from(["0", "1", "2", "-1", "100", "0.908", "-0.5", ".25", "1.50", "7.", "65536", "2147483647"])
        )
    return draw(st.sampled_from(["length(t)", "strlen(t)", "length(t) - length(replace(t, 'a', ''))"]))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    """Sums, differences and products of columns, literals and lengths."""
    made = f"({_leaf(draw)})"
    if draw(st.integers(0, 9)) == 0:
        made = f"({made} % {draw(st.sampled_from(['1', '7', '65536']))})"
    for _ in range(draw(st.integers(0, 3))):
        sides = [made, f"({_leaf(draw)})"]
        left, right = sides if draw(st.booleans()) else reversed(sides)
        made = f"({left} {draw(st.sampled_from('+-*'))} {right})"
    return made


@st.composite
def conditions(draw: st.DrawFn) -> str:
    """Comparisons of columns with literals, joined."""
    names, texts = st.sampled_from(["i8", "i32", "u16", "i64 % 3"]), st.sampled_from(["''", "'a'", "'é'"])
    made = []
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 3)) == 0:
            made.append(f"t {draw(st.sampled_from(['=', '<>']))} {draw(texts)}")
        else:
            made.append(
                f"{draw(names)} {draw(st.sampled_from(['=', '<>', '<', '<=', '>', '>=']))} {draw(st.integers(-3, 3))}"
            )
    return f" {draw(st.sampled_from(['AND', 'OR']))} ".join(made)


def _table(rows: list[tuple[object, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, _TYPES.values(), strict=True)]
    return pa.table([pa.array(range(len(rows)), pa.int64()), *arrays], schema=SCHEMA)


def _oracle(t: pa.Table, expression: str, condition: str = "true") -> list[tuple[object, ...]]:
    """DuckDB's answer row by row, without those that fail."""
    with shared("oracle") as oracle:
        oracle.register("t", t)
        asked = f"FROM (SELECT id, TRY([{expression}]) AS x FROM t WHERE {condition}) WHERE x IS NOT NULL"
        return multiset(oracle.sql(f"SELECT id, x[1] AS x {asked}").to_arrow_table())


@settings(max_examples=300, deadline=None)
@given(ROWS, expressions() | conditions(), st.integers(1, 3))
def test_answers_are_duckdbs(rows: list[tuple[object, ...]], expression: str, parts: int) -> None:
    t = _table(rows)
    try:
        expected = _oracle(t, expression)
    except duckdb.BinderException:
        return
    view = View(f"SELECT id, {expression} AS x FROM t", {"t": SCHEMA})
    size = -(-t.num_rows // parts)
    for start in range(0, t.num_rows, size):
        view.apply({"t": t.slice(start, size)})
    assert multiset(view.result()) == expected
    assert view.counts.rejected == t.num_rows - view.result().num_rows
    view.close()


@settings(max_examples=300, deadline=None)
@given(
    ROWS,
    st.sampled_from(["i8", "i16", "i32", "i64", "u32"]),
    st.decimals(-1000, 1000, places=3).filter(bool)
    | st.sampled_from([Decimal("0.001"), Decimal("-0.5"), Decimal("1.0")]),
    st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]),
    st.decimals(-1000, 1000, places=2) | st.integers(-(10**8), 10**8),
    st.booleans(),
)
def test_filters_by_products_are_duckdbs(
    rows: list[tuple[object, ...]], name: str, factor: Decimal, word: str, bound: Decimal | int, mirrored: bool
) -> None:
    product = f"{factor} * {name}"
    condition = f"{bound} {word} {product}" if mirrored else f"{product} {word} {bound}"
    t = _table(rows)
    view = View(f"SELECT id, i8 AS x FROM t WHERE {condition}", {"t": SCHEMA})
    assert (word in ("=", "<>")) or "plain_filters" in view.explain()
    view.apply({"t": t})
    assert multiset(view.result()) == _oracle(t, "i8", condition)
    view.close()


_EDGES = [0, -1, 1, 2**62, -(2**62), 2**63 - 1, -(2**63 - 1), 253_402_300_799_999_999, -62_135_596_800_000_000]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.none() | st.integers(-(10**15), 10**16) | st.sampled_from(_EDGES), min_size=1, max_size=5),
    st.sampled_from(
        ["d + INTERVAL 10 SECOND", "d - INTERVAL '999999' DAY", "d - INTERVAL 1 MILLISECOND", "d + INTERVAL 1 MONTH"]
    ),
)
def test_moved_times_are_duckdbs(us: list[int | None], expression: str) -> None:
    t = pa.table({"id": pa.array(range(len(us)), pa.int64()), "d": pa.array(us, pa.int64()).cast(pa.timestamp("us"))})
    view = View(f"SELECT id, {expression} AS x FROM t", {"t": t.schema})
    assert ("plain_values" in view.explain()) == ("MONTH" not in expression)
    view.apply({"t": t})
    # What is past the last year has no Python value.
    view_us, duckdb_us = view.result().column("x").cast(pa.int64()), _oracle(t, f"epoch_us({expression})")
    finite = {(i, x) for i, x in zip(view.result().column("id").to_pylist(), view_us.to_pylist(), strict=True)}
    assert {row[0] for row in duckdb_us} == {i for i, _ in finite}
    known = {row[0]: row[1] for row in duckdb_us}
    assert all(known[i] == x for i, x in finite if x is not None and abs(x) < 2**61)
    view.close()


TAKEN = [
    "i32 * 2.5", "u32 + i32", "length(t) * 2", "-2 * i16", "i64 % 7", "i8 < 3", "i8 < 3 OR t = 'a'", "0.5 * i64 + 1",
    "length(t) - length(replace(t, 'a', ''))",
]  # fmt: skip
LEFT = [
    "i32 / 2", "i32 * 1e3", "i32 % 0", "i32 % i8", "i32 < i8", "NOT i32 < 3", "t || t", "length(replace(t, 'ab', ''))",
    "i64 * 100000000000000000000", "i32 + NULL",
]  # fmt: skip


@pytest.mark.parametrize("expression", TAKEN)
def test_it_is_taken(expression: str) -> None:
    view = View(f"SELECT id, {expression} AS x FROM t", {"t": SCHEMA})
    assert "plain_values" in view.explain()


@pytest.mark.parametrize("expression", LEFT)
def test_it_is_left_to_duckdb(expression: str) -> None:
    view = View(f"SELECT id, {expression} AS x FROM t", {"t": SCHEMA})
    assert "plain_values" not in view.explain()
