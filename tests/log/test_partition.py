"""A partition: what goes in comes out, in order, after being opened anew, with one writer and any number of readers."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from log_samples import CLICKS, ORDERS, boundary, describe, expected, flat, group, orders, rejects

from headwater.change import ChangeBatch, Group, log_schema
from headwater.errors import InvariantBroken, StorageFailed, UserError
from headwater.log.partition import Partition, StreamCounts, open_for_reading, verify
from headwater.schema import StreamSchema

GROUPS = [
    group(1, order_rows=3, click_rows=2),
    group(2, order_rows=1, reject_rows=2, filtered={"audit": 4}),
    group(3),
    group(4, click_rows=5),
    group(5, filtered={"audit": 1, "orders": 2}),
]
COUNTS = {
    "orders": StreamCounts(changes=4, rejects=2, filtered=2),
    "clicks": StreamCounts(changes=7),
    "audit": StreamCounts(filtered=5),
}


def test_a_new_partition_is_empty(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path / "a" / "b")
    assert (partition.base, partition.head, partition.boundary, dict(partition.counts)) == (0, 0, None, {})
    assert list(partition.read(0, 0)) == []
    assert partition.close_epoch_at(0, 10) == 0
    assert dict(partition.counts_at(0)) == {}
    with pytest.raises(UserError, match="no group ends at offset 0"):
        partition.boundary_at(0)
    assert partition.append([]) == 0


def test_what_goes_in_comes_out_and_stays(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    assert partition.append(GROUPS[:2]) == 8
    assert partition.append(GROUPS[2:]) == 13
    before = describe(partition)
    assert flat(list(partition.read(0, 13))) == expected(GROUPS)
    assert (partition.boundary, partition.counts) == (boundary(5), COUNTS)
    partition.close()
    again = Partition.open(tmp_path)
    assert describe(again) == before
    assert again.recovered.cut_bytes == 0 and not again.recovered.reason
    assert again.append([group(6, order_rows=1)]) == 14


def test_schemas_come_back_whole(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.append(GROUPS)
    streams = {record.stream.name: record.stream for record in partition.read(0, 13) if record.stream}
    assert streams == {"orders": ORDERS, "clicks": CLICKS}
    assert streams["orders"].columns.equals(ORDERS.columns, check_metadata=True)
    assert {record.rows.schema for record in partition.read(0, 5)} == {log_schema(ORDERS), log_schema(CLICKS)}


def test_a_changed_schema_is_another_schema(tmp_path: Path) -> None:
    wider = StreamSchema("orders", ORDERS.columns.append(pa.field("extra", pa.int32())), ("id",), "full")
    rows = orders(2, 2).rows.append_column("extra", pa.array([7, None], pa.int32()))
    partition = Partition.open(tmp_path)
    partition.append([group(1, order_rows=2), Group(boundary(2), (ChangeBatch(wider, rows),)), group(3, order_rows=1)])
    partition.close()
    again = Partition.open(tmp_path)
    again.append([Group(boundary(4), (ChangeBatch(wider, rows),)), group(5, order_rows=1)])
    assert [record.stream for record in again.read(0, 8)] == [ORDERS, wider, ORDERS, wider, ORDERS]


def test_any_range_can_be_read(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.append(GROUPS)
    whole = expected(GROUPS)
    for start in range(14):
        for end in range(start, 14):
            assert flat(list(partition.read(start, end))) == whole[start:end]
    for start, end in ((-1, 3), (0, 14), (5, 4)):
        with pytest.raises(UserError, match="not in the log"):
            list(partition.read(start, end))


def test_ends_of_groups(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.append(GROUPS)
    assert [partition.boundary_at(offset).position.commit for offset in (5, 8, 13)] == [1, 3, 5]
    assert partition.counts_at(5) == {"orders": StreamCounts(3), "clicks": StreamCounts(2)}
    assert partition.counts_at(13) == COUNTS
    for offset in (1, 4, 12):
        with pytest.raises(UserError, match="no group ends"):
            partition.boundary_at(offset)
    closes = [partition.close_epoch_at(start, records) for start, records in ((0, 1), (0, 7), (0, 8), (5, 100), (8, 1))]
    assert closes == [5, 5, 8, 13, 13]
    assert partition.close_epoch_at(13, 5) == 13


def test_rows_are_read_in_place(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.append([group(1, order_rows=1000)])
    record = next(partition.read(0, 1000))
    before = pa.total_allocated_bytes()
    again = next(partition.read(0, 1000))
    assert pa.total_allocated_bytes() == before
    assert all(buffer.address % 8 == 0 for column in again.rows.columns for buffer in column.buffers() if buffer)
    assert record.rows.column("_op").buffers()[1].address % 64 == 0
    partition.close()
    del partition
    gc.collect()
    assert np.array_equal(record.rows.column("id").to_numpy(), np.arange(1000))


def test_wrong_rows_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.append([group(1, order_rows=1)])
    short = ChangeBatch(ORDERS, orders(2, 1).rows.select(range(7)))
    encoded = StreamSchema("coded", pa.schema([("word", pa.dictionary(pa.int32(), pa.string()))]))
    coded = pa.RecordBatch.from_pylist([], schema=log_schema(encoded))
    for bad in (short, ChangeBatch(encoded, coded)):
        with pytest.raises(InvariantBroken):
            partition.append([group(2, order_rows=1), Group(boundary(2), (bad,))])
    with pytest.raises(InvariantBroken, match="rejects"):
        partition.append([Group(boundary(2), (), rejects(2, 1).select(range(3)))])
    assert partition.append([group(2, order_rows=1)]) == 2


def test_sliced_batches_are_stored_as_they_are_seen(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    rows = orders(1, 10).rows.slice(4, 3)
    partition.append([Group(boundary(1), (ChangeBatch(ORDERS, rows), ChangeBatch(ORDERS, rows.slice(0, 0))))])
    assert [record.rows.to_pylist() for record in partition.read(0, 3)] == [rows.to_pylist()]


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    with pytest.raises(UserError, match=f"written by process {os.getpid()}"):
        Partition.open(tmp_path)
    script = (
        "import sys, pathlib; from headwater.log.partition import Partition; from headwater.errors import UserError\n"
        "try: Partition.open(pathlib.Path(sys.argv[1]))\nexcept UserError as error: sys.exit(str(error))"
    )
    other = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert other.returncode == 1 and f"written by process {os.getpid()}" in other.stderr
    partition.close()
    Partition.open(tmp_path).close()


def test_a_closed_partition_takes_nothing(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.close()
    partition.close()
    with pytest.raises(StorageFailed, match="closed"):
        partition.append([group(1)])


def test_a_reader_in_another_thread_sees_whole_groups_in_order(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path, segment_bytes=20_000)
    total, seen, errors = 300, [], []

    def follow() -> None:
        start = 0
        try:
            while start < 3 * total:
                end = partition.close_epoch_at(start, 50)
                for record in partition.read(start, end):
                    seen.extend(record.rows.column("_commit").to_pylist())
                if end > start:
                    assert partition.boundary_at(end).position.commit == end // 3
                    assert partition.counts_at(end)["orders"].changes == end
                start = end
        except BaseException as error:
            errors.append(error)
            raise

    thread = threading.Thread(target=follow)
    thread.start()
    for commit in range(1, total + 1):
        partition.append([group(commit, order_rows=3)])
    thread.join(60)
    assert not errors and not thread.is_alive()
    assert seen == [commit for commit in range(1, total + 1) for _ in range(3)]
    assert len(partition.segments()) > 3


def test_another_process_reads_what_is_durable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no log"):
        open_for_reading(tmp_path / "none")
    with pytest.raises(UserError, match="there is no log"):
        verify(tmp_path / "none")
    partition = Partition.open(tmp_path, segment_bytes=2000)
    for each in GROUPS:
        partition.append([each])
    last = partition.segments()[-1].path
    with open(last, "ab") as file:
        file.write(b"a group that is just being written")
    view = open_for_reading(tmp_path)
    assert (view.base, view.head, view.counts) == (0, 13, COUNTS)
    assert flat(list(view.read(0, 13))) == expected(GROUPS)
    assert view.boundary_at(13) == boundary(5)
    assert view.counts_at(5) == partition.counts_at(5)
    assert view.segments() == partition.segments()
    assert len(view.segments()) > 1
    assert last.read_bytes().endswith(b"just being written")


def test_a_view_of_a_log_with_a_segment_half_made(tmp_path: Path) -> None:
    partition = Partition.open(tmp_path)
    partition.append(GROUPS)
    (tmp_path / f"{13:020d}.segment").write_bytes(b"HWSEG")
    assert open_for_reading(tmp_path).head == 13
    assert verify(tmp_path).ok
