"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.project.quantity import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500 ms", 0.5), ("5 seconds", 5), ("1s", 1), ("1.5 h", 5400), (" 2 Days ", 172800), ("3 m", 180), ("7 us", 7e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["5", "", "s", "-1 s", "1 month", "1 s 2", 5, None, True, "1e9 s"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as"):
        parse_duration(text)


def test_a_duration_beyond_all_bounds() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("9999999999999 days")


@given(st.integers(min_value=0, max_value=10**14))
def test_what_is_written_is_read_back(microseconds: int) -> None:
    duration = timedelta(microseconds=microseconds)
    assert parse_duration(format_duration(duration)) == duration
