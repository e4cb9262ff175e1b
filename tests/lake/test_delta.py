"""What is Delta's alone: other writers, `txn` actions, checkpoints, deletion vectors, a missing library."""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from lake_model import KEYED, MULTISET, Row, agree, delta, open_any, rows_of, snapshot_epochs, table_folder

from headwater.errors import InvariantBroken, StorageFailed, UserError
from headwater.lake.delta import log as delta_log
from headwater.lake.delta.deletion_vectors import from_bitmap, from_z85, to_bitmap, to_z85
from headwater.lake.moment import Moment
from headwater.lake.table_format import Committed, Lake, TableSpec

A, B, C = (1, "a", 1.0), (2, "b", 2.0), (3, "c", 3.0)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return open_any("delta", tmp_path / "lake")


def append(lake: Lake, name: str, *rows: Row) -> None:
    """As another writer: deltalake."""
    write_deltalake(
        str(table_folder(lake, name)), delta([(row, 1) for row in rows]).drop_columns("_weight"), mode="append"
    )


@pytest.mark.parametrize("spec", [KEYED, MULTISET], ids=lambda spec: spec.name)
def test_rows_of_another_writer_are_kept_and_can_be_retracted(lake: Lake, spec: TableSpec) -> None:
    table = lake.table(spec)
    table.commit(1, delta([(A, 1)]), {"n": "1"})
    append(lake, spec.name, B)
    table.commit(2, delta([(C, 1)]), {"n": "2"})
    agree(lake, table, Counter([A, B, C]))
    assert rows_of(table.read(1)) == Counter([A])
    append(lake, spec.name, (9, "z", None))
    assert table.committed() == Committed(2, {"n": "2"})
    table.commit(3, delta([(B, -1), ((9, "z", None), -1)]), {})
    agree(lake, table, Counter([A, C]))
    DeltaTable(str(table_folder(lake, spec.name))).delete("id = 3")
    table.commit(4, delta([(A, -1)]), {})
    agree(lake, table, Counter())


def test_another_writer_between_parts_and_commit_fails_the_epoch(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    table.stage(2, delta([(B, 1)]))
    append(lake, "orders", C)
    with pytest.raises(StorageFailed, match="another writer"):
        table.commit(2, delta([]), {})
    table.commit(2, delta([(B, 1), (C, -1)]), {})
    agree(lake, table, Counter([A, B]))


def test_the_epoch_is_a_txn_action_of_the_commit_with_the_rows(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(7, delta([(A, 1)]), {"source": "17"})
    assert DeltaTable(str(table_folder(lake, "orders"))).transaction_version("headwater") == 7
    commit = table_folder(lake, "orders") / "_delta_log" / f"{1:020d}.json"
    kinds = [next(iter(json.loads(line))) for line in commit.read_text().splitlines()]
    assert kinds == ["commitInfo", "txn", "add"]
    for opened in (table, lake.table(KEYED)):
        with pytest.raises(InvariantBroken, match="epoch 7"):
            opened.commit(7, delta([(B, 1)]), {})


def test_opening_reads_a_checkpoint_and_no_more_than_what_follows(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta_log, "CHECKPOINT_EVERY", 10)
    table = lake.table(KEYED)
    for epoch in range(1, 26):
        change = [((epoch, "x", None), 1), *([((epoch - 1, "x", None), -1)] if epoch > 1 else [])]
        table.commit(epoch, delta(change), {"n": str(epoch)})
    log = table_folder(lake, "orders") / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2
    for number in range(19):
        (log / f"{number:020d}.json").unlink()
    opened = lake.open_table("orders")
    assert opened.committed() == Committed(25, {"n": "25"})
    agree(lake, opened, Counter([(25, "x", None)]))
    assert snapshot_epochs(lake, "orders")[-1] == 25
    with pytest.raises(UserError, match="no table snapshot of epoch 3"):
        opened.read(3)


def test_a_moment_by_version_and_by_time(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1)]), {})
    table.commit(2, delta([(B, 1)]), {})
    newest, older, _ = table.snapshots()
    assert rows_of(table.dataset(Moment(snapshot=older.snapshot)).to_table()) == Counter([A])
    assert rows_of(table.dataset(Moment(time_us=newest.committed_at_us - 1)).to_table()) == Counter([A])
    assert rows_of(table.dataset(Moment(epoch=2)).to_table()) == Counter([A, B])
    independent = DeltaTable(str(table_folder(lake, "orders")), version=older.snapshot)
    assert rows_of(pa.table(independent.scan().read_all())) == Counter([A])
    with pytest.raises(UserError, match="nothing is kept of ref") as caught:
        table.dataset(Moment(ref="yesterday"))
    assert "Iceberg" in caught.value.hint


def test_a_table_of_another_writer_is_read(lake: Lake) -> None:
    rows = pa.table(
        {"day": ["mon", "tue"], "n": pa.array([1, 2], pa.int16()), "at": [datetime(2026, 1, 1, tzinfo=UTC)] * 2}
    )
    write_deltalake(str(table_folder(lake, "foreign")), rows, partition_by=["day"])
    assert lake.names() == ["foreign"]
    found = lake.open_table("foreign").read().sort_by("n")
    assert found.column("day").to_pylist() == ["mon", "tue"]
    assert found.column("n").to_pylist() == [1, 2]


def test_readers_pass_over_files_by_their_statistics(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    table.commit(2, delta([((100, "far", 5.0), 1), ((101, "far", 5.0), 1)]), {})
    table.commit(3, delta([((101, "far", 5.0), -1)]), {})
    reader = DeltaTable(str(table_folder(lake, "orders")))
    adds = pa.table(reader.get_add_actions(flatten=True)).sort_by("min.id")
    assert adds.column("min.id").to_pylist() == [1, 100]
    assert adds.column("max.id").to_pylist() == [2, 101]
    assert pa.table(reader.scan(predicate="id > 50").read_all()).column("id").to_pylist() == [100]


@given(st.sets(st.integers(0, 2**33), max_size=50))
def test_bitmaps_and_their_text_are_turned_back(positions: set[int]) -> None:
    ascending = np.array(sorted(positions), np.int64)
    assert from_bitmap(to_bitmap(ascending)).tolist() == ascending.tolist()
    data = to_bitmap(ascending)
    padded = data + bytes(-len(data) % 4)
    assert from_z85(to_z85(padded)) == padded


def test_a_damaged_deletion_vector_is_said_so(lake: Lake) -> None:
    table = lake.table(KEYED)
    table.commit(1, delta([(A, 1), (B, 1)]), {})
    table.commit(2, delta([(A, -1)]), {})
    (vector,) = table_folder(lake, "orders").glob("deletion_vector_*.bin")
    content = bytearray(vector.read_bytes())
    content[-6] ^= 1
    vector.write_bytes(bytes(content))
    with pytest.raises(InvariantBroken, match="checksum"):
        lake.open_table("orders")


def test_without_the_library_the_command_that_installs_it_is_given(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deltalake", None)
    with pytest.raises(UserError, match="deltalake") as caught:
        lake.table(KEYED)
    assert caught.value.hint == "pip install 'headwater[delta]'"
