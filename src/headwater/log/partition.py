"""A partition: the durable, ordered log of one source. The front of this room.

Groups of whole transactions, several streams interleaved, so a transaction over several tables is whole in the log or
not in it at all. One process writes, found out by a lock; its threads and other processes read along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from headwater.change import Group
from headwater.clock import Clock, SystemClock
from headwater.durable import make_folder
from headwater.durations import Durations
from headwater.errors import StorageFailed
from headwater.failpoint import reach
from headwater.log.cursor import LogRecord, SegmentChain
from headwater.log.directory import WriterLock, storage_failed
from headwater.log.mark import MarkFile, read_mark
from headwater.log.payload import Counts, StreamCounts, check_group
from headwater.log.recovery import Recovery, read_headers, recover, remove_torn_roll
from headwater.log.retention import retire
from headwater.log.scan import Scan
from headwater.log.segment import Segment, SegmentHeader, SegmentInfo, sealed, segment_paths
from headwater.log.verification import VerifyReport, verify
from headwater.log.view import PartitionView, open_for_reading
from headwater.log.writer import LogWriter, State, create_segment
from headwater.position import Boundary

__all__ = ["LogRecord", "Partition", "PartitionView", "Recovery", "SegmentInfo", "StreamCounts", "VerifyReport",
           "open_for_reading", "verify"]  # fmt: skip

SEGMENT_BYTES = 64 << 20


class Partition:
    """The log of one source, open for writing by one thread and for reading by any of this process.

    Attributes:
        recovered: what opening did.
    """

    def __init__(self, folder: Path, lock: WriterLock, mark: MarkFile, recovered: Recovery,
                 chain: SegmentChain, writer: LogWriter, clock: Clock) -> None:  # fmt: skip
        self.folder = folder
        self.recovered = recovered
        self._lock: WriterLock | None = lock
        self._mark = mark
        self._chain = chain
        self._writer = writer
        self._clock = clock
        self._refusal = ""

    @classmethod
    def open(cls, folder: Path, *, segment_bytes: int = SEGMENT_BYTES, clock: Clock | None = None) -> Partition:
        """Opens the partition in `folder`, making it if there is none, and mends what a crash left unfinished.

        Args:
            segment_bytes: a segment at least this long is closed at the next end of a group.

        Raises:
            UserError: somebody else is writing to it.
            CorruptLog: durable bytes are damaged or missing.
            StorageFailed: reading or writing failed.
        """
        try:
            make_folder(folder)
            lock = WriterLock(folder)
        except OSError as error:
            raise storage_failed(folder, error) from error
        with _released_on_error(lock):
            try:
                return cls._open(folder, lock, segment_bytes, clock or SystemClock())
            except OSError as error:
                raise storage_failed(folder, error) from error

    @classmethod
    def _open(cls, folder: Path, lock: WriterLock, segment_bytes: int, clock: Clock) -> Partition:
        last, mark_damaged = read_mark(folder)
        roll = remove_torn_roll(folder, last)
        headers = read_headers(folder, segment_paths(folder), last)
        if headers:
            found, tail = recover(*headers[-1], last)
            chain, crc, state = _load(folder, headers, found)
            mark = MarkFile(folder, last)
            recovered = _told(tail if tail.reason else roll, last is None, mark_damaged)
        else:
            mark = MarkFile(folder, last)
            chain, crc, state = _create(folder, mark, clock)
            recovered = roll
        for _ in range(2):  # both slots: one may have been damaged
            mark.write(chain.segments[-1].base, chain.segments[-1].length, state.head, crc)
            mark.sync()
        writer = LogWriter(chain, crc, mark, state, segment_bytes, clock)
        return cls(folder, lock, mark, recovered, chain, writer, clock)

    @property
    def base(self) -> int:
        """The first offset that is still kept."""
        return self._chain.base

    @property
    def head(self) -> int:
        """The next offset to be written; offsets count records (changes and rejects), densely, from 0."""
        return self._chain.head

    @property
    def boundary(self) -> Boundary | None:
        """Boundary of the last durable group, empty ones included; None before the first."""
        return self._writer.state.boundary

    @property
    def counts(self) -> Counts:
        """Cumulative counts by stream at `head`."""
        return self._writer.state.counts

    def measure(self, fsyncs: Durations) -> None:
        """Has the time of every further write and fsync added to `fsyncs`."""
        self._writer.fsyncs = fsyncs

    def append(self, groups: Sequence[Group]) -> int:
        """Makes the groups durable, all with one fsync, and returns the new head.

        A group that passes the segment size closes the segment after itself (then one fsync per segment). Parts of a
        group (`Group.more`) are written and wait: nobody sees them, and nothing says that they are durable, before the
        append that brings the last of them. Then the group is there as if it had come at once.

        Raises:
            InvariantBroken: a group's rows are not of its stream's schema; nothing was written.
            StorageFailed: a write or fsync failed. Nothing of these groups may be acknowledged, and the partition
                refuses further appends until it is opened anew. The fsync is not tried again: it would lie.
        """
        for group in groups:
            check_group(group)
        if not groups:
            return self.head
        with self._storing():
            reach("log.append.before")
            for group in groups:
                self._writer.stage(group)
            if self._writer.unfinished:
                reach("log.append.after_part")
            else:
                self._writer.commit()
        return self.head

    @property
    def unfinished(self) -> bool:
        """Whether a group that comes in parts has not come to its end."""
        return self._writer.unfinished

    def forget_parts(self) -> None:
        """Cuts off the parts of a group that will not come to its end: the reading of it failed, and the next begins
        again at its first part. Does nothing if there are none.

        Raises:
            StorageFailed: the file could not be cut; open the partition anew, which does it.
        """
        if self._writer.unfinished:
            with self._storing():
                self._writer.forget_parts()

    def close_epoch_at(self, start: int, max_records: int) -> int:
        """The largest end of a group after offset `start` with at most `max_records` records between, but at least one
        whole group's; `start`, which is then `head`, if nothing follows."""
        return self._chain.close_epoch_at(start, max_records)

    def read(self, start: int, end: int) -> Iterator[LogRecord]:
        """The records of offsets [start, end) in order, without a copy; safe while another thread appends.

        Raises:
            UserError: the range is not, or no longer, in the log.
            CorruptLog: a frame fails its checksum.
        """
        return self._chain.read(start, end)

    def release(self, start: int, end: int) -> None:
        """Gives back the memory that reading of offsets [start, end) took; batches read stay valid."""
        self._chain.release(start, end)

    def offset_at(self, time_us: int) -> int:
        """The offset of the first group of this commit time or later; `head` if there is none yet.

        Raises:
            UserError: the source has no times.
        """
        return self._chain.offset_at(time_us)

    def boundary_at(self, offset: int) -> Boundary:
        """Boundary of the last group, empty ones included, that ends at `offset`.

        Raises:
            UserError: no group ends there, or it is no longer kept.
        """
        return self._chain.boundary_at(offset)

    def counts_at(self, offset: int) -> Counts:
        """Cumulative counts by stream at `offset`, the end of a group.

        Raises:
            UserError: no group ends there, or it is no longer kept.
        """
        return self._chain.counts_at(offset)

    def retain(self, *, before: int, min_age_s: float | None = None, max_bytes: int | None = None) -> list[Path]:
        """Unlinks whole segments below offset `before`, which no consumer needs any more, and returns their paths.

        With `min_age_s` or `max_bytes` given, a segment goes only if it was closed that many seconds ago or the log
        takes more than so many bytes.

        Raises:
            StorageFailed: an unlink or fsync failed.
        """
        try:
            now_us = self._clock.now_us()
            return retire(self._chain, before=before, now_us=now_us, min_age_s=min_age_s, max_bytes=max_bytes)
        except OSError as error:
            raise storage_failed(self.folder, error) from error

    def segments(self) -> list[SegmentInfo]:
        """The segments, oldest first."""
        return self._chain.infos()

    def close(self) -> None:
        """Lets go of the files and of the lock. Batches read before stay valid. May be called twice."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        refusal, self._refusal = self._refusal, self._refusal or "it is closed"
        try:
            if not refusal:
                self._writer.forget_parts()
            self._mark.sync()
        except OSError as error:
            raise storage_failed(self.folder, error) from error
        finally:
            self._writer.close()
            self._mark.close()
            lock.release()

    @contextmanager
    def _storing(self) -> Iterator[None]:
        """Whatever interrupts an append, the partition refuses the next: what is on the disk is then not known."""
        if self._refusal:
            message = f"the log in {self.folder} takes no more: {self._refusal}"
            raise StorageFailed(message, hint="open it anew: headwater run")
        self._refusal = "an append before did not finish"
        try:
            yield
        except OSError as error:
            self._writer.abandon()
            raise storage_failed(self.folder, error) from error
        self._refusal = ""


@contextmanager
def _released_on_error(lock: WriterLock) -> Iterator[None]:
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            with suppress(OSError):
                lock.release()


def _create(folder: Path, mark: MarkFile, clock: Clock) -> tuple[SegmentChain, int, State]:
    """A partition's first segment; the mark goes first, so that a half-made segment is known for one."""
    mark.write(0, 0, 0, 0)
    mark.sync()
    segment = create_segment(folder, SegmentHeader(0, clock.now_us()))
    return SegmentChain(folder, (segment,), 0), segment.header.crc, State(0, None, {})


def _load(folder: Path, headers: list[tuple[Path, SegmentHeader]], found: Scan) -> tuple[SegmentChain, int, State]:
    """The chain of segments, the last of them as its scan found it."""
    path, header = headers[-1]
    last = Segment(path, header, found.keep)
    committed = found.committed
    crc = found.frames[committed - 1].crc if committed else header.crc
    state = State(found.head, header.boundary, header.counts)
    if committed:
        commit = last.commit_at(found.frames[committed - 1].position)
        state = State(found.head, commit.boundary, commit.counts)
    return SegmentChain(folder, (*sealed(headers), last), found.head), crc, state


def _told(recovery: Recovery, mark_missing: bool, mark_damaged: bool) -> Recovery:
    """The recovery, with what there is to say about the durable mark."""
    if not mark_missing and not mark_damaged:
        return recovery
    said = "the durable mark was missing" if mark_missing else "a slot of the durable mark was damaged"
    return replace(recovery, reason="; ".join(filter(None, [recovery.reason, said])), doubtful=True)
