"""Late rows in each kind of window, by each policy; and closed windows take their state with them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from headwater.engine.view import View

SCHEMA = pa.schema([("k", pa.string()), ("ts", pa.timestamp("us"))])
BASE = datetime(2024, 5, 1)
WINDOWS = {
    "tumble": "tumble(t, ts, INTERVAL 10 SECOND)",
    "hop": "hop(t, ts, INTERVAL 5 SECOND, INTERVAL 10 SECOND)",
    "cumulate": "cumulate(t, ts, INTERVAL 5 SECOND, INTERVAL 10 SECOND)",
    "session": "session(t, k, ts, INTERVAL 10 SECOND)",
}
AGGREGATES = {"accumulators": "count(*)", "recompute": "string_agg(k, '')"}


def rows(*seconds: int) -> pa.Table:
    return pa.table([["k"] * len(seconds), [BASE + timedelta(seconds=s) for s in seconds]], schema=SCHEMA)


def view(window: str, aggregate: str, late: str, append_only: bool) -> View:
    sql = f"SELECT k, window_start, window_end, {AGGREGATES[aggregate]} AS n FROM {WINDOWS[window]} GROUP BY ALL"
    return View(sql, {"t": SCHEMA}, late=late, append_only=["t"] if append_only else [])


@pytest.mark.parametrize("append_only", [True, False])
@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("late", ["reject", "drop", "update"])
def test_late_rows(window: str, aggregate: str, late: str, append_only: bool) -> None:
    made = view(window, aggregate, late, append_only)
    made.apply({"t": rows(1, 12)})
    made.advance({"t": BASE + timedelta(seconds=60)})
    before = made.result()
    change = made.apply({"t": rows(2)})
    rejects = made.take_rejects()
    if late == "update":
        assert change.num_rows and rejects is None and not made.counts.late
    else:
        assert not change.num_rows and made.result().equals(before) and made.counts.late == 1
        assert (rejects is not None) == (late == "reject")
        assert rejects is None or "was closed" in rejects.to_pylist()[0]["message"]
    assert made.counts.holds
    made.close()


@pytest.mark.parametrize("append_only", [True, False])
@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("window", WINDOWS)
def test_state_of_closed_windows_is_freed(window: str, aggregate: str, append_only: bool) -> None:
    made = view(window, aggregate, "drop", append_only)
    for round_ in range(5):
        made.apply({"t": rows(*range(100 * round_, 100 * round_ + 20))})
        made.advance({"t": BASE + timedelta(seconds=100 * round_ + 50)})
        kept = [line for line in made.explain().splitlines() if "[keeps " in line and "keeps nothing" not in line]
        assert kept
        for line in kept:
            assert any(f"keeps {none}" in line for none in ("0 groups", "0 sessions", "0 rows")), made.explain()
    assert made.result().num_rows
    made.close()


@pytest.mark.parametrize("window", WINDOWS)
def test_a_row_between_watermark_and_the_end_of_its_window_is_in_time(window: str) -> None:
    made = view(window, "accumulators", "reject", False)
    made.apply({"t": rows(1, 19)})
    made.advance({"t": BASE + timedelta(seconds=14)})
    made.apply({"t": rows(11)})
    assert made.counts.late == 0 and made.take_rejects() is None
    made.close()
