"""What is computed once for many rows: the same answers however texts and times repeat."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import multiset

from headwater.engine import known
from headwater.engine.session import Session
from headwater.engine.view import View
from headwater.sql.prelude import shared

TEXTS_SQL = """
SELECT id, upper(b) AS u, coalesce(lower(c), 'none') AS l, split_part(b, '/', 2) || c AS s,
       CASE lower(c) WHEN 'a' THEN '1' WHEN 'é' THEN b ELSE regexp_extract(b, 'k=([^&]*)', 1) END AS k
FROM t WHERE regexp_extract(b, 'k=([^&]*)', 1) <> '' OR id % 2 = 0
"""
TEXTS = pa.schema([("id", pa.int64()), ("b", pa.string()), ("c", pa.string())])
TIMES = pa.schema([("id", pa.int64()), ("d", pa.timestamp("us"))])
FUNCTIONS = [
    "strftime(d, '%Y-%m-%d')", "strftime(d, '%H:%M')", "strftime(d, '%y %-m %b %B %a %A %j %u %w %U %W %V %G %I %p')",
    "hour(d)", "minute(d)", "second(d)", "date_trunc('minute', d)", "date_trunc('week', d)", "date_trunc('quarter', d)",
    "CAST(d AS DATE)", "extract('year' FROM d)", "date_part('isoyear', d)", "dayofweek(d)", "isodow(d)", "week(d)",
    "dayname(d)", "monthname(d)", "last_day(d)", "dayofyear(d)", "quarter(d)",
    "CASE WHEN hour(d) BETWEEN 8 AND 18 THEN 'day' WHEN second(d) = 0 THEN dayname(d) END",
]  # fmt: skip
_EDGES = [0, -1, 1, 59_999_999, -86_400_000_000, 2**62, -(2**62), 2**63 - 1, -(2**63 - 1), 253_402_300_799_999_999]


def _same(sql: str, t: pa.Table, parts: int) -> None:
    """The view over the rows in so many parts is DuckDB's answer."""
    view = View(sql, {"t": t.schema})
    size = -(-t.num_rows // parts) or 1
    for start in range(0, t.num_rows, size):
        view.apply({"t": t.slice(start, size)})
    with shared("oracle") as oracle:
        oracle.register("t", t)
        assert multiset(view.result()) == multiset(oracle.sql(sql).to_arrow_table())
    view.close()


def _texts(rng: random.Random, count: int, kinds: int) -> pa.Table:
    """Rows of so many kinds of texts, every seventh NULL."""
    made = [
        None if rng.random() < 0.15 else f"http/{rng.randrange(kinds)}/Ü?k={rng.randrange(3)}" for _ in range(count)
    ]
    others = [None if rng.random() < 0.15 else rng.choice("AbCÉ") for _ in range(count)]
    return pa.table([pa.array(range(count)), pa.array(made, pa.string()), pa.array(others)], schema=TEXTS)


@pytest.mark.parametrize("kinds", [1, 40, 1_500, 1_000_000])
@pytest.mark.parametrize("count", [100, 6_000])
def test_answers_of_texts_are_duckdbs(kinds: int, count: int) -> None:
    _same(TEXTS_SQL, _texts(random.Random(kinds), count, kinds), 5)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(max_size=12),
            st.none() | st.sampled_from(["\u017f", "\u0130", "ß", "a\0", "\u01c6", "\uff21"]),
        )
    )
)
def test_answers_of_any_texts_are_duckdbs(pairs: list[tuple[str | None, str | None]]) -> None:
    sql = "SELECT id, upper(b) AS u, lower(c) = b AS e, reverse(b) AS r, replace(c, 'a', b) AS x FROM t"
    columns = [range(len(pairs)), [b for b, _ in pairs], [c for _, c in pairs]]
    _same(sql, pa.table([pa.array(c, f.type) for c, f in zip(columns, TEXTS, strict=True)], schema=TEXTS), 2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.integers(-3, 3) | st.sampled_from(_EDGES)), st.sampled_from([1, 1_000_003, 86_399_999_999])
)
def test_answers_of_times_are_duckdbs(marks: list[int | None], unit: int) -> None:
    us = [mark if mark is None or abs(mark) > 3 else mark * unit for mark in marks]
    t = pa.table([pa.array(range(len(us))), pa.array(us, pa.int64()).cast(pa.timestamp("us"))], schema=TIMES)
    with shared("oracle") as oracle:
        oracle.register("t", t)
        listed = ", ".join(f"CAST({call} AS VARCHAR) AS c{i}" for i, call in enumerate(FUNCTIONS))
        view = View(f"SELECT id, {listed} FROM t", {"t": TIMES})
        assert "coarse_times" in view.explain()
        for half in (t.slice(0, len(us) // 2), t.slice(len(us) // 2)):
            view.apply({"t": half})
        assert multiset(view.result()) == multiset(oracle.sql(f"SELECT id, {listed} FROM t").to_arrow_table())
        view.close()


def _asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows DuckDB is asked about, query by query, from now on."""
    asked: list[int] = []
    run = Session.run

    def counting(self: Session, sql: str, relations: Any) -> pa.Table:
        asked.extend(rows.num_rows for rows in relations.values())
        return run(self, sql, relations)

    monkeypatch.setattr(Session, "run", counting)
    return asked


def test_what_was_met_before_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _asked(monkeypatch)
    view = View("SELECT id, upper(b) AS u FROM t", {"t": TEXTS})
    for number in range(3):
        view.apply({"t": _texts(random.Random(number), 2_000, 5)})
    assert asked == [15 + 1]
    assert view.result().num_rows == 6_000


def test_times_are_asked_about_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _asked(monkeypatch)
    view = View("SELECT id, hour(d) AS h FROM t", {"t": TIMES})
    for hours in range(0, 90, 2):
        view.apply({"t": pa.table([[1], [datetime(2020, 1, 1) + timedelta(hours=hours)]], schema=TIMES)})
    assert asked == [66, 66]


def test_after_texts_that_do_not_repeat_it_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    numbers = known.TextIndex.numbers

    def counting(self: known.TextIndex, texts: pa.StringArray, most_new: int) -> Any:
        asked.append(len(texts))
        return numbers(self, texts, most_new)

    monkeypatch.setattr(known.TextIndex, "numbers", counting)
    view = View("SELECT id, upper(b) AS u FROM t", {"t": TEXTS})
    for seed in range(18):
        view.apply({"t": _texts(random.Random(seed), 4_000, 1_000_000)})
    assert asked == [4_000] * 2


def test_pairs_that_do_not_repeat_are_asked_row_by_row() -> None:
    count = 30_000
    rng = np.random.default_rng(1)
    b, c = (pa.array([f"k{n}" for n in rng.integers(0, 500, count)]) for _ in "bc")
    _same(
        "SELECT id, upper(b) || c AS u, lower(b) AS l FROM t", pa.table([pa.array(range(count)), b, c], schema=TEXTS), 4
    )


def test_what_takes_too_much_room_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_MOST_BYTES", 1 << 14)
    _same(TEXTS_SQL, _texts(random.Random(7), 12_000, 900), 12)
