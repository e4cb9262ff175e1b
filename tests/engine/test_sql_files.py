"""Every query under tests/sql against the oracle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from oracle import Case, compare, read_cases

CASES = list(read_cases(Path(__file__).parent.parent / "sql"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_view_equals_duckdb(case: Case, tmp_path: Path) -> None:
    plan = compare(case, int(os.environ.get("HEADWATER_SEED", "1")), tmp_path).explain()
    for word in case.settings.get("plan", "").split(","):
        assert word in plan or word.replace("_", " ") in plan
    if case.settings.get("whole") != "any":
        assert ("last resort" in plan) == (case.settings.get("whole") == "yes"), plan
