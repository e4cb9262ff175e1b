"""Columns that come, grow wider, or go while the table lives."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pytest
from lake_model import COLUMNS, KEYED, MULTISET, delta, pyiceberg_rows, rows_of
from pyiceberg.types import LongType, StringType

from headwater.errors import StorageFailed, UserError
from headwater.lake.iceberg import IcebergLake
from headwater.lake.layout import Layout, partition_by, sort_by
from headwater.lake.table_format import TableSpec
from headwater.schema import with_column_id

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
    assert lake.open_table("orders").spec.columns.names == WIDE.names


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


def named(**columns: pa.DataType | tuple[str, pa.DataType]) -> pa.Schema:
    """Columns with ids: `name=type` has its name as id, `name=(id, type)` another one."""
    pairs = {name: kind if isinstance(kind, tuple) else (name, kind) for name, kind in columns.items()}
    return pa.schema([with_column_id(pa.field(name, kind), identity) for name, (identity, kind) in pairs.items()])


def iceberg(lake: IcebergLake, name: str = "orders"):
    """The table as PyIceberg sees it."""
    return lake.catalog.load_table(("shop", name))


def scanned(lake: IcebergLake) -> list[dict[str, object]]:
    """The rows as PyIceberg's scan has them, by id."""
    return iceberg(lake).scan().to_arrow().sort_by("id").to_pylist()


BEFORE = named(id=pa.int64(), a=pa.string(), b=pa.int32())
AFTER = named(id=pa.int64(), b=("a", pa.string()), c=("b", pa.int64()), d=pa.float64())


@pytest.mark.parametrize("key", [("id",), ()])
@pytest.mark.parametrize("slices", [False, True])
def test_columns_and_rows_of_an_epoch_are_one_commit(lake: IcebergLake, key: tuple[str, ...], slices: bool) -> None:
    """T-IC-06: readers see the old columns and rows, or the new ones."""
    table = lake.table(TableSpec("orders", BEFORE, key))
    table.commit(1, delta([((1, "x", 1), 1), ((2, "y", 2), 1)], BEFORE), {})
    before = iceberg(lake)
    table.evolve(AFTER)
    assert iceberg(lake).metadata == before.metadata
    assert rows_of(table.read(), AFTER) == Counter([(1, "x", 1, None), (2, "y", 2, None)])
    if slices:
        table.stage(2, delta([((3, "z", 2**40, 0.5), 1)], AFTER))
    table.commit(2, delta([((1, "x", 1, None), -1), ((4, "w", 4, 4.5), 1)], AFTER), {})
    now = iceberg(lake)
    assert now.metadata.last_sequence_number == before.metadata.last_sequence_number + 1
    assert len(now.metadata.schemas) == len(before.metadata.schemas) + 1
    assert now.current_snapshot().schema_id == now.metadata.current_schema_id != before.current_snapshot().schema_id
    expected = Counter([(2, "y", 2, None), (4, "w", 4, 4.5)] + [(3, "z", 2**40, 0.5)] * slices)
    assert rows_of(now.scan().to_arrow(), AFTER) == rows_of(table.read(), AFTER) == expected
    old = now.scan(snapshot_id=before.current_snapshot().snapshot_id).to_arrow()
    assert rows_of(old, BEFORE) == Counter([(1, "x", 1), (2, "y", 2)])


def test_columns_are_thought_anew_after_another_writer(lake: IcebergLake) -> None:
    table = lake.table(TableSpec("orders", BEFORE, ("id",)))
    table.commit(1, delta([((1, "x", 1), 1)], BEFORE), {})
    table.evolve(AFTER)
    with iceberg(lake).update_schema() as update:
        update.add_column("theirs", LongType())
    foreign = pa.table({"id": [9], "a": ["f"], "b": pa.array([9], pa.int32()), "theirs": [99]})
    iceberg(lake).append(foreign)
    table.commit(2, delta([((1, "x", 1, None), -1), ((9, "f", 9, None), -1), ((3, "z", 3, 1.0), 1)], AFTER), {})
    assert iceberg(lake).scan().to_arrow().to_pylist() == [{"id": 3, "b": "z", "c": 3, "theirs": None, "d": 1.0}]
    assert [field.field_id for field in iceberg(lake).schema().fields] == [1, 2, 3, 4, 5]


def test_a_commit_that_fails_leaves_the_columns_as_they_were(lake: IcebergLake, monkeypatch) -> None:
    table = lake.table(TableSpec("orders", BEFORE, ("id",)))
    table.commit(1, delta([((1, "x", 1), 1)], BEFORE), {})
    before = iceberg(lake).metadata
    table.evolve(AFTER)
    change = delta([((2, "z", 3, 1.0), 1)], AFTER)
    with monkeypatch.context() as patch:
        patch.setattr(lake.catalog, "commit_table", lambda *_: (_ for _ in ()).throw(OSError("refused")))
        with pytest.raises(StorageFailed):
            table.commit(2, change, {})
    assert iceberg(lake).metadata == before
    table.commit(2, change, {})
    assert rows_of(iceberg(lake).scan().to_arrow(), AFTER) == Counter([(1, "x", 1, None), (2, "z", 3, 1.0)])


def test_columns_that_change_places(lake: IcebergLake) -> None:
    table = lake.table(TableSpec("orders", BEFORE, ("id",)))
    table.commit(1, delta([((1, "x", 1), 1)], BEFORE), {})
    ids = {field.name: field.field_id for field in iceberg(lake).schema().fields}
    places = named(b=pa.int32(), new=pa.string(), id=pa.int64(), a=pa.string())
    table.evolve(places)
    table.commit(2, delta([((2, "n", 2, "y"), 1)], places), {})
    assert iceberg(lake).scan().to_arrow().column_names == ["b", "new", "id", "a"]
    assert ids.items() <= {field.name: field.field_id for field in iceberg(lake).schema().fields}.items()
    assert rows_of(iceberg(lake).scan().to_arrow(), places) == Counter([(1, None, 1, "x"), (2, "n", 2, "y")])


def test_a_column_that_is_to_go_leaves_the_table_and_not_its_past(lake: IcebergLake) -> None:
    table = lake.table(TableSpec("orders", BEFORE, ("id",)))
    table.commit(1, delta([((1, "x", 1), 1)], BEFORE), {})
    first = iceberg(lake).current_snapshot().snapshot_id
    fewer = named(id=pa.int64(), b=pa.int32())
    table.evolve(fewer, remove=True)
    table.commit(2, delta([((2, 2), 1)], fewer), {})
    assert scanned(lake) == [{"id": 1, "b": 1}, {"id": 2, "b": 2}]
    assert iceberg(lake).scan(snapshot_id=first).to_arrow().to_pylist() == [{"id": 1, "a": "x", "b": 1}]
    table.evolve(BEFORE)
    table.commit(3, delta([((3, "z", 3), 1)], BEFORE), {})
    assert rows_of(iceberg(lake).scan().to_arrow(), BEFORE) == Counter([(1, None, 1), (2, None, 2), (3, "z", 3)])
    assert iceberg(lake).schema().find_field("a").field_id == 4


@pytest.mark.parametrize("why", ["partitioned", "sorted"])
def test_a_column_by_which_files_are_laid_out_cannot_go(lake: IcebergLake, why: str) -> None:
    layout = Layout(partition=(partition_by("b"),)) if why == "partitioned" else Layout(sort=(sort_by("b"),))
    table = lake.table(TableSpec("orders", BEFORE, ("id",), layout=layout))
    with pytest.raises(UserError, match=f"'orders' is {why} by column 'b'") as caught:
        table.evolve(named(id=pa.int64(), a=pa.string()), remove=True)
    assert "decide" in caught.value.hint
    table.evolve(named(id=pa.int64(), a=pa.string(), renamed=("b", pa.int64())))
    table.show_columns()
    assert iceberg(lake).schema().find_column_name(3) == "renamed"


INNER = pa.struct([("x", pa.int32()), ("y", pa.string())])
WIDER = pa.struct([("z", pa.float64()), ("x", pa.int64()), ("y", pa.string())])


def nested(kind: pa.DataType) -> pa.Schema:
    return named(
        id=pa.int64(),
        s=pa.struct([("deep", kind), ("n", pa.int64())]),
        l=pa.list_(kind),
        m=pa.map_(pa.string(), pa.list_(kind)),
    )


def test_fields_inside_of_nested_columns_come_grow_and_change_places(lake: IcebergLake) -> None:
    table = lake.table(TableSpec("orders", nested(INNER), ("id",)))
    v = {"x": 1, "y": "a"}
    rows = [
        (1, {"deep": v, "n": 1}, [v, None, v], [("k", [v]), ("j", None)]),
        (2, None, None, None),
        (3, {"deep": None, "n": None}, [], []),
    ]
    table.commit(1, delta([(row, 1) for row in rows], nested(INNER)), {})
    table.evolve(nested(WIDER))
    w = {"z": 0.5, "x": 2**40, "y": None}
    new = (4, {"deep": w, "n": 4}, [w], [("k", [w, None])])
    table.commit(2, delta([((2, None, None, None), -1), (new, 1)], nested(WIDER)), {})
    v = {"z": None, **v}
    expected = [(1, {"deep": v, "n": 1}, [v, None, v], [("k", [v]), ("j", None)]), rows[2], new]
    for read in (table.read(), iceberg(lake).scan().to_arrow()):
        assert sorted((tuple(row.values()) for row in read.to_pylist()), key=lambda row: row[0]) == expected
    assert table.read().schema.equals(nested(WIDER))


def test_a_nested_field_that_is_no_longer_named_stays_or_goes(lake: IcebergLake) -> None:
    table = lake.table(TableSpec("orders", nested(INNER), ("id",)))
    table.commit(1, delta([((1, None, [{"x": 1, "y": "a"}], None), 1)], nested(INNER)), {})
    only = pa.struct([("x", pa.int32())])
    table.evolve(nested(only))
    table.commit(2, delta([((2, None, [{"x": 2}], None), 1)], nested(only)), {})
    assert [row["l"] for row in scanned(lake)] == [[{"x": 1, "y": "a"}], [{"x": 2, "y": None}]]
    table.evolve(nested(only), remove=True)
    table.commit(3, delta([((2, None, [{"x": 2}], None), -1)], nested(only)), {})
    assert [row["l"] for row in scanned(lake)] == [[{"x": 1}]]
    table.evolve(nested(INNER))
    table.commit(4, delta([((4, None, [{"x": 4, "y": "new"}], None), 1)], nested(INNER)), {})
    assert [row["l"] for row in scanned(lake)] == [[{"x": 1, "y": None}], [{"x": 4, "y": "new"}]]


def test_nested_fields_are_found_by_their_ids(lake: IcebergLake) -> None:
    """Another engine renames them and puts another one in the former's place."""
    table = lake.table(TableSpec("orders", nested(INNER), ("id",)))
    v = {"x": 1, "y": "a"}
    table.commit(1, delta([((1, {"deep": v, "n": 1}, [v, None], [("k", [v])]), 1)], nested(INNER)), {})
    for path in (("s", "deep"), ("l", "element"), ("m", "value", "element")):
        with iceberg(lake).update_schema() as update:
            update.rename_column((*path, "x"), "was_x")
        with iceberg(lake).update_schema(allow_incompatible_changes=True) as update:
            update.delete_column((*path, "y"))
        with iceberg(lake).update_schema() as update:
            update.add_column((*path, "y"), StringType())
    u = {"was_x": 1, "y": None}
    expected = {"id": 1, "s": {"deep": u, "n": 1}, "l": [u, None], "m": [("k", [u])]}
    assert lake.open_table("orders").read().to_pylist() == [expected]
    (found,) = scanned(lake)
    assert (found["s"], found["l"]) == (expected["s"], expected["l"])  # PyIceberg 0.12 goes by name inside of maps


@pytest.mark.parametrize("kind", [pa.struct([("x", pa.string())]), pa.list_(INNER), pa.string()], ids=str)
def test_a_nested_column_that_cannot_go_on_is_refused_or_begins_anew(lake: IcebergLake, kind: pa.DataType) -> None:
    before, after = named(id=pa.int64(), s=INNER), named(id=pa.int64(), s=kind)
    table = lake.table(TableSpec("orders", before, ("id",)))
    table.commit(1, delta([((1, {"x": 1, "y": "a"}), 1)], before), {})
    with pytest.raises(UserError, match="'s' is struct"):
        table.evolve(after)
    table.evolve(after, anew=True)
    table.commit(2, delta([((1, None), 1)], after), {}, replace=True)
    assert table.read().to_pylist() == [{"id": 1, "s": None}]
