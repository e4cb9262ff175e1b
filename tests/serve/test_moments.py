"""Moments that Python has no words for are shown all the same."""

import datetime as dt

import pyarrow as pa

from headwater.serve.moments import printable

FAR = 2**63 - 1


def test_only_columns_that_need_it_become_text():
    rows = pa.table(
        {
            "d": pa.array([2**31 - 1, -735_537, None, 0], pa.int32()).view(pa.date32()),
            "t": pa.array([FAR, -FAR, None, 0]).view(pa.timestamp("us", "UTC")),
            "l": pa.array([[FAR, 0], [], None, [None]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us"))),
            "plain": pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None, None]),
            "other": [1, 2, 3, 4],
        }
    )
    shown = printable(rows).to_pydict()
    assert shown["d"] == ["infinity", "0045-03-03 (BC)", None, "1970-01-01"]
    assert shown["t"] == ["infinity", "-infinity", None, "1970-01-01 00:00:00+00"]
    assert shown["l"] == [["infinity", "1970-01-01 00:00:00"], [], None, [None]]
    assert shown["plain"] == [dt.date(1, 1, 1), dt.date(9999, 12, 31), None, None]
    assert shown["other"] == [1, 2, 3, 4]
