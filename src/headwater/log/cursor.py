"""Reading across a partition's segments: records by offset, and what is known at the end of each group."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from headwater.change import REJECT_SCHEMA, log_schema
from headwater.errors import UserError
from headwater.log.frame import Kind
from headwater.log.payload import Counts, decode_rows
from headwater.log.segment import Segment, SegmentInfo, describe
from headwater.position import Boundary
from headwater.schema import StreamSchema


@dataclass(frozen=True)
class LogRecord:
    """Consecutive rows of one stream as they lie in the log.

    Attributes:
        offset: log offset of the first row.
        stream: the schema in force for the rows; None if they are rejects.
        rows: a record batch of `headwater.change.log_schema(stream)`, or of `REJECT_SCHEMA`; its buffers lie in the
            mapped file, which stays mapped while the batch lives.
        boundary: boundary of the group that the rows belong to.
    """

    offset: int
    stream: StreamSchema | None
    rows: pa.RecordBatch
    boundary: Boundary


class SegmentChain:
    """The segments of a partition in order, and how far they are durable.

    Readers of any thread take `segments` and `head` as they find them; whoever writes replaces them, `head` last.

    Attributes:
        segments: in order of base offset; never empty.
        head: the next offset to be written.
    """

    def __init__(self, folder: Path, segments: tuple[Segment, ...], head: int) -> None:
        self.folder = folder
        self.segments = segments
        self.head = head
        self._lock = threading.Lock()

    @property
    def base(self) -> int:
        """The first offset that is still kept."""
        return self.segments[0].base

    def add(self, segment: Segment) -> None:
        """Puts a new last segment at the end."""
        with self._lock:
            self.segments = (*self.segments, segment)

    def drop(self, segment: Segment) -> None:
        """Forgets the first segment, which must be `segment`."""
        with self._lock:
            if self.segments[0] is not segment or len(self.segments) == 1:
                raise ValueError(f"{segment.path} is not the oldest of several segments")
            self.segments = self.segments[1:]

    def infos(self) -> list[SegmentInfo]:
        """What `headwater log ls` shows."""
        segments, head = self.segments, self.head
        ends = [*(segment.base for segment in segments[1:]), head]
        return [describe(segment, end) for segment, end in zip(segments, ends, strict=True)]

    def boundary_at(self, offset: int) -> Boundary:
        """Boundary of the last group that ends at `offset`, empty ones included.

        Raises:
            UserError: no group ends there, or it is not kept any more.
        """
        segment, position = self._group_end(offset)
        boundary = segment.header.boundary if position is None else segment.commit_at(position).boundary
        if boundary is None:
            raise self._no_group(offset)
        return boundary

    def counts_at(self, offset: int) -> Counts:
        """Cumulative counts at `offset`, the end of a group.

        Raises:
            UserError: no group ends there, or it is not kept any more.
        """
        segment, position = self._group_end(offset)
        return segment.header.counts if position is None else segment.commit_at(position).counts

    def offset_at(self, time_us: int) -> int:
        """The offset of the first group whose transaction was committed at its source at this time or later; `head` if
        there is none yet. Commit times that go back a little, as clocks do, make it a little inexact.

        Raises:
            UserError: the source has no times.
        """
        segments, head = self.segments, self.head
        number = bisect_left(segments, time_us, lo=1, key=_time_before) - 1
        for segment in segments[number:]:
            index = segment.index
            found = bisect_left(index.commit_positions, time_us, key=partial(_time_at, segment))
            if found < len(index.commit_positions):
                return min(index.commit_heads[found - 1] if found else segment.base, head)
        last = segments[-1]
        known = last.index.commit_positions
        boundary = last.commit_at(known[-1]).boundary if len(known) else last.header.boundary
        if boundary is not None and not boundary.commit_time_us:
            raise UserError("the source of this stream tells no times", hint="seek by offset")
        return head

    def close_epoch_at(self, start: int, max_records: int) -> int:
        """The largest offset at the end of a group after `start` with at most `max_records` records between them, but
        at least one whole group's; `start` if nothing follows it."""
        self._check_range(start, start)
        head = self.head
        limit = min(start + max_records, head)
        if limit == head:
            return head
        end = self._last_end(limit)
        return end if end > start else self._first_end_after(start)

    def read(self, start: int, end: int) -> Iterator[LogRecord]:
        """The rows of offsets [start, end), in order, every checksum checked.

        Raises:
            UserError: the range is not, or no longer, in the log.
            CorruptLog: a frame is damaged; everything yielded before it was whole.
        """
        self._check_range(start, end)
        segments = self.segments
        for number in range(_segment_of(segments, start), len(segments)):
            if segments[number].base >= end:
                return
            yield from _read_segment(segments[number], start, end)

    def release(self, start: int, end: int) -> None:
        """Gives back the memory that reading of [start, end) took; what was read stays valid."""
        segments = self.segments
        for segment in segments[_segment_of(segments, start) :]:
            if segment.base < end:
                segment.release()

    def _check_range(self, start: int, end: int) -> None:
        if not self.base <= start <= end <= self.head:
            kept = f"which keeps {self.base} to {self.head}"
            message = f"offsets {start} to {end} are not in the log in {self.folder}, {kept}"
            raise UserError(message, hint="see what is kept: headwater log ls; older rows are in the lake's tables")

    def _group_end(self, offset: int) -> tuple[Segment, int | None]:
        """The segment in which the last group that ends at `offset` lies and the position of its COMMIT; None for the
        position if the segment's header speaks for it."""
        self._check_range(offset, offset)
        segments = self.segments
        segment = segments[_segment_of(segments, offset)]
        index = segment.index
        found = bisect_right(index.commit_heads, offset) - 1
        if found >= 0 and index.commit_heads[found] == offset:
            return segment, index.commit_positions[found]
        if segment.base != offset:
            raise self._no_group(offset)
        return segment, None

    def _no_group(self, offset: int) -> UserError:
        return UserError(f"no group ends at offset {offset} of the log in {self.folder}", hint="headwater log ls")

    def _last_end(self, limit: int) -> int:
        segments = self.segments
        segment = segments[_segment_of(segments, limit)]
        heads = segment.index.commit_heads
        found = bisect_right(heads, limit)
        return heads[found - 1] if found else segment.base

    def _first_end_after(self, start: int) -> int:
        segments = self.segments
        heads = segments[_segment_of(segments, start)].index.commit_heads
        return heads[bisect_right(heads, start)]


def _time_at(segment: Segment, position: int) -> int:
    """When the transaction was committed whose COMMIT frame is there."""
    return segment.commit_at(position).boundary.commit_time_us


def _time_before(segment: Segment) -> int:
    """When the last transaction before a segment was committed."""
    boundary = segment.header.boundary
    return boundary.commit_time_us if boundary is not None else 0


def _segment_of(segments: tuple[Segment, ...], offset: int) -> int:
    """Number of the segment that holds `offset`, or would be given it next."""
    return max(bisect_right(segments, offset, key=lambda segment: segment.base) - 1, 0)


def _read_segment(segment: Segment, start: int, end: int) -> Iterator[LogRecord]:
    index = segment.index
    first = max(bisect_right(index.row_offsets, start) - 1, 0)
    last = bisect_left(index.row_offsets, end)
    closed, boundary = -1, None
    for number in range(first, last):
        commit = bisect_right(index.commit_heads, index.row_offsets[number])
        if commit != closed or boundary is None:
            closed, boundary = commit, segment.commit_at(index.commit_positions[commit]).boundary
        record = _record(segment, index.row_positions[number], start, end, boundary)
        if record.rows.num_rows:
            yield record


def _record(segment: Segment, position: int, start: int, end: int, boundary: Boundary) -> LogRecord:
    frame, payload = segment.frame(position)
    stream = None if frame.kind is Kind.REJECTS else segment.index.schemas[frame.schema]
    rows = decode_rows(payload, REJECT_SCHEMA if stream is None else log_schema(stream))
    skip = max(start - frame.offset, 0)
    count = min(end - frame.offset, frame.records) - skip
    if skip or count < frame.records:
        rows = rows.slice(skip, max(count, 0))
    return LogRecord(frame.offset + skip, stream, rows, boundary)
