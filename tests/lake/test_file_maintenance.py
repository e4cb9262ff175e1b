"""Maintenance of Delta tables and Parquet datasets: smaller, and never another row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from lake_model import KEYED, Delta, agree, delta, open_any, rows_of, table_folder

from headwater.lake.files.table import FileTable
from headwater.lake.maintenance import Maintained, Policy
from headwater.lake.table_format import Lake

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", 3.0)
EAGER = Policy(fanout=3, keep_snapshots=2, keep_snapshots_s=1e9, orphan_age_s=0, reader_grace_s=0)


@pytest.fixture(params=["delta", "parquet"])
def lake(tmp_path: Path, request: pytest.FixtureRequest) -> Lake:
    return open_any(request.param, tmp_path / "lake")


def filled(lake: Lake) -> tuple[FileTable, Counter[tuple[object, ...]]]:
    """A table of many commits, of which some take rows back."""
    table = lake.table(KEYED)
    assert isinstance(table, FileTable) and isinstance(table, Maintained)
    for epoch in range(1, 13):
        change: Delta = [((epoch * 10 + number, "n", float(epoch)), 1) for number in range(4)]
        if epoch % 2 == 0:
            change.append((((epoch - 1) * 10, "n", float(epoch - 1)), -1))
        table.commit(epoch, delta(change), {"n": str(epoch)})
    return table, rows_of(table.read())


def test_small_files_become_one_and_the_index_follows(lake: Lake) -> None:
    table, rows = filled(lake)
    kept = table.maintenance()
    while tasks := kept.plan(EAGER, ["compact", "deletes"]):
        assert all(kept.carry_out(task, EAGER).done for task in tasks[:1])
    assert kept.health().files < 3
    assert kept.health().deleted_rows == 0
    agree(lake, table, rows)
    committed = table.committed()
    assert committed is not None and (committed.epoch, committed.properties) == (12, {"n": "12"})
    assert table.snapshots()[0].maintenance
    assert [change.epoch for change in table.changes(10)] == [11, 12]
    assert rows_of(table.read(3)) == Counter(dict.fromkeys(rows_of(table.read(3)), 1))
    gone = next(iter(rows))
    table.commit(13, delta([(gone, -1), ((gone[0], "again", None), 1)]), {})
    agree(lake, table, rows - Counter([gone]) + Counter([(gone[0], "again", None)]))


def test_rows_deleted_while_files_are_rewritten_stay_deleted(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    table, rows = filled(lake)
    gone = [(40 + number, "n", 4.0) for number in range(1, 3)]
    names = sorted(table.log.load().files)
    swap = table._swap

    def meanwhile(new, version):  # type: ignore[no-untyped-def]
        table.commit(13, delta([(row, -1) for row in gone]), {})
        return swap(new, version)

    monkeypatch.setattr(table, "_swap", meanwhile)
    outcome = table.rewrite(names)
    monkeypatch.undo()
    assert outcome.done == table.log.vectors
    agree(lake, table, rows - Counter(gone))
    table.commit(14, delta([((45, "back", None), 1)]), {})
    agree(lake, table, rows - Counter(gone) + Counter([(45, "back", None)]))


def test_old_versions_and_what_crashes_left_go_and_nothing_else(lake: Lake) -> None:
    table, rows = filled(lake)
    folder = table_folder(lake, "orders")
    left = table.log.new_path()
    left.write_bytes(b"half written")
    table.commit(13, delta([(row, 1) for row in rows]), {}, replace=True)
    table.stage(14, delta([(A, 1)]))
    kept = table.maintenance()
    (expire,) = kept.plan(EAGER, ["expire"])
    assert kept.carry_out(expire, EAGER).done
    assert len(table.snapshots()) <= 3
    assert left.exists()
    assert rows_of(table.read(12)) == rows, "what is kept can be read"
    table.commit(14, delta([(B, 1)]), {})
    agree(lake, table, rows + Counter([A, B]))
    (orphans,) = kept.plan(EAGER, ["orphans"])
    assert kept.carry_out(orphans, EAGER).done
    assert not left.exists()
    agree(lake, table, rows + Counter([A, B]))
    again = lake.table(KEYED)
    again.commit(15, delta([(C, 1), (A, -1)]), {})
    agree(lake, again, rows + Counter([B, C]))
    assert folder.exists()
