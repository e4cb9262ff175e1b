"""Views of several workers: every query under tests/sql again, and that rows of a key are always the same worker's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from oracle import Case, compare, read_cases

from headwater.engine import graph

SEED = int(os.environ.get("HEADWATER_SEED", "1"))
CASES = list(read_cases(Path(__file__).parent.parent / "sql"))[SEED % 3 :: 3]
"""A third of the queries, so that the suite stays fast: seeds 1 to 3 have them all."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_three_workers_equal_duckdb(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "_FEW_ROWS", 2)  # so that small deltas are cut and threads are used
    compare(case, SEED, tmp_path, threads=(2, 3, 1))
