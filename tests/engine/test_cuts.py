"""Queries under tests/sql over one history, however it is cut: all in one and row by row; and without any fast path.

`test_threads` runs them with several workers, `test_sql_files` in random cuts with restarts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from oracle import Case, History, Row, make, multiset, read_cases

from headwater.sql.fast_paths import FAST_PATHS

CASES = list(read_cases(Path(__file__).parent.parent / "sql"))
WAYS = ("whole", "rows", "general")
SEED = int(os.environ.get("HEADWATER_SEED", "1"))
EVERY = os.environ.get("HEADWATER_CUTS", "") == "all"
STEPS = 3

Step = dict[str, pa.Table]


def whole(steps: Iterable[Step]) -> list[Step]:
    """All changes in one step: what comes and goes again included."""
    steps = list(steps)
    names = dict.fromkeys(name for step in steps for name in step)
    return [{name: pa.concat_tables([step[name] for step in steps if name in step]) for name in names}]


def row_by_row(steps: Iterable[Step]) -> Iterator[Step]:
    """One row in each step."""
    for step in steps:
        for name, table in step.items():
            yield from ({name: table.slice(i, 1)} for i in range(table.num_rows))


def ways(number: int) -> tuple[str, ...]:
    """The ways in which a query is run: that the suite stays fast, one in turn for every second query, so that seeds
    1 to 6 run them all. HEADWATER_CUTS=all runs all at once."""
    if EVERY:
        return WAYS
    return (WAYS[((number + SEED) // 2) % len(WAYS)],) if (number + SEED) % 2 else ()


RUNS = [(case, way) for number, case in enumerate(CASES) for way in ways(number)]


@pytest.mark.parametrize(("case", "way"), RUNS, ids=[f"{way}: {case.name}" for case, way in RUNS])
def test_any_cut_equals_duckdb(case: Case, way: str) -> None:
    if way == "general":
        case = replace(case, settings={**case.settings, "without": ",".join(FAST_PATHS)})
    history = History(case, SEED)
    total: Counter[Row] = history.answer()
    steps = [history.step() for _ in range(STEPS)]
    cut = whole(steps) if way == "whole" else row_by_row(steps) if way == "rows" else steps
    view = make(case)
    for step in cut:
        for row, count in multiset(view.apply(step)).items():
            total[row] += count
    expected, context = history.answer(), f"{case.name} {way} seed={SEED}\n{view.explain()}\n"
    assert multiset(view.result()) == expected, context + "result"
    assert Counter({row: count for row, count in total.items() if count}) == expected, context + "sum of changes"
    assert view.counts.holds, f"{context}{view.counts}"
    history.check_rejects(view, context)
    view.close()
