"""`headwater bench capture-latency` on a small scale."""

import pytest

from headwater.bench.capture_latency import capture_latency


@pytest.mark.postgres
@pytest.mark.xdist_group("postgres")
def test_the_age_of_changes_is_measured_when_they_are_durable():
    found = capture_latency(seconds=2.0, rate=1_000)
    assert found["changes"] >= 1_000 and found["rate"] > 0
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"] < 30_000
