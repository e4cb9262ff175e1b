"""Layouts read, held against columns, and partition values computed as PyIceberg computes them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)  # fmt: skip

from headwater.lake.iceberg.partitions import partition_values, record_value
from headwater.lake.layout import Layout, PartitionBy, SortBy, misfits, partition_by, sort_by

NEAR = {"min_value": datetime(1900, 1, 1), "max_value": datetime(2100, 1, 1)}
ZONED = st.datetimes(**NEAR).map(lambda moment: moment.replace(tzinfo=UTC))
VALUES = {
    "int": (pa.int32(), IntegerType(), st.integers(-(2**31) + 10, 2**31 - 1)),
    "long": (pa.int64(), LongType(), st.integers(-(2**60), 2**60)),
    "text": (pa.string(), StringType(), st.text(max_size=20)),
    "bytes": (pa.binary(), BinaryType(), st.binary(max_size=20)),
    "decimal": (pa.decimal128(12, 2), DecimalType(12, 2), st.decimals(-(10**8), 10**8, places=2)),
    "date": (pa.date32(), DateType(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    "time": (pa.time64("us"), TimeType(), st.times()),
    "moment": (pa.timestamp("us"), TimestampType(), st.datetimes(**NEAR)),
    "instant": (pa.timestamp("us", tz="UTC"), TimestamptzType(), ZONED),
    "uuid": (pa.uuid(), UUIDType(), st.uuids()),
}
TAKEN = [
    *((kind, "bucket[16]") for kind in VALUES),
    *((kind, f"truncate[{width}]") for kind in ("int", "long", "text", "bytes", "decimal") for width in (1, 7)),
    *((kind, unit) for kind in ("date", "moment", "instant") for unit in ("year", "month", "day")),
    *((kind, "hour") for kind in ("moment", "instant")),
]


@pytest.mark.parametrize(("kind", "transform"), TAKEN)
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_partition_values_are_those_of_pyiceberg(kind, transform, data) -> None:
    arrow, iceberg, values = VALUES[kind]
    rows = data.draw(st.lists(st.one_of(st.none(), values), max_size=20))
    by, schema = parse_transform(transform), Schema(NestedField(7, "c", iceberg, required=False))
    each = by.transform(iceberg)
    column = [row.bytes if isinstance(row, UUID) else row for row in rows]
    found = partition_values(pa.chunked_array([pa.array(column, arrow)]), by, schema, 7)
    assert [record_value(value) for value in found] == [each(row) for row in rows]


def test_a_record_holds_dates_and_times_as_numbers() -> None:
    day, moment = date(2026, 1, 2), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert record_value(pa.scalar(day)) == (day - date(1970, 1, 1)).days
    assert record_value(pa.scalar(moment, pa.timestamp("us", "UTC"))) == -1_000_000
    assert record_value(pa.scalar(time(0, 0, 1), pa.time64("us"))) == timedelta(seconds=1) // timedelta(microseconds=1)
    assert record_value(pa.scalar(Decimal("1.50"))) == Decimal("1.50")
    assert record_value(pa.scalar(None, pa.date32())) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("region", PartitionBy("region")),
        ("day(at)", PartitionBy("at", "day")),
        ("Bucket(16, id)", PartitionBy("id", "bucket", 16)),
        ("truncate( 4 ,code )", PartitionBy("code", "truncate", 4)),
    ],
)
def test_partitions_are_read(text: str, read: PartitionBy) -> None:
    assert partition_by(text) == read
    assert partition_by(str(read)) == read


@pytest.mark.parametrize("text", ["", "week(at)", "bucket[16](id)", "bucket(id)", "bucket(0, id)", "day(at"])
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        partition_by(text)


def test_orders_are_read() -> None:
    assert sort_by("id") == SortBy("id")
    assert sort_by("at DESC nulls first") == SortBy("at", descending=True, nulls_first=True)
    assert sort_by(str(SortBy("at", descending=True))) == SortBy("at", descending=True)
    for text in ("", "id down", "id asc nulls"):
        with pytest.raises(ValueError, match="expected"):
            sort_by(text)


COLUMNS = pa.schema(
    [("id", pa.int64()), ("at", pa.timestamp("us")), ("on", pa.date32()), ("x", pa.float64()), ("ok", pa.bool_()),
     ("tags", pa.list_(pa.string()))]
)  # fmt: skip


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (Layout((PartitionBy("nothing"),)), [("partition", 0, "no column 'nothing'")]),
        (Layout((PartitionBy("id", "day"),)), [("partition", 0, "day cannot be taken")]),
        (Layout((PartitionBy("on", "hour"),)), [("partition", 0, "hour cannot be taken")]),
        (Layout((PartitionBy("x"),)), [("partition", 0, "identity cannot be taken")]),
        (Layout((PartitionBy("at", "truncate", 4),)), [("partition", 0, "truncate cannot be taken")]),
        (Layout((PartitionBy("at", "day"), PartitionBy("at", "hour"))), [("partition", 1, "is there before")]),
        (Layout(sort=(SortBy("id"), SortBy("tags"))), [("sort", 1, "'tags' is list")]),
        (Layout(bloom=("ok",)), [("bloom", 0, "is a boolean")]),
        (Layout((PartitionBy("at", "day"), PartitionBy("id", "bucket", 4)), (SortBy("x"),), ("id",)), []),
    ],
)
def test_a_layout_is_held_against_the_columns(layout: Layout, said: list[tuple[str, int, str]]) -> None:
    found = [(one.part, one.number, one.message) for one in misfits(layout, COLUMNS)]
    assert [(part, number) for part, number, _ in found] == [(part, number) for part, number, _ in said]
    assert all(words in message for (_, _, message), (_, _, words) in zip(found, said, strict=True))
