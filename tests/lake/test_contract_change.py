"""Columns that change while a table lives, and disks that fail: the same for every format."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from lake_model import COLUMNS, KEYED, MULTISET, agree, delta, reopened, rows_of, snapshot_epochs, warehouse_of

from headwater import failpoint
from headwater.errors import InvariantBroken, StorageFailed, UserError
from headwater.lake.table_format import Lake, TableSpec
from headwater.schema import with_column_id

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", 3.0)
NARROW = pa.schema([("id", pa.int32()), ("price", pa.float32()), ("total", pa.decimal128(5, 2))])
WIDE = pa.schema([("total", pa.decimal128(20, 2)), ("id", pa.int64()), ("price", pa.float64()), ("new", pa.string())])


def identified(*fields: tuple[str, str, pa.DataType]) -> pa.Schema:
    """Columns as (id at the source, name, type)."""
    return pa.schema([with_column_id(pa.field(name, kind), identity) for identity, name, kind in fields])


@pytest.mark.parametrize("key", [("id",), ()])
def test_columns_come_and_grow_wider_with_the_rows_of_a_commit(lake: Lake, key: tuple[str, ...]) -> None:
    table = lake.table(TableSpec("orders", NARROW, key))
    table.commit(1, delta([((1, 0.5, None), 1), ((2, 1.5, None), 1)], NARROW), {})
    table.evolve(WIDE)
    assert reopened(lake, read_only=True).open_table("orders").spec.columns == NARROW
    table.commit(2, delta([((None, 1, 0.5, None), -1), ((None, 2**40, 0.1, "n"), 1)], WIDE), {})
    expected = Counter([(None, 2, 1.5, None), (None, 2**40, 0.1, "n")])
    assert rows_of(table.read(), WIDE) == expected
    assert rows_of(table.read(1), WIDE) == Counter([(None, 1, 0.5, None), (None, 2, 1.5, None)])
    again = reopened(lake).table(TableSpec("orders", WIDE, key))
    again.commit(3, delta([((None, 2**40, 0.1, "n"), -1)], WIDE), {})
    assert rows_of(again.read(), WIDE) == Counter([(None, 2, 1.5, None)])
    assert snapshot_epochs(lake, "orders") == [1, 2, 3]


def test_columns_are_renamed_change_names_and_go(lake: Lake) -> None:
    first = identified(("1", "id", pa.int64()), ("2", "a", pa.string()), ("3", "b", pa.string()))
    table = lake.table(TableSpec("orders", first, ("id",)))
    table.commit(1, delta([((1, "one", "eins"), 1), ((2, "two", "zwei"), 1)], first), {})
    swapped = identified(("1", "id", pa.int64()), ("2", "b", pa.string()), ("3", "a", pa.string()))
    table.evolve(swapped)
    table.commit(2, delta([((2, "two", "zwei"), -1), ((3, "three", "drei"), 1)], swapped), {})
    assert rows_of(table.read(), swapped) == Counter([(1, "one", "eins"), (3, "three", "drei")])
    fewer = identified(("1", "number", pa.int64()), ("3", "a", pa.string()))
    table.evolve(fewer, ("number",), remove=True)
    table.commit(3, delta([((1, "eins"), -1), ((4, "vier"), 1)], fewer), {})
    reader = reopened(lake, read_only=True).open_table("orders")
    assert reader.spec.columns.names == ["number", "a"]
    assert rows_of(reader.read(), fewer) == Counter([(3, "drei"), (4, "vier")])
    assert rows_of(table.read(1), fewer) == Counter([(1, "eins"), (2, "zwei")])


@pytest.mark.parametrize("new", [pa.int32(), pa.string(), pa.list_(pa.int64())], ids=str)
def test_a_column_becomes_another_one_only_with_all_rows(lake: Lake, new: pa.DataType) -> None:
    table = lake.table(TableSpec("orders", pa.schema([("id", pa.int64()), ("c", pa.int64())]), ("id",)))
    table.commit(1, pa.table({"id": [1], "c": [2**40], "_weight": [1]}), {})
    other = pa.schema([("id", pa.int64()), ("c", new)])
    with pytest.raises(UserError, match=r"'orders'.*'c'") as caught:
        table.evolve(other)
    assert caught.value.hint
    table.evolve(other, anew=True)
    fresh = pa.table(
        [pa.array([5]), pa.nulls(1, new), pa.array([1])], schema=other.append(pa.field("_weight", pa.int64()))
    )
    table.commit(2, fresh, {}, replace=True)
    assert reopened(lake, read_only=True).open_table("orders").read().to_pylist() == [{"id": 5, "c": None}]


def arm(monkeypatch: pytest.MonkeyPatch, armed: str) -> None:
    monkeypatch.setattr(failpoint, "_passings", {})
    monkeypatch.setattr(failpoint, "_ARMED", armed)


def files_under(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".db"}


@pytest.mark.parametrize("place", ["before_data_file", "after_data_file", "before_catalog"])
@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=lambda spec: spec.name)
def test_a_full_disk_leaves_the_table_as_it_was(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, spec: TableSpec, place: str
) -> None:
    table = lake.table(spec)
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    table.commit(2, delta([(B, -1)]), {})
    before = files_under(warehouse_of(lake))
    with monkeypatch.context() as patch:
        arm(patch, f"lake.commit.{place}:1:enospc")
        for _ in range(2):
            with pytest.raises(StorageFailed, match=spec.name):
                table.commit(3, delta([(A, -1), (C, 1)]), {})
    assert files_under(warehouse_of(lake)) == before
    agree(lake, table, Counter([A]))
    table.commit(3, delta([(A, -1), (C, 1)]), {})
    assert snapshot_epochs(lake, spec.name) == [1, 2, 3]
    agree(lake, table, Counter([C]))


def test_an_error_after_the_commit_is_no_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    table = lake.table(KEYED)
    with monkeypatch.context() as patch:
        arm(patch, "lake.commit.after_catalog:1:eio")
        table.commit(1, delta([(A, 1)]), {})
    table.commit(2, delta([(A, -1), (B, 1)]), {})
    agree(lake, table, Counter([B]))


def test_two_headwaters_do_not_write_one_table(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    reopened(lake).table(KEYED).commit(2, delta([(B, 1)]), {})
    with pytest.raises(InvariantBroken, match="another Headwater"):
        table.commit(3, delta([(C, 1)]), {})
    agree(lake, table, Counter([A, B]))
    assert snapshot_epochs(lake, "orders") == [1, 2]


def test_a_table_dropped_under_a_writer_is_said_so(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    reopened(lake).drop("orders")
    with pytest.raises(UserError, match="dropped"):
        table.committed()


def test_columns_of_a_schema_that_differ_at_once_are_one_commit(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    more = COLUMNS.append(pa.field("more", pa.struct([("x", pa.int64())])))
    table.stage(2, delta([(B, 1)]))
    table.evolve(more)
    table.commit(2, delta([((3, "c", 3.0, {"x": 7}), 1)], more), {})
    found = {row["id"]: row["more"] for row in table.read().to_pylist()}
    assert found == {1: None, 2: None, 3: {"x": 7}}
    assert snapshot_epochs(lake, "orders") == [1, 2]
