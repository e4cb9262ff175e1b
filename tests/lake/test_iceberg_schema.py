"""Columns that come, grow wider, or go while the table lives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from lake_model import COLUMNS, KEYED, MULTISET, delta, pyiceberg_rows, rows_of

from headwater.errors import UserError
from headwater.lake.iceberg import IcebergLake
from headwater.lake.table_format import TableSpec

NARROW = pa.schema([("id", pa.int32()), ("price", pa.float32()), ("total", pa.decimal128(5, 2))])
WIDE = pa.schema([("total", pa.decimal128(20, 2)), ("id", pa.int64()), ("price", pa.float64()), ("new", pa.string())])


@pytest.mark.parametrize("key", [("id",), ()])
def test_added_and_widened_columns(lake: IcebergLake, key: tuple[str, ...]) -> None:
    table = lake.table(TableSpec("orders", NARROW, key))
    table.commit(1, delta([((1, 0.5, None), 1), ((2, 1.5, None), 1)], NARROW), {})
    table.evolve(WIDE)
    table.commit(2, delta([((None, 1, 0.5, None), -1), ((None, 2**40, 0.1, "n"), 1)], WIDE), {})
    expected = Counter([(None, 2, 1.5, None), (None, 2**40, 0.1, "n")])
    assert rows_of(table.read(), WIDE) == expected
    assert table.read().schema == WIDE
    assert rows_of(lake.catalog.load_table(("shop", "orders")).scan().to_arrow(), WIDE) == expected
    assert rows_of(table.read(1), WIDE) == Counter([(None, 1, 0.5, None), (None, 2, 1.5, None)])


def test_opening_with_a_wider_spec_evolves(lake: IcebergLake) -> None:
    lake.table(TableSpec("orders", NARROW, ("id",))).commit(1, delta([((1, 0.5, None), 1)], NARROW), {})
    again = lake.table(TableSpec("orders", WIDE, ("id",)))
    assert rows_of(again.read(), WIDE) == Counter([(None, 1, 0.5, None)])
    assert lake.open_table("orders").spec.columns.names == ["id", "price", "total", "new"]


def test_evolving_to_what_is_there_commits_nothing(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    before = lake.catalog.load_table(("shop", "orders")).metadata_location
    table.evolve(COLUMNS)
    assert lake.catalog.load_table(("shop", "orders")).metadata_location == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (pa.int64(), pa.int32()),
        (pa.int32(), pa.float64()),
        (pa.string(), pa.int64()),
        (pa.decimal128(9, 2), pa.decimal128(9, 3)),
        (pa.decimal128(9, 2), pa.decimal128(8, 2)),
        (pa.timestamp("us"), pa.timestamp("us", tz="UTC")),
        (pa.struct([("a", pa.int64())]), pa.struct([("a", pa.string())])),
    ],
    ids=str,
)
def test_other_changes_of_type_are_refused(lake: IcebergLake, old: pa.DataType, new: pa.DataType) -> None:
    table = lake.table(TableSpec("orders", pa.schema([("id", pa.int64()), ("c", old)]), ("id",)))
    with pytest.raises(UserError, match=r"'orders'.*'c'") as caught:
        table.evolve(pa.schema([("id", pa.int64()), ("c", new)]))
    assert caught.value.hint
    assert table.spec.columns.field("c").type == old


def test_a_column_no_longer_wanted_stays_and_is_null_in_new_rows(lake: IcebergLake) -> None:
    table = lake.table(MULTISET)
    table.commit(1, delta([((1, "a", 1.0), 1), ((2, "b", 2.0), 1)]), {})
    fewer = pa.schema([COLUMNS.field("id"), COLUMNS.field("amount")])
    table = lake.table(replace(MULTISET, columns=fewer))
    table.commit(2, delta([((1, 1.0), -1), ((3, 3.0), 1)], fewer), {})
    assert rows_of(table.read(), fewer) == Counter([(2, 2.0), (3, 3.0)])
    assert pyiceberg_rows(lake, "events") == Counter([(2, "b", 2.0), (3, None, 3.0)])


def test_nested_fields_can_be_added(lake: IcebergLake) -> None:
    old = pa.schema([("id", pa.int64()), ("s", pa.struct([("a", pa.int32())]))])
    new = pa.schema([("id", pa.int64()), ("s", pa.struct([("a", pa.int64()), ("b", pa.string())]))])
    table = lake.table(TableSpec("orders", old, ("id",)))
    table.commit(1, delta([((1, {"a": 1}), 1), ((2, None), 1)], old), {})
    table.evolve(new)
    table.commit(2, delta([((3, {"a": 2**40, "b": "x"}), 1)], new), {})
    found = {row["id"]: row["s"] for row in table.read().to_pylist()}
    assert found == {1: {"a": 1, "b": None}, 2: None, 3: {"a": 2**40, "b": "x"}}
    scanned = lake.catalog.load_table(("shop", "orders")).scan().to_arrow()
    assert {row["id"]: row["s"] for row in scanned.to_pylist()} == found
