"""`ttl` in a model's front matter: rows of its streams leave it as event time moves on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from scripted_project import EVENTS, Shop

from headwater.change import Op
from headwater.errors import ProjectError
from headwater.testing.scripted_source import scripted_group

START = datetime(2024, 5, 1, 12, tzinfo=UTC)
RECENT = "/*\nttl: {events: 10 seconds}\n*/\nSELECT count(*) AS n, sum(n) AS total FROM events"


def _event(commit: int, second: int, n: int) -> object:
    row = {"happened": START + timedelta(seconds=second), "n": n}
    return scripted_group(commit, [(EVENTS, Op.INSERT, row)])


def test_rows_leave_the_model_and_not_the_stream(shop: Shop) -> None:
    shop.model("recent", RECENT)
    shop.model("all_events", "SELECT count(*) AS n FROM events")
    shop.source.add(_event(1, 0, 1), _event(2, 5, 2))
    shop.run_once()
    assert shop.rows("recent") == [{"n": 2, "total": 3}]
    shop.source.add(_event(3, 13, 4))
    shop.run_once()
    assert shop.rows("recent") == [{"n": 2, "total": 6}]
    shop.source.add(_event(4, 1, 8), _event(5, 14, 16))
    shop.run_once()
    assert shop.rows("recent") == [{"n": 3, "total": 22}]
    assert shop.rows("all_events") == [{"n": 5}]
    assert shop.account("recent")["late"] == 1 and shop.account("recent")["holds"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/*\nttl: {orders: 1 h}\n*/\nSELECT id FROM orders", "no watermark to go by"),
        ("/*\nttl: {orders: 1 h}\n*/\nSELECT n FROM events", "does not read 'orders'"),
        ("/*\nttl: {events: soon}\n*/\nSELECT n FROM events", "expected a duration"),
    ],
)
def test_a_ttl_that_says_nothing_is_a_mistake(shop: Shop, text: str, message: str) -> None:
    shop.model("wrong", text)
    shop.source.add(_event(1, 0, 1))
    with pytest.raises(ProjectError) as raised:
        shop.run_once()
    assert message in str(raised.value.mistakes[0])
