"""Random SELECTs over random histories, settings and cuts, against DuckDB; `make fuzz N=100000` runs more.

HEADWATER_FUZZ=N runs N queries (default 500) from seed HEADWATER_SEED (default 1); a failure names its seed, and
`python -m tests.fuzz --seed SEED --queries 1` shrinks it.
"""

from __future__ import annotations

import os

import pytest
from tests.fuzz.case import case_of, mistake

FIRST = int(os.environ.get("HEADWATER_SEED", "1"))
COUNT = int(os.environ.get("HEADWATER_FUZZ", "500"))
AT_ONCE = 25


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, AT_ONCE))
def test_random_queries_equal_duckdb(first: int) -> None:
    for seed in range(first, min(first + AT_ONCE, FIRST + COUNT)):
        case = case_of(seed)
        wrong = mistake(case)
        assert not wrong, f"{wrong}\n{case.describe()}"
