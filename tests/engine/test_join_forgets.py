"""Joins forget the rows of closed windows, and nothing else."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from headwater.engine.view import View

TIME = pa.timestamp("us")
INPUTS = {"p": pa.schema([("id", pa.int64()), ("ts", TIME)]), "a": pa.schema([("seller", pa.int64()), ("ts", TIME)])}
SQL = """
SELECT p.id, p.window_start, a.n
FROM (SELECT id, window_start, window_end FROM TUMBLE(p, ts, INTERVAL '10 seconds') GROUP BY ALL) AS p
LEFT JOIN (
    SELECT seller, window_start, window_end, count(*) AS n
    FROM TUMBLE(a, ts, INTERVAL '10 seconds') GROUP BY seller, window_start, window_end
) AS a ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end
"""


@pytest.mark.parametrize(
    ("settings", "kept"), [({"late": "drop"}, (5, 4)), ({"emit": "final"}, (0, 0)), ({}, (25, 20))]
)
def test_the_rows_of_closed_windows_go_where_no_late_rows_come(settings: dict[str, str], kept: tuple[int, int]) -> None:
    view = View(SQL, INPUTS, **settings)
    start = datetime(2024, 1, 1)
    for window in range(5):
        times = [start + timedelta(seconds=10 * window + second) for second in range(5)]
        people = pa.table({"id": [1, 2, 3, 4, 5], "ts": pa.array(times, TIME)})
        auctions = pa.table({"seller": [1, 2, 3, 9, 9], "ts": pa.array(times, TIME)})
        view.apply({"p": people, "a": auctions})
        view.advance({"p": times[-1], "a": times[-1]})
    found = re.search(r"LEFT JOIN by key.*keeps (\d+) \+ (\d+) rows", view.explain())
    assert found is not None and tuple(map(int, found.groups())) == kept
    assert view.result().num_rows == (20 if "emit" in settings else 25)
