"""`headwater verify --index`: the kept key index of a table against its files, with damage that no checksum shows."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scripted_project import EVENTS, ORDERS, Shop, inserts, run_with

from headwater.change import Op
from headwater.cli.app import main
from headwater.index.memory import Arrays
from headwater.lake.iceberg.index_store import IndexStore
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.index_check import Places, difference
from headwater.testing.scripted_source import scripted_group

ROWS = 10_500


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A project with a keyed table and one without a key, some rows of which were taken back; both indexes kept."""
    shop = Shop(tmp_path_factory.mktemp("index") / "project")
    shop.model("copies", "SELECT id % 7000 AS n, status FROM orders")
    run_with(shop, inserts(1, *range(ROWS)))
    run_with(shop, scripted_group(2, [(ORDERS, Op.DELETE, {"id": n}) for n in range(0, 100, 10)]))
    run_with(shop, scripted_group(3, [(EVENTS, Op.INSERT, {"happened": None, "n": 1})]))
    return shop


def asked(shop, capsys, *arguments):
    """Exit code and what is told by table."""
    capsys.readouterr()
    code = main(["verify", "--index", *arguments, "--folder", str(shop.folder), "--json"])
    return code, {one["table"]: one for one in json.loads(capsys.readouterr().out)["indexes"]}


def damaged(shop, table, damage):
    """Rewrites a kept index whose arrays `damage` changes, with the right checksums; returns the former file."""
    lake = IcebergLake(shop.folder / "lake", namespace="shop", read_only=True)
    metadata = lake.catalog.load_table(("shop", table)).metadata
    lake.close()
    store = IndexStore(shop.state / "index")
    before = store.path(metadata).read_bytes()
    key = json.loads(before[16 : 16 + int.from_bytes(before[8:12], "little")])["key"]
    held = store.load(metadata, key, Arrays())
    arrays = {name: array.copy() for name, array in held.parts.arrays.items()}
    damage(arrays)
    store.save(metadata, key, replace(held, parts=replace(held.parts, arrays=arrays)))
    return store.path(metadata), before


@pytest.mark.parametrize("table", ["orders", "copies"])
def test_an_index_that_is_right(stopped, capsys, table):
    code, told = asked(stopped, capsys, table)
    assert (code, list(told)) == (0, [table])
    assert (told[table]["rows"], told[table]["origin"], told[table]["holds"]) == (ROWS - 10, "file", True)


def test_all_tables_and_one_whose_index_is_not_kept(stopped, capsys):
    code, told = asked(stopped, capsys)
    assert (code, sorted(told)) == (0, ["copies", "events", "orders"])
    assert told["events"]["origin"] == "table: no file is kept"


def swap_rows(arrays):
    found = np.flatnonzero(arrays["files"] >= 0)[[3, 4]]
    arrays["rows"][found] = arrays["rows"][found[::-1]]


def wrong_place(arrays):
    arrays["rows"][np.flatnonzero(arrays["files"] >= 0)[3]] += 1


def no_place(arrays):
    arrays["files"][np.flatnonzero(arrays["files"] >= 0)[3]] = -1


@pytest.mark.parametrize("table", ["orders", "copies"])
@pytest.mark.parametrize(("damage", "missing", "superfluous", "wrong"), [(swap_rows, 0, 0, 2), (wrong_place, 0, 0, 1)])
def test_a_wrong_place_is_found(stopped, capsys, table, damage, missing, superfluous, wrong):
    path, before = damaged(stopped, table, damage)
    try:
        code, told = asked(stopped, capsys, table)
        plain = main(["verify", "--index", table, "--folder", str(stopped.folder)])
        shown = capsys.readouterr()
    finally:
        path.write_bytes(before)
    assert (code, plain) == (5, 5)
    one = told[table]
    assert (one["missing"], one["superfluous"], one["wrong"], one["holds"]) == (missing, superfluous, wrong, False)
    assert len(one["listed"]) == wrong and "is sought in row" in one["listed"][0]
    assert one["listed"][0] in shown.out and "remove" in shown.err


def test_a_row_without_a_place_is_found(stopped, capsys):
    path, before = damaged(stopped, "orders", no_place)
    try:
        code, told = asked(stopped, capsys, "orders")
    finally:
        path.write_bytes(before)
    assert (code, told["orders"]["missing"], told["orders"]["superfluous"], told["orders"]["wrong"]) == (5, 1, 0, 0)
    assert told["orders"]["listed"][0].startswith("{'id': ")


def places(*triples):
    return Places(*(np.array([triple[part] for triple in triples], np.int64) for part in range(3)))


def test_what_differs_is_counted_by_key():
    table = places((0, 0, 0), (0, 0, 1), (1, 1, 0), (-1, 1, 1), (-1, 1, 2))
    index = places((0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 1, 0), (2, 5, 5))
    found = difference(table, index)
    assert [len(part) for part in (found.missing, found.superfluous, found.wrong)] == [2, 2, 1]
    assert found.wrong.rows.tolist() == [1] and found.found.rows.tolist() == [0]
    nothing = places()
    assert len(difference(nothing, index).superfluous) == 5 and len(difference(table, nothing).missing) == 5
    assert not len(difference(nothing, nothing).wrong)
