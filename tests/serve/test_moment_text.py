"""Moments as people write them."""

import pytest

from headwater.errors import UserError
from headwater.lake.moment import Moment
from headwater.serve.moment_text import parse_moment

NOW_US = 1_795_000_000_000_000
HOUR_US = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("epoch 17", Moment(epoch=17)),
        ("Epoch=17", Moment(epoch=17)),
        ("snapshot 8270633197658268308", Moment(snapshot=8270633197658268308)),
        ("tag before-the-fix", Moment(ref="before-the-fix")),
        ("branch audit", Moment(ref="audit")),
        ("2 hours ago", Moment(time_us=NOW_US - 2 * HOUR_US)),
        ("90 min ago", Moment(time_us=NOW_US - 3 * HOUR_US // 2)),
        ("1 day ago", Moment(time_us=NOW_US - 24 * HOUR_US)),
        ("0.5h ago", Moment(time_us=NOW_US - HOUR_US // 2)),
        ("now", Moment(time_us=NOW_US)),
        ("2026-01-02", Moment(time_us=1_767_312_000_000_000)),
        ("2026-01-02 03:04", Moment(time_us=1_767_312_000_000_000 + 3 * HOUR_US + 240_000_000)),
        ("2026-01-02T03:04:00+01:00", Moment(time_us=1_767_312_000_000_000 + 2 * HOUR_US + 240_000_000)),
        ("2026-01-02T00:00:00.000001Z", Moment(time_us=1_767_312_000_000_001)),
    ],
)
def test_what_is_understood(text: str, moment: Moment) -> None:
    assert parse_moment(text, NOW_US) == moment


def test_days_begin_in_utc() -> None:
    today, yesterday = (parse_moment(text, NOW_US).time_us or 0 for text in ("today", "yesterday"))
    assert today % (24 * HOUR_US) == 0
    assert today - yesterday == 24 * HOUR_US


@pytest.mark.parametrize("text", ["", "soon", "17", "2 fortnights ago", "epoch x", "2026-13-01", "2099-01-01"])
def test_what_is_not(text: str) -> None:
    with pytest.raises(UserError):
        parse_moment(text, NOW_US)
