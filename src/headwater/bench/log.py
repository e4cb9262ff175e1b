"""How fast the log is on this machine: `headwater bench log`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import CHANGE_COLUMNS, ChangeBatch, Group, Op, log_schema
from headwater.clock import Clock, SystemClock
from headwater.log.partition import Partition
from headwater.position import Boundary, Position
from headwater.schema import StreamSchema

ROW_BYTES = 100
STREAM = StreamSchema("bench", pa.schema([pa.field("id", pa.int64()), pa.field("note", pa.string())]))


def benchmark(
    folder: Path, *, rows: int = 2_000_000, batch_rows: int = 10_000, commits: int = 200, clock: Clock | None = None
) -> dict[str, float]:
    """Writes and reads `rows` rows of about 100 bytes in a new partition in `folder`, which should be empty.

    Returns:
        append_rows_per_s, append_mb_per_s: one fsync per `batch_rows` rows; MB of segment file.
        read_rows_per_s, read_mb_per_s: checksums checked, columns not looked at.
        commits_per_s: appends of one group of 10 rows, each with its fsync.
    """
    clock = clock or SystemClock()
    partition = Partition.open(folder, clock=clock)
    try:
        group, small = _group(batch_rows), _group(10)
        append_s = _timed_appends(partition, group, max(rows // batch_rows, 1), clock)
        size, written = sum(info.bytes for info in partition.segments()), partition.head
        started_s = clock.monotonic_s()
        read = sum(record.rows.num_rows for record in partition.read(0, written))
        read_s = clock.monotonic_s() - started_s
        small_s = _timed_appends(partition, small, commits, clock)
    finally:
        partition.close()
    return {
        "append_rows_per_s": written / append_s,
        "append_mb_per_s": size / append_s / 1e6,
        "read_rows_per_s": read / read_s,
        "read_mb_per_s": size / read_s / 1e6,
        "commits_per_s": commits / small_s,
    }


def _timed_appends(partition: Partition, group: Group, times: int, clock: Clock) -> float:
    started_s = clock.monotonic_s()
    for _ in range(times):
        partition.append([group])
    return clock.monotonic_s() - started_s


def _group(rows: int) -> Group:
    """One group of rows of `ROW_BYTES` bytes, change columns included."""
    width = ROW_BYTES - 8 - sum(field.type.bit_width // 8 for field in CHANGE_COLUMNS[:5])
    columns = [
        pa.array(np.full(rows, int(Op.INSERT), np.uint8)),
        pa.array(np.ones(rows, np.int8)),
        pa.array(np.ones(rows, np.uint64)),
        pa.array(np.arange(rows, dtype=np.int64)),
        pa.array(np.zeros(rows, np.int64)).cast(CHANGE_COLUMNS[4].type),
        pa.nulls(rows, pa.binary()),
        pa.array(np.arange(rows, dtype=np.int64)),
        pa.array(["x" * width] * rows),
    ]
    batch = ChangeBatch(STREAM, pa.RecordBatch.from_arrays(columns, schema=log_schema(STREAM)))
    return Group(Boundary(Position(1)), (batch,))
