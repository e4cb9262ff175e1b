"""`headwater bench latency`: that it measures what it says. How fast a machine is, is not tested."""

from __future__ import annotations

import pytest

from headwater.bench.latency import OPERATORS, latency, overhead


def test_every_apply_is_timed() -> None:
    found = latency(rows=2_000, changes=50, per_s=200, seconds=1)
    assert found["applies"] == 200
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_runs(name: str) -> None:
    found = overhead(name, rows=20_000)
    assert found["operators"] >= 1
    assert found["ms_per_operator"] == pytest.approx(found["ms"] / found["operators"])
