"""Functions of one text: the same answers however often texts repeat."""

from __future__ import annotations

import random

import duckdb
import pyarrow as pa
import pytest
from oracle import multiset

from headwater.engine.operators import texts
from headwater.engine.view import View

SQL = """
SELECT id, upper(b) AS u, coalesce(lower(c), 'none') AS l, split_part(b, '/', 2) || c AS s
FROM t WHERE regexp_extract(b, 'k=([^&]*)', 1) <> '' OR id % 2 = 0
"""
SCHEMA = pa.schema([("id", pa.int64()), ("b", pa.string()), ("c", pa.string())])


def rows(rng: random.Random, count: int, kinds: int) -> pa.Table:
    """Rows of so many kinds of texts, every seventh NULL."""
    made = [
        None if rng.random() < 0.15 else f"http/{rng.randrange(kinds)}/Ü?k={rng.randrange(3)}" for _ in range(count)
    ]
    others = [None if rng.random() < 0.15 else rng.choice("AbC") for _ in range(count)]
    return pa.table([pa.array(range(count)), pa.array(made, pa.string()), pa.array(others)], schema=SCHEMA)


@pytest.mark.parametrize("kinds", [1, 40, 1_000_000])
@pytest.mark.parametrize("count", [100, 5_000])
def test_answers_are_duckdbs(kinds: int, count: int) -> None:
    t = rows(random.Random(kinds), count, kinds)
    view = View(SQL, {"t": SCHEMA})
    assert "distinct_texts" in view.explain()
    view.apply({"t": t.slice(0, count // 2)})
    view.apply({"t": t.slice(count // 2)})
    with duckdb.connect() as oracle:
        oracle.register("t", t)
        assert multiset(view.result()) == multiset(oracle.sql(SQL).to_arrow_table())


def test_a_batch_of_texts_that_do_not_repeat_makes_it_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    computed = texts.TextsOperator._computed

    def counting(self: texts.TextsOperator, delta: pa.Table) -> dict[str, pa.Array] | None:
        asked.append(delta.num_rows)
        return computed(self, delta)

    monkeypatch.setattr(texts.TextsOperator, "_computed", counting)
    view = View(SQL, {"t": SCHEMA})
    for seed in range(4):
        view.apply({"t": rows(random.Random(seed), 4_000, 1_000_000)})
    assert asked == [4_000]
