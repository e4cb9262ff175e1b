"""The key index in its file: used where it stands, brought up where it is behind, left where it is damaged."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_model import KEYED, MULTISET, NAMESPACE, Delta, Row, agree, changed, delta, open_lake

from headwater.index.memory import Arrays
from headwater.lake.iceberg import IcebergLake
from headwater.lake.iceberg.index_store import IndexStore, IndexUnusable
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.table_format import TableSpec

BOTH = pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=["keyed", "multiset"])
SOME = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rows(count: int, name: str = "n") -> list[Row]:
    return [(number, name, float(number)) for number in range(count)]


def table_of(lake: IcebergLake, spec: TableSpec) -> IcebergTable:
    """The table, whose index is kept however small."""
    table = lake.table(spec)
    table.indexes.least_rows = 0
    return table


def kept(folder: Path, spec: TableSpec, epochs: int = 3) -> Counter[Row]:
    """Fills a table of ten rows an epoch, takes one back in each but the first, and keeps its index."""
    lake = open_lake(folder, indexes=True)
    table, state = table_of(lake, spec), Counter[Row]()
    for epoch in range(1, epochs + 1):
        change: Delta = [((10 * epoch + n, "n", float(n)), 1) for n in range(10)]
        change += [((10 * (epoch - 1), "n", 0.0), -1)] if epoch > 1 else []
        table.commit(epoch, delta(change), {})
        state = changed(state, change)
    lake.close()
    return state


def goes_on(folder: Path, spec: TableSpec, state: Counter[Row], epoch: int) -> str:
    """Opens the table anew, takes back one row of each file and adds one; returns where the index came from."""
    lake = open_lake(folder, indexes=True)
    table = table_of(lake, spec)
    gone = [row for row in state if row[0] % 10 == 5]
    change: Delta = [*((row, -1) for row in gone), ((1000, "new", 1.0), 1)]
    table.commit(epoch, delta(change), {})
    agree(lake, table, changed(state, change))
    origin = table.indexes.origin
    lake.close()
    return origin


@BOTH
def test_a_restart_opens_the_index_from_its_file(tmp_path: Path, spec: TableSpec) -> None:
    state = kept(tmp_path, spec)
    assert goes_on(tmp_path, spec, state, 4) == "file"


def test_beside_a_checkpoint_an_index_is_kept_that_has_changed_enough(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, indexes=True)
    table, state = table_of(lake, KEYED), Counter(rows(100))
    table.commit(1, delta([(row, 1) for row in state]), {})
    lake.keep_indexes(0.25)
    (file,) = (tmp_path / "index").iterdir()
    first = file.read_bytes()
    for epoch, much in ((2, 10), (3, 15)):
        change = [(row, -1) for row in list(state)[:much]]
        table.commit(epoch, delta(change), {})
        state = changed(state, change)
        lake.keep_indexes(0.25)
        assert (file.read_bytes() == first) == (much == 10)
    del table, lake  # as if killed: nothing is kept at the end
    assert goes_on(tmp_path, KEYED, state, 4) == "file"


@BOTH
def test_an_index_that_is_behind_is_brought_up(tmp_path: Path, spec: TableSpec) -> None:
    state = kept(tmp_path, spec)
    lake = open_lake(tmp_path)
    more: Delta = [((10, "n", 0.0), 0), ((11, "n", 1.0), -1), ((500, "x", None), 1), ((501, "x", None), 1)]
    lake.table(spec).commit(4, delta(more), {})
    lake.table(spec).commit(5, delta([((501, "x", None), -1)]), {})
    lake.close()
    state = changed(changed(state, more), [((501, "x", None), -1)])
    assert goes_on(tmp_path, spec, state, 6) == "file, brought up"


@BOTH
def test_an_index_of_rows_that_are_all_replaced_is_brought_up(tmp_path: Path, spec: TableSpec) -> None:
    kept(tmp_path, spec)
    lake = open_lake(tmp_path)
    lake.table(spec).commit(4, delta([(row, 1) for row in rows(20, "other")]), {}, replace=True)
    lake.close()
    assert goes_on(tmp_path, spec, Counter(rows(20, "other")), 5) == "file, brought up"


@BOTH
def test_an_index_ahead_of_a_table_that_was_rolled_back_is_not_used(tmp_path: Path, spec: TableSpec) -> None:
    """Rows that its last commit deleted are there again."""
    kept(tmp_path, spec, epochs=2)
    lake = open_lake(tmp_path)
    table = lake.catalog.load_table((NAMESPACE, spec.name))
    first = table.metadata.snapshots[0]
    table.manage_snapshots().rollback_to_snapshot(first.snapshot_id).commit()
    lake.close()
    state = Counter([(10 + n, "n", float(n)) for n in range(10)])
    assert goes_on(tmp_path, spec, state, 4).startswith("table: ")


@pytest.mark.parametrize("place", [0, 9, 40, -1, -3000])
def test_a_damaged_file_is_noticed(tmp_path: Path, place: int) -> None:
    state = kept(tmp_path, KEYED, epochs=30)
    (file,) = (tmp_path / "index").iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    origin = goes_on(tmp_path, KEYED, state, 31)
    assert origin.startswith("table: ") and file.name in origin


@pytest.mark.parametrize("size", [0, 8, 100, -1])
def test_a_file_cut_short_is_noticed(tmp_path: Path, size: int) -> None:
    state = kept(tmp_path, KEYED)
    (file,) = (tmp_path / "index").iterdir()
    file.write_bytes(file.read_bytes()[:size])
    assert goes_on(tmp_path, KEYED, state, 4).startswith("table: ")


def test_every_single_damaged_byte_is_noticed(tmp_path: Path) -> None:
    kept(tmp_path, KEYED, epochs=1)
    lake = open_lake(tmp_path)
    metadata = lake.catalog.load_table((NAMESPACE, KEYED.name)).metadata
    store, key = IndexStore(tmp_path / "index"), ["1 int64", "unique"]
    whole = store.load(metadata, key, Arrays())
    assert whole is not None
    content = store.path(metadata).read_bytes()
    covered = sum(-(-array.nbytes // 64) * 64 for array in whole.parts.arrays.values())
    padding = 0
    for place in range(len(content)):
        store.path(metadata).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            store.load(metadata, key, Arrays())
            padding += 1
        except IndexUnusable:
            continue
    assert padding <= len(content) - 16 - covered + 64 * len(whole.parts.arrays)
    lake.close()


def test_an_index_of_another_key_is_not_used(tmp_path: Path) -> None:
    kept(tmp_path, KEYED)
    lake = open_lake(tmp_path)
    metadata = lake.catalog.load_table((NAMESPACE, KEYED.name)).metadata
    with pytest.raises(IndexUnusable, match="another key"):
        IndexStore(tmp_path / "index").load(metadata, ["2 string", "unique"], Arrays())
    lake.close()


def test_a_dropped_table_takes_its_index_along(tmp_path: Path) -> None:
    kept(tmp_path, KEYED)
    lake = open_lake(tmp_path, indexes=True)
    lake.drop(KEYED.name)
    assert list((tmp_path / "index").iterdir()) == []
    lake.close()


WRITES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=8),
        st.sampled_from(["go on", "reopen", "reopen without files", "replace"]),
    ),
    min_size=1,
    max_size=8,
)


@BOTH
@SOME
@given(epochs=WRITES)
def test_whatever_the_file_stands_at_the_table_equals_its_model(
    spec: TableSpec, epochs: list[tuple[list[tuple[int, bool]], str]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, state = Path(name), Counter[Row]()
        lake = open_lake(folder, indexes=True)
        for epoch, (writes, how) in enumerate(epochs, start=1):
            if how.startswith("reopen"):
                lake.close()
                lake = open_lake(folder, indexes=how == "reopen")
            change, before = [], Counter() if how == "replace" else state
            held = {row[0]: row for row in before}
            for key, there in writes:
                if key in held:
                    change.append((held.pop(key), -1))
                if there:
                    held[key] = (key, f"{epoch}", None)
                    change.append((held[key], 1))
            table_of(lake, spec).commit(epoch, delta(change), {}, replace=how == "replace")
            state = changed(before, change)
        agree(lake, table_of(lake, spec), state)
        lake.close()
