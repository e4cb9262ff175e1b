"""Workers that add up their rows before they send them: equal to DuckDB, also where batches with and without it take
turns; a planted bug is found, and only where rows are added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from oracle import Case, compare, read_cases

from headwater import View
from headwater.engine import graph
from headwater.engine.accumulators import best, counts, sums
from headwater.engine.delta import consolidate, weighted, weights
from headwater.engine.operators import combine
from headwater.engine.operators.combine import Combiner, Thrift
from headwater.errors import HeadwaterError

FOLDER = Path(__file__).parent.parent / "sql"
CASES = [case for case in read_cases(FOLDER) if case.name.startswith(("aggregate/partial_aggregates", "aggregate/hop"))]
SEEDS = range(3)
OFF = {"without": "partial_aggregates"}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_FEW_ROWS", 2)
    monkeypatch.setattr(combine, "_PAUSE", 1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_workers_that_combine_equal_duckdb(case: Case, tmp_path: Path) -> None:
    for seed in SEEDS:
        compare(case, seed, tmp_path / str(seed), threads=(2, 3, 1))


def _nothing(*arguments: object) -> None:
    """What a broken kernel does."""


def _without_carry(words: Any, width: int, offset: int, places: Any, records: Any) -> None:
    for row, place in enumerate(places):
        words[place * width + offset : place * width + offset + 3] += records[row * width + offset :][:3]


def _once(delta: pa.Table) -> pa.Table:
    return weighted(consolidate(delta), np.sign(weights(consolidate(delta))))


BUGS = [
    ("equal rows weigh as one", combine, "consolidate", _once),
    ("counts are not added", counts, "add_counts", _nothing),
    ("bits are not flipped", counts, "flip", _nothing),
    ("sums are not added", sums, "add_sums", _nothing),
    ("a sum's carry is lost", sums, "add_sums", _without_carry),
    ("the greatest is not kept", best, "keep_greatest", _nothing),
]


@pytest.mark.parametrize(("owner", "name", "broken"), [bug[1:] for bug in BUGS], ids=[bug[0] for bug in BUGS])
def test_planted_bug_is_found(
    owner: object, name: str, broken: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, broken)
    found = next((case for i, case in enumerate(CASES) if _fails(case, tmp_path / f"with{i}")), None)
    assert found is not None
    assert not _fails(replace(found, settings={**found.settings, **OFF}), tmp_path / "without")


def _fails(case: Case, folder: Path) -> bool:
    try:
        for seed in SEEDS:
            compare(case, seed, folder / str(seed), threads=(2, 3, 1))
    except (AssertionError, HeadwaterError):
        return True
    return False


def test_rows_are_added_up_until_it_does_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    right = Combiner.combined

    def noted(self: Combiner, delta: pa.Table) -> pa.Table:
        made.append(delta.num_rows)
        return right(self, delta)

    monkeypatch.setattr(Combiner, "combined", noted)
    view = View("SELECT k, sum(v) AS s FROM t GROUP BY k", {"t": pa.schema([("k", pa.int64()), ("v", pa.int64())])},
                threads=2)  # fmt: skip
    few = pa.table({"k": np.arange(1000) // 500 % 2, "v": np.arange(1000)})
    many = pa.table({"k": np.arange(1000), "v": np.arange(1000)})
    for batch in (few, few, many, few, few):
        view.apply({"t": batch})
    assert made == [500] * 8
    view.close()


def test_thrift_pauses_where_combining_does_not_pay() -> None:
    thrift = Thrift(["x", "y"])
    thrift.note("x", 10, 6, 2)
    thrift.note("y", 10, 5, 2)
    assert [sorted(thrift.begin()) for _ in range(3)] == [["y"], ["x", "y"], ["x", "y"]]
