"""Types that a lake table holds, and what becomes of the others."""

from __future__ import annotations

import datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import UserError
from headwater.lake.columns import cast_rows, lake_columns, widens

MAPPED = [
    (pa.int8(), pa.int32()),
    (pa.uint16(), pa.int32()),
    (pa.uint32(), pa.int64()),
    (pa.uint64(), pa.decimal128(20, 0)),
    (pa.float16(), pa.float32()),
    (pa.decimal32(7, 2), pa.decimal128(7, 2)),
    (pa.decimal256(38, 3), pa.decimal128(38, 3)),
    (pa.timestamp("ns"), pa.timestamp("us")),
    (pa.timestamp("s", tz="+02:00"), pa.timestamp("us", tz="UTC")),
    (pa.time32("ms"), pa.time64("us")),
    (pa.date64(), pa.date32()),
    (pa.month_day_nano_interval(), pa.string()),
    (pa.duration("us"), pa.string()),
    (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
    (pa.string_view(), pa.string()),
    (pa.null(), pa.string()),
    (pa.uuid(), pa.uuid()),
    (pa.json_(), pa.string()),
    (pa.list_(pa.uint8(), 3), pa.list_(pa.field("element", pa.int32()))),
    (pa.struct([("a", pa.uint64())]), pa.struct([("a", pa.decimal128(20, 0))])),
    (pa.map_(pa.string(), pa.uint8()), pa.map_(pa.string(), pa.int32())),
]


@pytest.mark.parametrize(("given_type", "lake_type"), MAPPED, ids=str)
def test_types_are_mapped_and_nulls_cast(given_type: pa.DataType, lake_type: pa.DataType) -> None:
    schema = pa.schema([pa.field("c", given_type, nullable=given_type == pa.null(), metadata={"k": "v"})])
    columns = lake_columns(schema)
    assert columns.equals(pa.schema([pa.field("c", lake_type)]), check_metadata=True)
    assert lake_columns(columns).equals(columns)
    rows = pa.table({"c": pa.nulls(2, given_type)})
    assert cast_rows(rows, columns, "t").column("c").null_count == 2


@pytest.mark.parametrize(
    "refused",
    [
        pa.decimal256(50, 2),
        pa.decimal128(5, -2),
        pa.sparse_union([pa.field("a", pa.int32())]),
        pa.run_end_encoded(pa.int32(), pa.int64()),
        pa.list_(pa.month_day_nano_interval()),
    ],
    ids=str,
)
def test_types_without_a_counterpart_are_refused_by_name(refused: pa.DataType) -> None:
    with pytest.raises(UserError, match="'odd'") as caught:
        lake_columns(pa.schema([("odd", refused)]))
    assert "CAST" in caught.value.hint


def test_names_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(UserError, match="'Id' and 'ID'"):
        lake_columns(pa.schema([("Id", pa.int64()), ("ID", pa.int64())]))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (pa.array([1], pa.timestamp("ns")), "lose data"),
        (pa.array([Decimal("1.23")]), "would cause data loss|rescaling"),
        (pa.array([2**63], pa.uint64()), "held as int32"),
    ],
)
def test_a_value_that_would_lose_digits_is_an_error(values: pa.Array, named: str) -> None:
    wanted = {pa.timestamp("ns"): pa.timestamp("us"), pa.uint64(): pa.int32()}.get(values.type, pa.decimal128(5, 1))
    with pytest.raises(UserError, match=named) as caught:
        cast_rows(pa.table({"c": values}), pa.schema([("c", wanted)]), "orders")
    assert "'orders'" in str(caught.value) and "'c'" in str(caught.value)


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(UserError, match="lack columns"):
        cast_rows(pa.table({"a": [1]}), pa.schema([("a", pa.int64()), ("b", pa.int64())]), "t")


def test_what_duckdb_makes_is_taken() -> None:
    rows = duckdb.sql(
        "SELECT INTERVAL '1 month 2 days 3 seconds' AS i, 18446744073709551615::UBIGINT AS u, sum(1) AS s,"
        " 'a'::ENUM ('a', 'b') AS e, TIME '10:00:00' AS t, TIMESTAMPTZ '2020-01-01 00:00:00+00' AS z,"
        " TIMESTAMP_NS '2020-01-01 00:00:00.123456' AS n, NULL AS x, {'a': 1::UTINYINT} AS r"
    ).to_arrow_table()
    (row,) = cast_rows(rows, lake_columns(rows.schema), "t").to_pylist()
    assert row["z"].timestamp() == 1_577_836_800
    del row["z"]
    assert row == {
        "i": "1 month 2 days 00:00:03",
        "u": Decimal(2**64 - 1),
        "s": Decimal(1),
        "e": "a",
        "t": datetime.time(10),
        "n": datetime.datetime(2020, 1, 1, 0, 0, 0, 123456),
        "x": None,
        "r": {"a": 1},
    }


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_unsigned_longs_can_be_turned_back(values: list[int]) -> None:
    rows = pa.table({"c": pa.array(values, pa.uint64())})
    cast = cast_rows(rows, lake_columns(rows.schema), "t")
    assert cast.column("c").cast(pa.uint64()).to_pylist() == values


def test_widenings_are_those_of_the_spec() -> None:
    assert widens(pa.int32(), pa.int64())
    assert widens(pa.float32(), pa.float64())
    assert widens(pa.decimal128(5, 2), pa.decimal128(9, 2))
    assert not widens(pa.int64(), pa.int32())
    assert not widens(pa.int32(), pa.float64())
    assert not widens(pa.decimal128(5, 2), pa.decimal128(9, 3))
