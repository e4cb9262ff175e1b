"""Reads what an epoch takes in: ranges of the log, by stream, in source order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.change import ChangeBatch, Op
from headwater.errors import UserError
from headwater.log.partition import Partition
from headwater.position import Boundary
from headwater.runtime.state_store import EpochPlan


@dataclass
class Intake:
    """What one epoch read.

    Attributes:
        batches: changes by stream, in source order.
        sources: by stream with changes, the source that they are from.
        rejects: records rejected at decode, `REJECT_SCHEMA`.
        boundaries: by source, where it stands at the end of the epoch.
        commit_times: source commit times in microseconds since 1970 UTC of the changes that have one and are not part
            of a snapshot; what freshness is measured from.
    """

    batches: dict[str, list[ChangeBatch]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    rejects: list[pa.RecordBatch] = field(default_factory=list)
    boundaries: dict[str, Boundary] = field(default_factory=dict)
    commit_times: list[NDArray[np.int64]] = field(default_factory=list)

    def changes(self, stream: str) -> int:
        """Number of changes of a stream."""
        return sum(len(batch) for batch in self.batches.get(stream, ()))


def take_in(plan: EpochPlan, partitions: Mapping[str, Partition], left_out: Mapping[str, int] | None = None) -> Intake:
    """Reads the ranges of `plan`.

    Args:
        plan: the epoch.
        partitions: the log, by source.
        left_out: by stream, the offset before which its changes are not wanted.

    Raises:
        CorruptLog: a record in a range fails its checksum.
    """
    intake = Intake()
    for source, (start, end) in plan.ranges.items():
        partition = partitions.get(source)
        if partition is None:  # it is no longer part of the project, nor are its streams
            continue
        for record in partition.read(start, end):
            if record.stream is None:
                intake.rejects.append(record.rows)
            elif record.offset >= (left_out or {}).get(record.stream.name, 0):
                batch = ChangeBatch(record.stream, record.rows)
                intake.batches.setdefault(record.stream.name, []).append(batch)
                intake.sources[record.stream.name] = source
                intake.commit_times.append(_commit_times(record.rows))
        boundary = boundary_after(partition, end)
        if boundary is not None:
            intake.boundaries[source] = boundary
    return intake


def boundary_after(partition: Partition, offset: int) -> Boundary | None:
    """Where a source stands at a log offset; None at offset 0 if its first group had records, for then that offset is
    the end of none, however long the log has become since."""
    try:
        return partition.boundary_at(offset)
    except UserError:
        if offset:
            raise
        return None


def _commit_times(rows: pa.RecordBatch) -> NDArray[np.int64]:
    times = rows.column("_time")
    streamed = rows.column("_op").to_numpy() != Op.READ
    known = times.is_valid().to_numpy(zero_copy_only=False)
    return np.asarray(times.cast(pa.int64()).fill_null(0).to_numpy()[streamed & known], dtype=np.int64)
