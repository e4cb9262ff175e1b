"""Reads what an epoch takes in: ranges of the log, by stream, in source order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.change import ChangeBatch, Op
from headwater.engine.trace import At, place
from headwater.errors import UserError
from headwater.log.partition import LogRecord, Partition
from headwater.position import Boundary
from headwater.runtime.state_store import EpochPlan

MOST_BYTES = 64 << 20
"""A slice of an epoch is closed at so many bytes of the log, if no less is asked for."""


@dataclass
class Intake:
    """What one epoch read, or one slice of it: an epoch with a transaction that is larger than memory is taken in
    slices, one after the other, all effects of which still become visible at once.

    Attributes:
        batches: changes by stream, in source order.
        sources: by stream with changes, the source that they are from.
        rejects: records rejected at decode, `REJECT_SCHEMA`.
        commit_times: source commit times in microseconds since 1970 UTC of the changes that have one and are not part
            of a snapshot; what freshness is measured from.
        seen: streams of which the epoch has had changes, up to and with this slice.
        first, last: of the epoch's slices.
    """

    batches: dict[str, list[ChangeBatch]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    rejects: list[pa.RecordBatch] = field(default_factory=list)
    commit_times: list[NDArray[np.int64]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    first: bool = True
    last: bool = True

    def changes(self, stream: str) -> int:
        """Number of changes of a stream."""
        return sum(len(batch) for batch in self.batches.get(stream, ()))

    @property
    def latest_us(self) -> int | None:
        """The latest of the commit times; None if there is none."""
        return max((int(times.max()) for times in self.commit_times if len(times)), default=None)

    def last_place(self, stream: str) -> At:
        """Where the last change of a stream stands; (0, 0) if there is none."""
        batches = [batch for batch in self.batches.get(stream, ()) if len(batch)]
        last = batches[-1].rows.slice(len(batches[-1]) - 1) if batches else None
        if last is None:
            return place(Op.READ, 0, 0, None)
        time = last.column("_time")[0].value
        return place(Op.READ, last.column("_commit")[0].as_py(), last.column("_ordinal")[0].as_py(), time)

    def add(self, source: str, record: LogRecord) -> None:
        """Takes rows of the log in."""
        if record.stream is None:
            self.rejects.append(record.rows)
            return
        batch = ChangeBatch(record.stream, record.rows)
        self.batches.setdefault(record.stream.name, []).append(batch)
        self.sources[record.stream.name] = source
        self.commit_times.append(_commit_times(record.rows))
        self.seen.add(record.stream.name)


@dataclass(frozen=True)
class Slicing:
    """How large a slice of an epoch may be.

    Attributes:
        records: changes and rejects.
        bytes: of their rows in the log.
    """

    records: int
    bytes: int = MOST_BYTES


def take_in(
    plan: EpochPlan,
    partitions: Mapping[str, Partition],
    left_out: Mapping[str, int] | None = None,
    most: Slicing | None = None,
) -> Iterator[Intake]:
    """Reads the ranges of `plan`, in slices of at most the size given: one if there is no more, even if it is empty.

    Args:
        plan: the epoch.
        partitions: the log, by source.
        left_out: by stream, the offset before which its changes are not wanted.
        most: size of a slice; no limit if not given.

    Raises:
        CorruptLog: a record in a range fails its checksum.
    """
    ranges = {source: span for source, span in plan.ranges.items() if source in partitions and span[0] < span[1]}
    intake, records, size = Intake(), 0, 0
    for source, (start, end) in ranges.items():
        for record in partitions[source].read(start, end):
            for piece in _pieces(record, most):
                more = (records + piece.rows.num_rows, size + piece.rows.nbytes)
                if records and most is not None and (more[0] > most.records or more[1] > most.bytes):
                    intake.last = False
                    yield intake
                    partitions[source].release(start, piece.offset)
                    intake, records, size = Intake(seen=set(intake.seen), first=False), 0, 0
                if piece.stream is None or piece.offset >= (left_out or {}).get(piece.stream.name, 0):
                    intake.add(source, piece)
                records, size = records + piece.rows.num_rows, size + piece.rows.nbytes
    yield intake
    if not intake.first:
        for source, (start, end) in ranges.items():
            partitions[source].release(start, end)


def boundaries_after(plan: EpochPlan, partitions: Mapping[str, Partition]) -> dict[str, Boundary]:
    """Where the sources stand at the end of an epoch, by source."""
    ends = {source: end for source, (_, end) in plan.ranges.items() if source in partitions}
    found = {source: boundary_after(partitions[source], end) for source, end in ends.items()}
    return {source: boundary for source, boundary in found.items() if boundary is not None}


def _pieces(record: LogRecord, most: Slicing | None) -> Iterator[LogRecord]:
    """The rows of a record, some at a time if they are too many for a slice; the halves of an update stay together."""
    rows, step, start = record.rows, record.rows.num_rows, 0
    if most is not None:
        step = max(min(step, most.records, step * most.bytes // max(rows.nbytes, 1)), 1)
    while start < rows.num_rows:
        stop = min(start + step, rows.num_rows)
        while record.stream is not None and stop < rows.num_rows and _is_second_half(rows, stop):
            stop += 1
        whole = stop - start == rows.num_rows
        yield record if whole else replace(record, offset=record.offset + start, rows=rows.slice(start, stop - start))
        start = stop


def _is_second_half(rows: pa.RecordBatch, number: int) -> bool:
    """Whether a row and the one before it are the halves of one change."""
    same = all(rows.column(name)[number] == rows.column(name)[number - 1] for name in ("_commit", "_ordinal"))
    return same and rows.column("_weight")[number - 1].as_py() < 0


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
