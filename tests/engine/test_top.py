"""The first rows of each key: with and without retractions, and computed again, all give the same, ties included."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from oracle import multiset

from headwater.engine.view import View

SCHEMA = pa.schema(
    [("k", pa.int32()), ("a", pa.int64()), ("f", pa.float64()), ("s", pa.string()), ("l", pa.list_(pa.int32()))]
)
DOMAINS = {
    "k": (0, 1, 2, None),
    "a": (-1, 0, 5, 2**62, None),
    "f": (0.0, -0.0, 1.5, math.nan, math.inf, None),
    "s": ("", "a", "abcdefghij", "abcdefghik", None),
    "l": ([], [1], [None], None),
}
QUERIES = (
    "SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY a DESC) = 1",
    "SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY s, f DESC NULLS FIRST) <= 2",
    "SELECT *, row_number() OVER (PARTITION BY k ORDER BY a) AS rn FROM t QUALIFY rn <= 3",
    "SELECT k, s, rn FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY f DESC, l) AS rn FROM t) "
    "WHERE rn BETWEEN 2 AND 3",
    "SELECT a, s FROM (SELECT *, row_number() OVER (PARTITION BY k, f) AS rn FROM t) WHERE 4 > rn AND a >= 0",
    "SELECT *, row_number() OVER (PARTITION BY k ORDER BY s DESC) AS rn FROM t",
    "SELECT *, row_number() OVER (ORDER BY a) AS rn FROM t",
    "SELECT * FROM t ORDER BY a, s DESC LIMIT 3",
    "SELECT k, f FROM t ORDER BY f DESC NULLS LAST LIMIT 2 OFFSET 2",
    "SELECT s FROM t ORDER BY s LIMIT 70",
    "SELECT * FROM t ORDER BY a OFFSET 2",
    "SELECT DISTINCT ON (k) * FROM t ORDER BY k, a DESC",
    "SELECT DISTINCT ON (s) k, l FROM t ORDER BY f, a",
    "SELECT DISTINCT ON (k) a, f FROM t ORDER BY a, f LIMIT 2",
)


def rows(rng: random.Random, count: int) -> list[tuple[object, ...]]:
    return [tuple(rng.choice(domain) for domain in DOMAINS.values()) for _ in range(count)]


def table(given: list[tuple[object, ...]], weights: list[int]) -> pa.Table:
    columns = [pa.array([row[i] for row in given], field.type) for i, field in enumerate(SCHEMA)]
    return pa.Table.from_arrays([*columns, pa.array(weights, pa.int64())], [*SCHEMA.names, "_weight"])


class Watched:
    """A view, the sum of whose changes is always its result, restarted now and then with other threads."""

    def __init__(self, sql: str, folder: Path, **arguments: object) -> None:
        self.sql, self.folder, self.arguments = sql, folder, arguments
        self.view = View(sql, {"t": SCHEMA}, **arguments)
        self.total = multiset(self.view.result())
        self.previous: Path | None = None
        folder.mkdir()

    def apply(self, delta: pa.Table) -> Counter[object]:
        self.total.update(multiset(self.view.apply({"t": delta})))
        self.total = Counter({row: count for row, count in self.total.items() if count})
        assert self.total == multiset(self.view.result()), self.view.explain()
        return self.total

    def restart(self, number: int, threads: int) -> None:
        folder = self.folder / str(number)
        self.view.checkpoint(folder, self.previous)
        self.view.close()
        self.previous = folder
        self.view = View.restore(folder, self.sql, {"t": SCHEMA}, **{**self.arguments, "threads": threads})


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sql", QUERIES)
def test_of_rows_that_only_come(sql: str, seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"{sql} {seed}")
    few = Watched(sql, tmp_path / "few", append_only=["t"])
    all_ = Watched(sql, tmp_path / "all")
    again = Watched(sql, tmp_path / "again", without=["top_n"])
    assert "in order" in few.view.explain()
    assert "recompute" in again.view.explain()
    for number in range(8):
        given = rows(rng, rng.choice((1, 3, 20)))
        delta = table(given, [rng.choice((1, 1, 1, 2)) for _ in given])
        expected = again.apply(delta)
        assert few.apply(delta) == expected, few.view.explain()
        assert all_.apply(delta) == expected, all_.view.explain()
        if rng.random() < 0.3:
            few.restart(number, rng.choice((1, 2, 3)))
            all_.restart(number, rng.choice((1, 2, 3)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sql", QUERIES)
def test_of_rows_that_come_and_go(sql: str, seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"{sql} {seed}")
    ordered, again = Watched(sql, tmp_path / "ordered"), Watched(sql, tmp_path / "again", without=["top_n"])
    held: Counter[int] = Counter()
    pool = rows(rng, 40)
    for number in range(10):
        net: Counter[int] = Counter()
        for _ in range(rng.choice((1, 4, 15))):
            there = [i for i in range(len(pool)) if held[i] + net[i] > 0]
            leaving = bool(there) and rng.random() < 0.45
            net[rng.choice(there) if leaving else rng.randrange(len(pool))] += -1 if leaving else 1
        held.update(net)
        changes = [(i, 1 if n > 0 else -1) for i, n in net.items() for _ in range(abs(n))]
        rng.shuffle(changes)
        delta = table([pool[i] for i, _ in changes], [weight for _, weight in changes])
        assert ordered.apply(delta) == again.apply(delta), ordered.view.explain()
        if rng.random() < 0.3:
            ordered.restart(number, rng.choice((1, 2, 3)))
    gone = [i for i, count in held.items() if count]
    assert not ordered.apply(table([pool[i] for i in gone], [-held[i] for i in gone]))


def test_only_the_first_rows_are_kept(tmp_path: Path) -> None:
    """Of rows that only come, those that will never show are not kept."""
    sql = "SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY a DESC) <= 2"
    view = Watched(sql, tmp_path / "few", append_only=["t"])
    for start in range(0, 1000, 100):
        given = [(i % 3, i * 7919 % 1000, 0.0, "x", None) for i in range(start, start + 100)]
        view.apply(table(given, [1] * 100))
    assert "keeps 6 rows of 3 keys" in view.view.explain()
