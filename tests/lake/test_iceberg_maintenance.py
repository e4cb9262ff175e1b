"""Maintenance of an Iceberg table changes files and no row, whatever is committed while it works."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lake_model import (
    COLUMNS,
    KEYED,
    MULTISET,
    NAMESPACE,
    SOME,
    Delta,
    Row,
    agree,
    changed,
    delta,
    keyed_delta,
    live_paths,
    multiset_delta,
    open_lake,
    rows_of,
    shuffled,
    weighted_rows,
)
from maintained import AT_ONCE, EAGER, keep, maintain

from headwater.lake.iceberg import IcebergLake
from headwater.lake.iceberg.maintenance import Swap
from headwater.lake.iceberg.rewriting import DataRewrite, DeleteRewrite
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.maintenance import Policy, Task
from headwater.lake.table_format import TableSpec

WRITES = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["x", "y", "z", None])), max_size=6)


@dataclass(frozen=True)
class Step:
    """An epoch and what else happens: `begun`, rewrites are written before it and settled after it; `kept`, all
    maintenance runs after it."""

    writes: list[tuple[int, str | None]]
    seed: int
    replaced: bool
    begun: bool
    kept: bool
    reopened: bool


STEPS = st.lists(
    st.builds(
        Step,
        writes=WRITES,
        seed=st.integers(0, 1000),
        replaced=st.integers(0, 7).map(lambda n: n == 0),
        begun=st.booleans(),
        kept=st.booleans(),
        reopened=st.booleans(),
    ),
    min_size=2,
    max_size=9,
)


def written(task: Task) -> DataRewrite | DeleteRewrite:
    """A task's rewrite as far as it goes beside the commits."""
    kind = DataRewrite if task.kind == "compact" else DeleteRewrite
    rewrite = kind(task.what.inventory, task.what.group, *([("id",)] if task.kind == "compact" else []))
    rewrite.write()
    return rewrite


def play(spec: TableSpec, steps: list[Step], make) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = open_lake(Path(folder))
        table, history = lake.table(spec), [Counter()]
        for epoch, step in enumerate(steps, start=1):
            if step.reopened:
                table = lake.table(spec)
            begun = [(task, written(task)) for task in table.maintenance().plan(EAGER)] if step.begun else []
            before = Counter() if step.replaced else history[-1]
            change = make(before, step.writes)
            table.commit(epoch, delta(shuffled(change, step.seed)), {"n": str(epoch)}, replace=step.replaced)
            history.append(changed(before, change))
            for task, rewrite in begun:
                if table.replace_files(rewrite, task.kind) is Swap.MOOT:
                    rewrite.discard()
            if step.kept:
                keep(table)
            assert rows_of(table.read()) == history[-1]
            assert table.committed().epoch == epoch
        agree(lake, table, history[-1])
        check_past(table, history, steps)
        lake.close()


def check_past(table: IcebergTable, history: list[Counter[Row]], steps: list[Step]) -> None:
    """Every epoch can be read, and its changes are its own."""
    for epoch, expected in enumerate(history[1:], start=1):
        assert rows_of(table.read(epoch)) == expected
    changes = list(table.changes(0))
    assert [change.epoch for change in changes] == list(range(1, len(history)))
    for number, change in enumerate(changes, start=1):
        total = Counter(history[number])
        total.subtract(history[number - 1])
        if not steps[number - 1].replaced:
            assert weighted_rows(change.rows) == Counter({row: n for row, n in total.items() if n})


@SOME
@given(STEPS)
def test_keyed_table_equals_its_model(steps: list[Step]) -> None:
    play(KEYED, steps, keyed_delta)


@SOME
@given(STEPS)
def test_multiset_equals_its_model(steps: list[Step]) -> None:
    play(MULTISET, steps, multiset_delta)


def filled(lake: IcebergLake, epochs: int = 8, spec: TableSpec = KEYED) -> tuple[IcebergTable, Counter[Row]]:
    """A table of so many epochs, each of ten rows, of which three go in the next."""
    table, state = lake.table(spec), Counter()
    for epoch in range(1, epochs + 1):
        change: Delta = [((epoch * 10 + n, "x", float(epoch)), 1) for n in range(10)]
        change += [(row, -1) for row in state if row[0] // 10 == epoch - 1 and row[0] % 10 < 3]
        table.commit(epoch, delta(change), {"n": str(epoch)})
        state = changed(state, change)
    return table, state


def test_few_files_are_left_and_the_index_follows(lake: IcebergLake) -> None:
    table, state = filled(lake)
    care = table.maintenance()
    before = care.health()
    assert (before.files, before.delete_files, before.deleted_rows) == (8, 7, 21)
    assert set(maintain(care)) == {"compact", "deletes"}
    after = care.health()
    assert (after.files, after.delete_files, after.deleted_rows, after.rows) == (1, 0, 0, 59)
    row = next(iter(state))
    table.commit(9, delta([(row, -1)]), {})
    agree(lake, table, changed(state, [(row, -1)]))
    assert len(live_paths(lake, KEYED.name)[0]) == 1


def test_a_snapshot_of_maintenance_says_so_and_repeats_the_last_commit(lake: IcebergLake) -> None:
    table, _ = filled(lake, 3)
    keep(table)
    summary = lake.catalog.load_table((NAMESPACE, KEYED.name)).current_snapshot().summary
    assert summary.operation.value == "replace"
    fields = summary.additional_properties
    assert (fields["headwater.epoch"], fields["headwater.n"]) == ("3", "3")
    assert fields["headwater.maintenance"] in ("compact", "deletes")
    assert fields["total-records"] == "24"
    assert table.committed().properties == {"n": "3"}
    assert [change.epoch for change in table.changes(0)] == [1, 2, 3]


def test_a_rewrite_waits_for_an_epoch_in_parts(lake: IcebergLake) -> None:
    table, state = filled(lake, 4)
    tasks = [task for task in table.maintenance().plan(EAGER) if task.kind == "compact"]
    row = next(row for row in state if row[0] // 10 == 1)
    table.stage(5, delta([(row, -1)]))
    rewrite = written(tasks[0])
    assert table.replace_files(rewrite, "compact") is Swap.BUSY
    table.commit(5, delta([]), {})
    assert table.replace_files(rewrite, "compact") is Swap.DONE
    agree(lake, table, changed(state, [(row, -1)]))


def test_a_rewrite_is_moot_when_deletes_were_taken_back(lake: IcebergLake) -> None:
    """A rollback: rows that the rewrite left out are there again."""
    table, _ = filled(lake, 4)
    tasks = [task for task in table.maintenance().plan(EAGER) if task.kind == "compact"]
    rewrite = written(tasks[0])
    held = lake.catalog.load_table((NAMESPACE, KEYED.name))
    third = held.metadata.snapshots[2].snapshot_id
    held.manage_snapshots().set_current_snapshot(snapshot_id=third).commit()
    table = lake.table(KEYED)
    assert table.replace_files(rewrite, "compact") is Swap.MOOT
    rewrite.discard()
    agree(lake, table, Counter(row for row in rows_of(table.read(3)).elements()))


def test_rows_are_ordered_by_the_key(lake: IcebergLake) -> None:
    table = lake.table(KEYED)
    for epoch, numbers in enumerate([(5, 1), (4, 2), (3, 0)], start=1):
        table.commit(epoch, delta([((n, "x", 1.0), 1) for n in numbers]), {})
    keep(table)
    assert table.read().column("id").to_pylist() == [0, 1, 2, 3, 4, 5]


def test_many_manifests_become_few(lake: IcebergLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.lake.iceberg.maintenance.MOST_MANIFESTS", 4)
    table, state = filled(lake, 4)
    assert keep(table, EAGER, ["manifests"]) == ["manifests"]
    assert table.maintenance().health().manifests == 2
    agree(lake, table, state)


def expire(table: IcebergTable, **kept: float) -> list[str]:
    return keep(table, replace(Policy(), **kept), ["expire"])


def epochs_kept(lake: IcebergLake) -> list[int]:
    snapshots = lake.catalog.load_table((NAMESPACE, KEYED.name)).metadata.snapshots
    return sorted(int(snapshot.summary["headwater.epoch"]) for snapshot in snapshots)


def test_snapshots_expire_by_number_and_by_age(lake: IcebergLake) -> None:
    table, state = filled(lake, 8)
    assert expire(table, keep_snapshots=5) == ["expire"]
    assert epochs_kept(lake) == [4, 5, 6, 7, 8]
    row = next(iter(state))
    table.commit(9, delta([(row, -1)]), {})
    assert expire(table, keep_snapshots_s=0.0) == ["expire"]
    assert epochs_kept(lake) == [9]
    agree(lake, table, changed(state, [(row, -1)]))


def test_what_a_tag_or_a_branch_names_stays(lake: IcebergLake) -> None:
    table, state = filled(lake, 6)
    held = lake.catalog.load_table((NAMESPACE, KEYED.name))
    snapshots = [snapshot.snapshot_id for snapshot in held.metadata.snapshots]
    held.manage_snapshots().create_tag(snapshots[1], "audit").create_branch(snapshots[3], "try").commit()
    tagged, past = rows_of(table.read(2)), rows_of(table.read(4))
    keep(table, replace(AT_ONCE, keep_snapshots=1))
    assert {2, 4} <= set(epochs_kept(lake))
    scan = lake.catalog.load_table((NAMESPACE, KEYED.name)).scan
    assert rows_of(scan(snapshot_id=snapshots[1]).to_arrow()) == tagged
    assert rows_of(scan(snapshot_id=snapshots[3]).to_arrow()) == past
    agree(lake, table, state)


def test_a_tag_that_is_made_meanwhile_keeps_its_snapshot(lake: IcebergLake, monkeypatch: pytest.MonkeyPatch) -> None:
    table, _ = filled(lake, 6)
    send, snapshots = lake.catalog.commit_table, []

    def tag_first(*arguments: object) -> object:
        monkeypatch.setattr(lake.catalog, "commit_table", send)
        held = lake.catalog.load_table((NAMESPACE, KEYED.name))
        snapshots.append(held.metadata.snapshots[0].snapshot_id)
        held.manage_snapshots().create_tag(snapshots[0], "audit").commit()
        return send(*arguments)

    monkeypatch.setattr(lake.catalog, "commit_table", tag_first)
    expire(table, keep_snapshots=2)
    metadata = lake.catalog.load_table((NAMESPACE, KEYED.name)).metadata
    assert metadata.refs["audit"].snapshot_id == snapshots[0]
    assert metadata.snapshot_by_id(snapshots[0]) is not None
    assert epochs_kept(lake) == [1, 5, 6]


def files_of(lake: IcebergLake, table: str = KEYED.name) -> set[Path]:
    return {path for path in (lake.warehouse / NAMESPACE / table).rglob("*") if path.is_file()}


def test_files_of_expired_snapshots_go_after_the_grace(lake: IcebergLake) -> None:
    table, state = filled(lake, 8)
    care = table.maintenance()
    slow = lake.catalog.load_table((NAMESPACE, KEYED.name)).scan(snapshot_id=None)  # a reader that has only just begun
    maintain(care, replace(EAGER, keep_snapshots=1))
    assert slow.to_arrow().num_rows == sum(state.values())
    gone = maintain(care, replace(EAGER, keep_snapshots=1, reader_grace_s=0.0), ["orphans"])
    assert gone == ["orphans"]
    data = {path for path in files_of(lake) if path.parent.name == "data"}
    assert {str(path) for path in data} == {path for paths in live_paths(lake, KEYED.name) for path in paths}
    agree(lake, table, state)


def test_files_that_nothing_ever_named_wait_for_their_age(lake: IcebergLake) -> None:
    """T-IC-03: files of a writer that has not come to its commit yet look like garbage."""
    table, state = filled(lake, 3)
    slow = lake.open_table(KEYED.name)
    rewrite = written(next(t for t in table.maintenance().plan(EAGER) if t.kind == "compact"))
    written_files = {Path(file.file_path) for file in rewrite.written_files}
    patient = replace(AT_ONCE, orphan_age_s=3600.0)
    assert keep(table, patient, ["orphans"]) == []
    assert written_files <= files_of(lake)
    assert table.replace_files(rewrite, "compact") is Swap.DONE
    assert keep(table, AT_ONCE, ["orphans"]) == []
    agree(lake, table, state)
    assert rows_of(slow.read()) == state


def test_files_of_an_epoch_under_way_stay(lake: IcebergLake) -> None:
    table, state = filled(lake, 2)
    new = [((1000, "n", 1.0), 1)]
    table.stage(3, delta(new))
    assert keep(table, AT_ONCE, ["orphans"]) == []
    table.commit(3, delta([]), {})
    agree(lake, table, changed(state, new))


def test_what_commits_dropped_is_kept_for_their_changes(lake: IcebergLake) -> None:
    """`changes` of a kept commit reads files that it dropped, though no snapshot that is kept has them."""
    table, state = filled(lake, 3)
    table.commit(4, delta([((1, "only", 1.0), 1)]), {}, replace=True)
    care = table.maintenance()
    maintain(care, replace(AT_ONCE, keep_snapshots=1))
    (change,) = table.changes(3)
    assert weighted_rows(change.rows) == Counter({(1, "only", 1.0): 1, **{row: -n for row, n in state.items()}})


def test_an_expiry_by_another_writer_does_not_stop_ours(lake: IcebergLake) -> None:
    """The commit's own expiry asks for the removal of snapshots that are gone already."""
    table, state = filled(lake, 11, replace(KEYED, properties={"headwater.snapshots.keep": "10"}))
    held = lake.catalog.load_table((NAMESPACE, KEYED.name))
    held.maintenance.expire_snapshots().by_ids([s.snapshot_id for s in held.metadata.snapshots[:5]]).commit()
    new = [((1000, "n", 1.0), 1)]
    table.commit(12, delta(new), {})
    agree(lake, table, changed(state, new))


def test_a_wide_table_with_a_column_added_later(lake: IcebergLake) -> None:
    table, state = filled(lake, 3)
    wider = COLUMNS.append(pa.field("extra", pa.string()))
    table.evolve(wider)
    table.commit(4, delta([((1000, "n", 1.0, "e"), 1)], wider), {})
    keep(table)
    expected = Counter({(*row, None): n for row, n in state.items()} | {(1000, "n", 1.0, "e"): 1})
    assert rows_of(table.read(), wider) == expected
