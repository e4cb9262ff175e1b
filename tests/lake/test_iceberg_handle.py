"""The outcome of a commit is landed, refused or unknown, and the table is right after each."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from lake_model import COLUMNS, KEYED, MULTISET, agree, delta, live_paths, open_lake, rows_of, snapshot_epochs
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException

from headwater import failpoint
from headwater.errors import CommitUnknown, InvariantBroken, StorageFailed, UserError
from headwater.lake.iceberg import IcebergLake
from headwater.lake.table_format import Committed, TableSpec

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", 3.0)
LOST = [ConnectionResetError("reset"), CommitStateUnknownException("504"), CommitFailedException("retried inside")]


def arm(monkeypatch: pytest.MonkeyPatch, armed: str) -> None:
    monkeypatch.setattr(failpoint, "_passings", {})
    monkeypatch.setattr(failpoint, "_ARMED", armed)


def files_under(lake: IcebergLake) -> set[Path]:
    return {path for path in lake.warehouse.rglob("*") if path.is_file() and path.suffix != ".db"}


@pytest.mark.parametrize("lost", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=lambda spec: spec.name)
def test_a_lost_answer_is_asked_for(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch, spec: TableSpec, lost: Exception
) -> None:
    table = lake.table(spec)
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    applied = lake.catalog.commit_table

    def apply_and_lose(*arguments: object) -> None:
        applied(*arguments)
        raise lost

    with monkeypatch.context() as patch:
        patch.setattr(lake.catalog, "commit_table", apply_and_lose)
        table.commit(2, delta([(A, -1), (C, 1)]), {})
    table.commit(3, delta([(C, -1)]), {})
    assert snapshot_epochs(lake, spec.name) == [1, 2, 3]
    agree(lake, table, Counter([B]))


@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=lambda spec: spec.name)
def test_another_engine_commits_before_a_lost_answer_is_asked_for(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch, spec: TableSpec
) -> None:
    table = lake.table(spec)
    table.commit(1, delta([(A, 1)]), {})
    table.commit(2, delta([(A, -1), (C, 1)]), {})
    applied = lake.catalog.commit_table

    def overtaken(*arguments: object) -> None:
        applied(*arguments)
        monkeypatch.undo()
        lake.catalog.load_table(("shop", spec.name)).append(delta([(B, 1)]).drop_columns("_weight"))
        raise ConnectionResetError("reset")

    monkeypatch.setattr(lake.catalog, "commit_table", overtaken)
    table.commit(3, delta([(C, -1), (A, 1)]), {})
    agree(lake, table, Counter([A, B]))
    table.commit(4, delta([(A, -1), (B, -1), (C, 1)]), {})
    agree(lake, table, Counter([C]))


@pytest.mark.parametrize("seen", [True, False])
def test_no_answer_at_all_is_unknown_and_deletes_nothing(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    applied = lake.catalog.commit_table

    def maybe_apply(*arguments: object) -> None:
        if seen:
            applied(*arguments)
        raise ConnectionResetError("reset")

    def unreachable(*_: object) -> None:
        raise ConnectionRefusedError("refused")

    with monkeypatch.context() as patch:
        patch.setattr(lake.catalog, "commit_table", maybe_apply)
        patch.setattr(lake.catalog, "load_table", unreachable if not seen else _after(lake, 1, unreachable))
        with pytest.raises(CommitUnknown):
            table.commit(2, delta([(A, -1), (B, 1)]), {})
    committed = table.committed()
    assert committed is not None and committed.epoch == (2 if seen else 1)
    agree(lake, table, Counter([B] if seen else [A]))
    if not seen:
        table.commit(2, delta([(A, -1), (B, 1)]), {})
    table.commit(3, delta([(C, 1)]), {})
    agree(lake, table, Counter([B, C]))
    assert snapshot_epochs(lake, "orders") == [1, 2, 3]


def _after(lake: IcebergLake, times: int, then: Callable[..., None]) -> Callable[..., object]:
    """`load_table` that works `times` times (SqlCatalog.commit_table calls it too), then does `then`."""
    load, calls = lake.catalog.load_table, iter(range(times))

    def limited(*arguments: object) -> object:
        return then(*arguments) if next(calls, None) is None else load(*arguments)

    return limited


@pytest.mark.parametrize("place", ["before_data_file", "after_data_file", "before_catalog"])
@pytest.mark.parametrize("action", ["enospc", "eio"])
@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=lambda spec: spec.name)
def test_a_full_disk_leaves_table_index_and_folder_as_they_were(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch, spec: TableSpec, place: str, action: str
) -> None:
    table = lake.table(spec)
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    table.commit(2, delta([(B, -1)]), {})
    before = files_under(lake)
    with monkeypatch.context() as patch:
        arm(patch, f"lake.commit.{place}:1:{action}")
        for _ in range(2):
            with pytest.raises(StorageFailed, match=spec.name):
                table.commit(3, delta([(A, -1), (C, 1)]), {})
    assert files_under(lake) == before
    agree(lake, table, Counter([A]))
    table.commit(3, delta([(A, -1), (C, 1)]), {})
    table.commit(4, delta([(C, -1), (A, 1)]), {})
    agree(lake, table, Counter([A]))
    assert snapshot_epochs(lake, spec.name) == [1, 2, 3, 4]


def test_an_error_after_the_catalog_has_committed_is_no_error(
    lake: IcebergLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = lake.table(KEYED)
    with monkeypatch.context() as patch:
        arm(patch, "lake.commit.after_catalog:1:eio")
        table.commit(1, delta([(A, 1)]), {})
    table.commit(2, delta([(A, -1), (B, 1)]), {})
    agree(lake, table, Counter([B]))


def test_a_catalog_that_cannot_write_refuses(lake: IcebergLake, monkeypatch: pytest.MonkeyPatch) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    with lake.catalog.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StorageFailed, match="readonly"):
        table.commit(2, delta([(A, -1)]), {})
    with lake.catalog.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=OFF")
    table.commit(2, delta([(A, -1), (C, 1)]), {})
    agree(lake, table, Counter([C]))


@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=lambda spec: spec.name)
def test_rows_of_another_engine_are_kept_and_can_be_retracted(
    lake: IcebergLake, tmp_path: Path, spec: TableSpec
) -> None:
    table = lake.table(spec)
    table.commit(1, delta([(A, 1)]), {"n": "1"})
    other = open_lake(tmp_path / "lake")
    other.catalog.load_table(("shop", spec.name)).append(delta([(B, 1)]).drop_columns("_weight"))
    table.commit(2, delta([(C, 1)]), {"n": "2"})
    agree(lake, table, Counter([A, B, C]))
    assert rows_of(table.read(1)) == Counter([A])
    other.catalog.load_table(("shop", spec.name)).append(delta([((9, "z", None), 1)]).drop_columns("_weight"))
    committed = table.committed()
    assert committed is not None and (committed.epoch, committed.properties) == (2, {"n": "2"})
    table.commit(3, delta([(B, -1), ((9, "z", None), -1)]), {})
    agree(lake, table, Counter([A, C]))
    other.close()


def test_rows_of_another_engine_are_seen_after_evolving(lake: IcebergLake, tmp_path: Path) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    other = open_lake(tmp_path / "lake")
    other.catalog.load_table(("shop", "orders")).append(delta([(B, 1)]).drop_columns("_weight"))
    table.evolve(COLUMNS.append(pa.field("more", pa.string())))
    change = delta([(B, -1)]).add_column(3, "more", pa.array([None], pa.string()))
    table.commit(2, change, {})
    assert table.read().column("id").to_pylist() == [1]
    other.close()


def test_a_damaged_file_is_said_so(lake: IcebergLake) -> None:
    lake.table(KEYED).commit(1, delta([(A, 1)]), {})
    Path(live_paths(lake, "orders")[0][0]).write_bytes(b"not parquet")
    with pytest.raises(StorageFailed, match="orders"):
        lake.table(KEYED).commit(2, delta([(B, 1)]), {})
    with pytest.raises(StorageFailed, match="orders"):
        lake.open_table("orders").read()


def test_the_epoch_survives_another_engine_expiring_our_snapshots(lake: IcebergLake, tmp_path: Path) -> None:
    table = lake.table(MULTISET)
    table.commit(7, delta([(A, 1)]), {"n": "7"})
    other = open_lake(tmp_path / "lake")
    foreign = other.catalog.load_table(("shop", "events"))
    foreign.append(delta([(B, 1)]).drop_columns("_weight"))
    ours = [snapshot for snapshot in foreign.metadata.snapshots if snapshot.summary["headwater.epoch"]]
    foreign.maintenance.expire_snapshots().by_ids([snapshot.snapshot_id for snapshot in ours]).commit()
    other.close()
    for opened in (table, lake.table(MULTISET)):
        assert opened.committed() == Committed(7, {"n": "7"})
        with pytest.raises(InvariantBroken, match="epoch 7"):
            opened.commit(7, delta([(A, 1)]), {})
    table.commit(8, delta([(C, 1)]), {})
    agree(lake, table, Counter([A, B, C]))


def test_a_table_dropped_under_a_writer(lake: IcebergLake, tmp_path: Path) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    other = open_lake(tmp_path / "lake")
    other.drop("orders")
    other.close()
    with pytest.raises((StorageFailed, CommitUnknown), match="orders"):
        table.commit(2, delta([(B, 1)]), {})
    with pytest.raises(UserError, match="dropped"):
        table.committed()


def test_two_headwaters_do_not_write_one_table(lake: IcebergLake, tmp_path: Path) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    other = open_lake(tmp_path / "lake")
    other.table(KEYED).commit(2, delta([(B, 1)]), {})
    with pytest.raises(InvariantBroken, match="another Headwater"):
        table.commit(3, delta([(C, 1)]), {})
    agree(lake, table, Counter([A, B]))
    other.close()


def test_a_catalog_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StorageFailed, match="opening the catalog"):
        open_lake(tmp_path)


def test_settings_of_the_catalog(lake: IcebergLake) -> None:
    with lake.catalog.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    with sqlite3.connect(lake.warehouse / "catalog.db") as independent:
        assert independent.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_another_writer_between_parts_and_commit_fails_the_epoch(lake: IcebergLake, tmp_path: Path) -> None:
    table = lake.table(MULTISET)
    table.commit(1, delta([(A, 1)]), {})
    table.stage(2, delta([(B, 1)]))
    foreign = lake.catalog.load_table(("shop", "events"))
    foreign.append(pa.table({"id": [9], "name": ["x"], "amount": [1.0]}))
    with pytest.raises(StorageFailed, match="another writer"):
        table.commit(2, delta([(C, 1)]), {})
    assert len(live_paths(lake, "events")[0]) == len(list(tmp_path.rglob("data/*.parquet"))) == 2
    again = lake.table(MULTISET)
    again.stage(2, delta([(B, 1)]))
    again.commit(2, delta([(C, 1)]), {})
    agree(lake, again, Counter([A, B, C, (9, "x", 1.0)]))


def test_a_part_that_retracts_what_another_writer_has_just_added(lake: IcebergLake) -> None:
    table = lake.table(MULTISET)
    table.commit(1, delta([(A, 1)]), {})
    table.commit(2, delta([(A, -1), (B, 1)]), {})  # an index is in memory
    foreign, row = lake.catalog.load_table(("shop", "events")), (9, "x", 1.0)
    foreign.append(pa.table({"id": [9], "name": ["x"], "amount": [1.0]}))
    table.stage(3, delta([(row, -1)]))
    foreign.refresh().append(pa.table({"id": [9], "name": ["x"], "amount": [1.0]}))
    with pytest.raises(StorageFailed, match="another writer"):
        table.stage(3, delta([(row, -1)]))
    again = lake.table(MULTISET)
    again.stage(3, delta([(row, -1)]))
    again.commit(3, delta([(row, -1), (C, 1)]), {})
    agree(lake, again, Counter([B, C]))
