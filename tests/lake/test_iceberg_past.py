"""A table's past: snapshots as a list, what differs between any two, tags, branches, rollback."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lake_model import KEYED, MULTISET, NAMESPACE, Row, agree, delta, open_lake, rows_of, weighted_rows

from headwater.errors import UserError
from headwater.lake.iceberg import IcebergLake
from headwater.lake.iceberg.past import resolve
from headwater.lake.iceberg.reading import difference_of
from headwater.lake.iceberg.refs import refs_of, release, remove_ref, rollback, set_ref
from headwater.lake.moment import Moment

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", 3.0)

WRITES = st.tuples(st.integers(0, 5), st.integers(0, 2))


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=6), min_size=2, max_size=5), st.data()
)
def test_what_differs_between_any_two_snapshots(commits: list[list[tuple[int, int]]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder))
        table = lake.table(MULTISET)
        held: list[Counter[Row]] = [Counter()]
        for epoch, rows in enumerate(commits, 1):
            state, change = Counter(held[-1]), []
            for number, kind in rows:
                row: Row = (number, "x", None)
                weight = -1 if kind == 0 and state[row] else 1
                state[row] += weight
                change.append((row, weight))
            replace = data.draw(st.booleans())
            whole = [(row, count) for row, count in state.items() if count]
            table.commit(epoch, delta(whole if replace else change), {}, replace=replace)
            held.append(Counter(dict(whole)))
        first, second = (data.draw(st.integers(1, len(commits))) for _ in range(2))
        expected = Counter(held[second])
        expected.subtract(held[first])
        found = difference_of(table.handle, Moment(epoch=first), Moment(epoch=second))
        assert weighted_rows(found) == Counter({row: n for row, n in expected.items() if n})
        lake.close()


def test_history_tells_rows_and_epochs(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1), (B, 1)]), {"source.shop.position": "17"})
    table.commit(5, delta([(A, -1), ((1, "z", 1.0), 1)]), {})
    newest, oldest = table.snapshots()
    assert (newest.epoch, newest.rows_added, newest.rows_deleted, newest.rows, newest.files) == (5, 1, 1, 2, 2)
    assert (oldest.epoch, oldest.rows_added, oldest.rows_deleted, oldest.rows) == (1, 2, 0, 2)
    assert (newest.current, oldest.current, newest.maintenance) == (True, False, False)
    assert oldest.properties == {"source.shop.position": "17"}


def test_tags_and_branches(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    then = table.handle.load().current_snapshot()
    assert then is not None
    set_ref(table.handle, "tag", "before", then)
    table.commit(2, delta([(B, 1)]), {})
    assert rows_of(table.dataset(Moment(ref="before")).to_table()) == {A: 1}
    assert refs_of(table.handle.load()) == [("before", "tag", then.snapshot_id)]
    assert table.snapshots()[1].refs == ("before",)
    with pytest.raises(UserError, match="has a tag"):
        set_ref(table.handle, "branch", "before", then)
    with pytest.raises(UserError, match="main"):
        set_ref(table.handle, "branch", "main", then)
    remove_ref(table.handle, "before")
    with pytest.raises(UserError, match="no tag or branch"):
        remove_ref(table.handle, "before")
    agree(lake, table, {A: 1, B: 1})


def test_a_held_rollback_says_the_epoch_that_was_committed_and_afterwards_the_one_that_is_there(
    lake: IcebergLake,
) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {"n": "1"})
    table.commit(2, delta([(B, 1)]), {"n": "2"})
    old = resolve(table.handle.load().metadata, Moment(epoch=1), "orders")
    assert old is not None
    rollback(table.handle, old, "epoch 1")
    committed = table.committed()
    assert committed is not None
    assert (committed.epoch, committed.properties["n"], committed.held) == (2, "2", "epoch 1")
    again = lake.open_table("orders")
    agree(lake, again, {A: 1})
    assert lake.catalog.load_table((NAMESPACE, "orders")).scan().to_arrow().num_rows == 1
    release(table.handle)
    committed = table.committed()
    assert committed is not None
    assert (committed.epoch, committed.held) == (1, None)
    with pytest.raises(UserError, match="not held"):
        release(table.handle)
    writer = lake.table(KEYED)
    writer.commit(3, delta([(A, 1), (C, 1)]), {}, replace=True)
    agree(lake, writer, {A: 1, C: 1})
    assert [one.epoch for one in writer.snapshots()] == [3, 2, 1]


def test_what_a_rollback_left_behind_can_be_gone_back_to(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    table.commit(2, delta([(B, 1)]), {})
    later = table.handle.load().current_snapshot()
    old = resolve(table.handle.load().metadata, Moment(epoch=1), "orders")
    assert old is not None
    assert later is not None
    rollback(table.handle, old, None)
    rollback(table.handle, later, None)
    agree(lake, lake.open_table("orders"), {A: 1, B: 1})
