"""Writing: groups to frames, frames to the last segment, one fsync for all of them, and rolling to a new segment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.change import Group
from headwater.clock import Clock
from headwater.durable import fsync_data, fsync_path
from headwater.durations import Durations
from headwater.failpoint import reach
from headwater.log.cursor import SegmentChain
from headwater.log.frame import HEADER_BYTES, Bytes, Frame, Kind, crc_of, pack, padded
from headwater.log.mark import MarkFile
from headwater.log.payload import Commit, Counts, advance, encode_commit, encode_rows, encode_stream
from headwater.log.segment import Segment, SegmentHeader, SegmentIndex, decode_header, segment_path
from headwater.position import Boundary
from headwater.schema import StreamSchema

PENDING_BYTES = 16 << 20
FLUSH_BYTES = 64 << 20
"""So much of a transaction in parts is asked onto the disk at once, so that its end need not wait for all of it."""
_MOST_RECORDS = (1 << 32) - 1
MARK_SYNC_S = 1.0
_PARTS_AT_ONCE = 512


@dataclass(frozen=True)
class State:
    """Where the log stands after a group.

    Attributes:
        head: the next offset to be written.
        boundary: of the last group; None before the first.
        counts: cumulative counts.
    """

    head: int
    boundary: Boundary | None
    counts: Counts


@dataclass(frozen=True)
class _Unfinished:
    """A group of which some parts have come.

    Attributes:
        head: the offset after them.
        filtered: theirs, by stream.
        counts: cumulative counts with them.
    """

    head: int
    filtered: dict[str, int]
    counts: Counts

    def with_part(self, part: Group) -> _Unfinished:
        """The group with one more part."""
        filtered = dict(self.filtered)
        for stream, count in part.filtered.items():
            filtered[stream] = filtered.get(stream, 0) + count
        return _Unfinished(self.head + len(part), filtered, advance(self.counts, part))


def create_segment(folder: Path, header: SegmentHeader) -> Segment:
    """Makes a segment that holds nothing yet, durably.

    Raises:
        OSError: a write or fsync failed; the file may be there in part, which opening the partition mends.
    """
    reach("log.roll.before")
    path, encoded = segment_path(folder, header.base), header.encode()
    with open(path, "xb", buffering=0) as file:
        write_all(file.fileno(), [encoded], 0)
        os.fsync(file.fileno())
    reach("log.roll.after_create")
    fsync_path(folder)
    reach("log.roll.after_directory_fsync")
    whole = decode_header(memoryview(encoded)) or header
    return Segment(path, whole, whole.length, SegmentIndex())


def write_all(descriptor: int, parts: Sequence[Bytes], position: int) -> int:
    """Writes the parts one after the other at `position`, going on after short writes; returns where they end.

    Raises:
        OSError: the kernel refused; some bytes may have been written.
    """
    waiting = [memoryview(part).cast("B") for part in parts if len(part)]
    while waiting:
        written = os.pwritev(descriptor, waiting[:_PARTS_AT_ONCE], position)
        position += written
        done = 0
        while done < len(waiting) and written >= len(waiting[done]):
            written -= len(waiting[done])
            done += 1
        waiting = waiting[done:]
        if written:
            waiting[0] = waiting[0][written:]
    return position


class SegmentWriter:
    """The end of one segment: frames are staged, written at known positions, and become visible once fsynced.

    Args:
        segment: the last segment; its `length` is where the next frame goes.
        crc: CRC of its last frame, or of its header.
    """

    def __init__(self, segment: Segment, crc: int) -> None:
        self.segment = segment
        self.crc = crc
        self.end = segment.length
        self._descriptor = os.open(segment.path, os.O_RDWR)
        self._written = self._flushed = segment.length
        self._durable = (segment.length, crc)
        self._parts: list[Bytes] = []
        self._staged: list[tuple[Frame, StreamSchema | None]] = []
        self._number_streams()

    def _number_streams(self) -> None:
        streams = self.segment.index.schemas
        self._numbers = {encode_stream(stream): number for number, stream in streams.items()}
        self._next_number = max(streams, default=0) + 1

    def stage_rows(self, kind: Kind, rows: tuple[int, list[Bytes]], schema: int, records: int, offset: int) -> None:
        """Stages a BATCH or REJECTS frame; `rows` as `encode_rows` returns them: memory that must not change before
        `sync` or `flush`."""
        lead, message = rows
        self._stage(kind, [bytes(lead), *message], offset, lead=lead, schema=schema, records=records)

    def stage_commit(self, commit: Commit, records: int, head: int) -> None:
        """Stages the COMMIT frame that closes a group of `records` records before offset `head`."""
        self._stage(Kind.COMMIT, [encode_commit(commit)], head, records=min(records, _MOST_RECORDS))

    def number_of(self, stream: StreamSchema, offset: int) -> int:
        """The number of the stream's schema in this segment; stages a SCHEMA frame if it is new here."""
        encoded = encode_stream(stream)
        number = self._numbers.get(encoded)
        if number is None:
            number = self._numbers[encoded] = self._next_number
            self._next_number += 1
            self._stage(Kind.SCHEMA, [encoded], offset, schema=number, stream=stream)
        return number

    def _stage(
        self, kind: Kind, payload: list[Bytes], offset: int, *,
        lead: int = 0, schema: int = 0, records: int = 0, stream: StreamSchema | None = None,
    ) -> None:  # fmt: skip
        length = sum(len(part) for part in payload)
        payload.append(bytes(padded(length) - length))
        seed = self.segment.header.crc
        frame = Frame(kind, lead, schema, records, offset, self.end, length, self.segment.length,
                      self.crc, crc_of(payload, seed), 0)  # fmt: skip
        head, self.crc = pack(frame, seed)
        self._parts += [head, *payload]
        self._staged.append((frame, stream))
        self.end += HEADER_BYTES + padded(length)
        if self.end - self._written >= PENDING_BYTES:
            self._write()

    def _write(self) -> None:
        parts, self._parts = self._parts, []
        self._written = write_all(self._descriptor, parts, self._written)

    def sync(self) -> None:
        """Makes all that is staged durable.

        Raises:
            OSError: it is not; `cut` the file.
        """
        self._write()
        reach("log.append.after_write")
        fsync_data(self._descriptor)
        self._durable, self._flushed = (self.end, self.crc), self.end

    def flush(self) -> None:
        """Writes what is staged, and asks it onto the disk if it is much; nothing of it counts as durable before
        `sync`.

        Raises:
            OSError: it could not be written; `cut` the file.
        """
        self._write()
        if self.end - self._flushed >= FLUSH_BYTES:
            fsync_data(self._descriptor)
            self._flushed = self.end

    def publish(self) -> None:
        """Lets readers find what is now durable."""
        for frame, stream in self._staged:
            self.segment.index.add(frame, stream)
        self._staged = []
        self.segment.length = self.end

    def cut(self) -> None:
        """Cuts the file back to what is durable; pages whose fsync failed go with it."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._durable[0])

    def rewind(self) -> None:
        """Goes back to what is durable, as if nothing had been staged since.

        Raises:
            OSError: the file could not be cut.
        """
        os.ftruncate(self._descriptor, self._durable[0])
        self.end, self.crc = self._durable
        self._written = self._flushed = self.end
        self._parts, self._staged = [], []
        self._number_streams()

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._descriptor)


class LogWriter:
    """Appends groups to a chain of segments.

    Args:
        chain: the segments; `head` and new segments are published to it.
        crc: CRC of the last segment's last frame, or of its header.
        mark: the durable mark's file.
        state: where the log stands.
        segment_bytes: a segment at least this long is closed at the next end of a group.

    Attributes:
        fsyncs: seconds that each write with its fsync took.
    """

    def __init__(self, chain: SegmentChain, crc: int, mark: MarkFile, state: State,
                 segment_bytes: int, clock: Clock) -> None:  # fmt: skip
        self.state = state
        self._chain = chain
        self._mark = mark
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._segment = SegmentWriter(chain.segments[-1], crc)
        self._staged = state
        self._unfinished: _Unfinished | None = None
        self._mark_synced_s = clock.monotonic_s()
        self.fsyncs = Durations()

    @property
    def unfinished(self) -> bool:
        """Whether a group that comes in parts has not come to its end."""
        return self._unfinished is not None

    def stage(self, group: Group) -> None:
        """Stages one group, or one part of one, rolling to a new segment before it if the last one is full.

        What was staged before the first part of a group is made durable first, so that no group waits for a later one.

        Raises:
            OSError: rolling, or writing ahead, failed.
        """
        if self._unfinished is None:
            if group.more and self._staged is not self.state:
                self.commit()
            if self._segment.end >= self._segment_bytes and self._staged.head > self._segment.segment.base:
                self.commit()
                self._roll()
        before = self._unfinished or _Unfinished(self._staged.head, {}, self._staged.counts)
        self._stage_rows(group, before.head)
        after = before.with_part(group)
        if group.more:
            self._unfinished = after
            self._segment.flush()
            return
        commit = Commit(group.boundary, after.filtered, after.counts)
        self._segment.stage_commit(commit, after.head - self._staged.head, after.head)
        self._unfinished, self._staged = None, State(after.head, group.boundary, after.counts)

    def _stage_rows(self, group: Group, offset: int) -> None:
        for batch in group.batches:
            if len(batch):
                number = self._segment.number_of(batch.stream, offset)
                self._segment.stage_rows(Kind.BATCH, encode_rows(batch.rows), number, len(batch), offset)
                offset += len(batch)
        if group.rejects is not None and group.rejects.num_rows:
            self._segment.stage_rows(Kind.REJECTS, encode_rows(group.rejects), 0, group.rejects.num_rows, offset)

    def commit(self) -> None:
        """Makes the staged groups, which are whole, durable with one fsync and lets readers see them.

        Raises:
            OSError: they may not be durable; the partition must be opened anew.
        """
        began_s = self._clock.monotonic_s()
        self._segment.sync()
        self.fsyncs.add(self._clock.monotonic_s() - began_s)
        reach("log.append.after_fsync")
        self._write_mark()
        self._segment.publish()
        self.state = self._staged
        self._chain.head = self.state.head

    def _write_mark(self) -> None:
        segment = self._segment
        self._mark.write(segment.segment.base, segment.end, self._staged.head, segment.crc)
        now_s = self._clock.monotonic_s()
        if now_s - self._mark_synced_s >= MARK_SYNC_S:
            self._mark.sync()
            self._mark_synced_s = now_s

    def _roll(self) -> None:
        full = self._segment
        header = SegmentHeader(self.state.head, self._clock.now_us(), full.segment.base, full.end, full.crc,
                               self.state.boundary, self.state.counts)  # fmt: skip
        segment = create_segment(self._chain.folder, header)
        self._mark.write(segment.base, segment.length, segment.base, segment.header.crc)
        self._mark.sync()
        self._segment = SegmentWriter(segment, segment.header.crc)
        full.close()
        self._chain.add(segment)

    def forget_parts(self) -> None:
        """Cuts off the parts of a group that did not come to its end.

        Raises:
            OSError: the file could not be cut.
        """
        if self._unfinished is not None:
            reach("log.forget_parts.before")
            self._unfinished = None
            self._segment.rewind()
            reach("log.forget_parts.after")

    def abandon(self) -> None:
        """After an error: cuts off what was written and not made durable."""
        self._segment.cut()

    def close(self) -> None:
        """Lets go of the files."""
        self._segment.close()
