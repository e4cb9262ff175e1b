"""Every reader of `headwater bench capture` sees every change of a backlog."""

from __future__ import annotations

import pytest

from headwater.bench.capture import backlog, suite
from headwater.errors import UserError


@pytest.mark.postgres
@pytest.mark.parametrize("shape", ["mixed", "tiny-tx"])
def test_headwater_and_the_servers_own_reader_drain_a_backlog(shape: str) -> None:
    result = suite.suite("postgres", (shape,), 1_000, 60, lambda found: None)
    readers = result["shapes"][0]["readers"]
    assert {name: one.get("rows", one.get("error")) for name, one in readers.items()} == {
        "headwater": 1_000,
        "pg_recvlogical": 1_000,
    }
    assert [len(line) for line in suite.lines(result["shapes"])] == [len(suite.HEADER)] * 2


def test_an_unknown_shape_or_source_is_told_with_those_there_are() -> None:
    with pytest.raises(UserError, match="'huge'") as refused:
        backlog.chosen("huge")
    assert "tiny-tx" in refused.value.hint
    with pytest.raises(UserError, match="'oracle'") as refused:
        suite.suite("oracle", (), 1, 1, lambda found: None)
    assert "postgres" in refused.value.hint
