"""A lazy delta is what the gathered one would be, whatever is asked of it, and in whatever order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headwater.change import WEIGHT, delta_schema
from headwater.engine.delta import concat, conform, mask, rows_at
from headwater.engine.lazy import Lazy, lazily, lined_up, table
from headwater.engine.state.row_store import RowStore
from headwater.engine.view import View

COLUMNS = pa.schema([("n", pa.int64()), ("t", pa.string())])
Step = tuple[str, list[int]]
STEPS = st.lists(st.tuples(st.sampled_from(["at", "mask", "twice", "ask"]), st.lists(st.integers(0, 99))), max_size=6)


def rows(count: int, first: int = 0) -> pa.Table:
    numbers = range(first, first + count)
    texts = [None if n % 5 == 0 else f"text {n}" for n in numbers]
    parts = [pa.array(numbers, pa.int64()), pa.array(texts, pa.string()), pa.array([1] * count, pa.int64())]
    return pa.table(parts, schema=delta_schema(COLUMNS))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), STEPS)
def test_steps_give_what_they_give_of_tables(sizes: list[int], steps: list[Step]) -> None:
    plain = pa.concat_tables([rows(size, 10 * number) for number, size in enumerate(sizes)])
    lazy = lazily(plain)
    for step, numbers in steps:
        if step == "at" and plain.num_rows:
            positions = np.array([number % plain.num_rows for number in numbers], np.int64)
            plain, lazy = rows_at(plain, positions), rows_at(lazy, positions)
        elif step == "mask":
            keep = np.array([number in numbers for number in range(plain.num_rows)], np.bool_)
            plain, lazy = mask(plain, keep), mask(lazy, keep)
        elif step == "twice" and plain.num_rows:
            plain, lazy = concat([plain, plain]), concat([lazy, lazily(plain)])
        elif step == "ask":
            assert lazy.column("t").to_pylist() == plain.column("t").to_pylist()
        assert lazy.num_rows == plain.num_rows
    assert table(lazy).equals(plain)
    assert table(lazy.select(["t", WEIGHT])).equals(plain.select(["t", WEIGHT]))


def test_columns_under_other_names_beside_others() -> None:
    left, right = lazily(rows(4)), rows_at(lazily(rows(8)), np.array([7, 6, 5, 4]))
    schema = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.int64()), (WEIGHT, pa.int64())])
    sides = [left.renamed([("a", "n"), ("b", "t")]), right.renamed([("c", "n")])]
    beside = lined_up(schema, sides, pa.chunked_array([[1, 2, 3, 4]]))
    assert table(rows_at(beside, np.array([3, 0]))).to_pylist() == [
        {"a": 3, "b": "text 3", "c": 4, WEIGHT: 4},
        {"a": 0, "b": None, "c": 7, WEIGHT: 1},
    ]


def test_other_types_are_cast_where_they_differ() -> None:
    wide = pa.schema([("n", pa.int64()), ("t", pa.large_string())])
    assert table(conform(lazily(rows(9)), wide)).equals(conform(rows(9), wide))


def _halves(count: int) -> tuple[pa.Table, list[Lazy]]:
    """Rows, and two workers' shares of them."""
    whole = rows(count)
    return whole, [rows_at(lazily(whole), np.arange(start, count, 2)) for start in (0, 1)]


def test_rows_of_two_workers_stay_where_they_are(tmp_path: Path) -> None:
    whole, halves = _halves(10_000)
    for start, half in enumerate(halves):
        store = RowStore(COLUMNS, ("n",), append_only=True)
        before = pa.total_allocated_bytes()
        slots = store.apply(half)
        assert pa.total_allocated_bytes() - before < whole.nbytes / 4, "nothing but the keys was copied"
        mine = whole.take(pa.array(np.arange(start, 10_000, 2)))
        assert store.take(slots).equals(mine.drop_columns([WEIGHT]))
        store.checkpoint(tmp_path / f"{start}")
        assert store.take(slots).equals(mine.drop_columns([WEIGHT]))
        store.discard(slots[100:])
        assert store.rows().sort_by("n").equals(mine.slice(0, 100))
        restored = RowStore.restore(tmp_path / f"{start}", append_only=True)
        assert restored.rows().sort_by("n").equals(mine)
        written = sum(path.stat().st_size for path in (tmp_path / f"{start}").rglob("*"))
        assert written < whole.nbytes * 0.75, "the other worker's rows are not written"


def test_a_few_rows_do_not_keep_the_batch_that_they_are_of() -> None:
    whole = rows(10_000)
    few = rows_at(lazily(whole), np.arange(0, 10_000, 100))
    store = RowStore(COLUMNS, (), append_only=True)
    store.apply(few)
    assert store.nbytes < whole.nbytes / 20
    assert store.rows().equals(table(few))


def test_pairs_of_a_join_are_copied_when_they_are_asked_for() -> None:
    """A join of many rows, with a top of each key over it, on one worker and on three."""
    sql = """
        SELECT * FROM (
            SELECT a.id, a.name, b.price, b.note, row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.note) n
            FROM a JOIN b ON a.id = b.a
        ) WHERE n = 1
    """
    inputs = {
        "a": pa.schema([("id", pa.int64()), ("name", pa.string())]),
        "b": pa.schema([("a", pa.int64()), ("price", pa.int64()), ("note", pa.string())]),
    }
    generator = np.random.default_rng(1)
    a = pa.table({"id": np.arange(500), "name": [f"name {n}" for n in range(500)]})
    prices = generator.integers(0, 1000, 20_000)
    b = pa.table({"a": generator.integers(0, 600, 20_000), "price": prices, "note": [f"note {n}" for n in prices]})
    results = []
    for threads in (1, 3):
        with_threads = View(sql, inputs, append_only=["a", "b"], threads=threads)
        with_threads.apply({"a": a.slice(0, 250), "b": b.slice(0, 10_000)})
        with_threads.apply({"b": b.slice(10_000)})
        with_threads.apply({"a": a.slice(250)})
        results.append(with_threads.result().sort_by("id"))
        with_threads.close()
    assert results[0].equals(results[1])
    best = b.group_by("a").aggregate([("price", "max")]).filter(pa.compute.less(pa.compute.field("a"), 500))
    assert results[0].column("price").to_pylist() == best.sort_by("a").column("price_max").to_pylist()
