"""Rows as JSON documents, and the names of records."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from headwater.deliver.documents import documents
from headwater.deliver.key_text import names

MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def test_every_kind_of_value_is_json_that_says_the_same() -> None:
    rows = pa.table(
        {
            "price": pa.array([Decimal("12345678901234567890.50"), None]),
            "at": pa.array([MOMENT, None], pa.timestamp("us", tz="UTC")),
            "day": pa.array([MOMENT.date(), None]),
            "ratio": pa.array([math.nan, 0.5]),
            "raw": pa.array([b"\x00\xff", None]),
            "tags": pa.array([[1, 2], None]),
            "name": pa.array(["é\n\x00", None]),
            "deep": pa.array([{"x": Decimal("1.10"), "y": math.inf}, None]),
        }
    )
    first, second = documents(rows)
    assert b'"price":12345678901234567890.50' in first
    assert json.loads(first, parse_float=Decimal) == {
        "price": Decimal("12345678901234567890.50"),
        "at": "2026-01-02T03:04:05.000006Z",
        "day": "2026-01-02",
        "ratio": None,
        "raw": "AP8=",
        "tags": [1, 2],
        "name": "é\n\x00",
        "deep": {"x": Decimal("1.10"), "y": None},
    }
    assert json.loads(second)["ratio"] == 0.5


@given(st.lists(st.tuples(st.text(alphabet="a:%3A", max_size=4), st.text(alphabet="a:%3A", max_size=4)), max_size=20))
def test_different_keys_have_different_names(keys: list[tuple[str, str]]) -> None:
    rows = pa.table(
        {"a": pa.array([a for a, _ in keys], pa.string()), "b": pa.array([b for _, b in keys], pa.string())}
    )
    assert len(set(names(rows, ["a", "b"]))) == len(set(keys))


def test_a_key_with_a_null_in_it_has_no_name() -> None:
    rows = pa.table({"a": [1, None], "b": ["x", "y"]})
    assert names(rows, ["a", "b"]) == ["1:x", None]
    assert names(rows, ["a"]) == ["1", None]
