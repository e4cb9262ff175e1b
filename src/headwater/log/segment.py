"""One segment file: its header, its frames in order, and an index of where what lies.

A segment can be read on its own: it repeats the schemas it needs, and its header carries the cumulative counts and the
boundary at its first offset, so that retention loses no accounting.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from headwater.errors import CorruptLog, UserError
from headwater.log.frame import HEADER_BYTES, Frame, Kind, padded, payload_matches, unpack
from headwater.log.payload import Commit, Counts, decode_commit, decode_state, decode_stream, encode_state
from headwater.position import Boundary
from headwater.schema import StreamSchema

SUFFIX = ".segment"
MAGIC = b"HWSEGMNT"
FORMAT_VERSION = 1
PREFIX_BYTES = 64
_LAYOUT = struct.Struct("<8sIIQQQQIIII")
_CHECKED_BYTES = PREFIX_BYTES - 4


@dataclass(frozen=True)
class SegmentHeader:
    """What a segment says of itself and of everything before it.

    Attributes:
        base: log offset of its first record.
        created_us: when it was made, microseconds since 1970 UTC.
        previous_base: `base` of the segment before; its own for the first of a partition.
        previous_length: bytes of the segment before; 0 for the first.
        previous_crc: `crc` of the last frame of the segment before; 0 for the first.
        boundary: of the last group before this segment; None if there was none.
        counts: cumulative counts at `base`.
        length: bytes of the header in the file; 0 until it has been encoded.
        crc: its CRC-32, the seed of the CRCs of this segment's frames; 0 until it has been encoded.
    """

    base: int
    created_us: int
    previous_base: int = 0
    previous_length: int = 0
    previous_crc: int = 0
    boundary: Boundary | None = None
    counts: Counts = field(default_factory=dict)
    length: int = 0
    crc: int = 0

    def encode(self) -> bytes:
        """The bytes that a segment file begins with; a multiple of 64 of them."""
        state = encode_state(self.boundary, self.counts)
        length = padded(PREFIX_BYTES + len(state))
        before = (self.previous_base, self.previous_length, self.previous_crc)
        head = _LAYOUT.pack(MAGIC, FORMAT_VERSION, length, self.base, self.created_us, *before, len(state), 0, 0)
        body = state.ljust(length - PREFIX_BYTES, b"\0")
        crc = zlib.crc32(body, zlib.crc32(head[:_CHECKED_BYTES]))
        return head[:_CHECKED_BYTES] + crc.to_bytes(4, "little") + body


def decode_header(view: memoryview) -> SegmentHeader | None:
    """The header that `view` begins with; None if it is not whole or its CRC does not match.

    Raises:
        UserError: a later version of Headwater wrote it.
    """
    if len(view) < PREFIX_BYTES:
        return None
    magic, version, length, base, created_us, last, last_bytes, last_crc, state_bytes, reserved, crc = _LAYOUT.unpack(
        view[:PREFIX_BYTES]
    )
    body = view[PREFIX_BYTES:length]
    if magic != MAGIC or reserved or len(body) != length - PREFIX_BYTES or state_bytes > len(body):
        return None
    if zlib.crc32(body, zlib.crc32(view[:_CHECKED_BYTES])) != crc:
        return None
    if version > FORMAT_VERSION:
        raise UserError(f"a segment has log format version {version}, this Headwater reads up to {FORMAT_VERSION}",
                        hint="upgrade: pip install --upgrade headwater")  # fmt: skip
    boundary, counts = decode_state(bytes(body[:state_bytes]))
    return SegmentHeader(base, created_us, last, last_bytes, last_crc, boundary, counts, length, crc)


def segment_path(folder: Path, base: int) -> Path:
    """The file of the segment that begins at offset `base`."""
    return folder / f"{base:020d}{SUFFIX}"


def segment_paths(folder: Path) -> list[Path]:
    """The segment files in `folder`, by base offset."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit() and len(path.stem) == 20)


class SegmentIndex:
    """Where a segment's rows and commits lie, in ascending order.

    One thread adds while others search, without a lock: the array that is searched is the last that an entry is
    added to, so what a search finds is whole.

    Attributes:
        row_offsets, row_positions: first offset and file position of each BATCH and REJECTS frame.
        commit_heads, commit_positions: offset after each group and file position of its COMMIT frame.
        schemas: streams by the number of their SCHEMA frame.
    """

    def __init__(self) -> None:
        self.row_offsets, self.row_positions = array("Q"), array("Q")
        self.commit_heads, self.commit_positions = array("Q"), array("Q")
        self.schemas: dict[int, StreamSchema] = {}

    def add(self, frame: Frame, stream: StreamSchema | None = None) -> None:
        """Takes note of a frame; `stream` is what a SCHEMA frame holds."""
        if frame.kind is Kind.COMMIT:
            self.commit_positions.append(frame.position)
            self.commit_heads.append(frame.offset)
        elif frame.kind is not Kind.SCHEMA:
            self.row_positions.append(frame.position)
            self.row_offsets.append(frame.offset)
        elif stream is not None:
            self.schemas[frame.schema] = stream


class Segment:
    """A segment file opened for reading by memory map; safe for many threads, while one other appends.

    Args:
        path: the file.
        header: its decoded header.
        length: bytes from the beginning of the file that may be read: up to the end of a COMMIT frame.
        index: where what lies; None to read it from the frames' headers when it is first needed.
    """

    def __init__(self, path: Path, header: SegmentHeader, length: int, index: SegmentIndex | None = None) -> None:
        self.path = path
        self.header = header
        self.length = length
        self._index = index
        self._view = memoryview(b"")

    @property
    def base(self) -> int:
        """Log offset of the first record."""
        return self.header.base

    @property
    def index(self) -> SegmentIndex:
        """Where what lies.

        Raises:
            CorruptLog: a frame's header is damaged.
        """
        if self._index is None:
            self._index = self._read_index()
        return self._index

    def view(self, end: int) -> memoryview:
        """The file's bytes, at least up to `end`, mapped.

        Raises:
            CorruptLog: the file is shorter.
            UserError: retention has removed the file.
        """
        if len(self._view) < end:
            self._view = map_file(self.path)
        if len(self._view) < end:
            raise self.corrupt(len(self._view), end, "the file is too short")
        return self._view

    def release(self) -> None:
        """Lets the kernel take the mapped pages out of this process's memory; they are read again when asked for."""
        mapped = self._view.obj
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def frame(self, position: int) -> tuple[Frame, memoryview]:
        """The frame at `position` and its payload proper, every CRC checked.

        Raises:
            CorruptLog: a CRC does not match.
        """
        view = self.view(position + HEADER_BYTES)
        frame = unpack(view, position, self.header.crc)
        if frame is None:
            raise self.corrupt(position, position + HEADER_BYTES, "the frame's header fails its checksum")
        view = self.view(frame.end)
        if not payload_matches(view, frame, self.header.crc):
            raise self.corrupt(position, frame.end, "the frame fails its checksum")
        return frame, view[frame.begin : frame.payload_end]

    def commit_at(self, position: int) -> Commit:
        """The commit at `position`, checked."""
        return decode_commit(self.frame(position)[1])

    def corrupt(self, begin: int, end: int, reason: str) -> CorruptLog:
        """The error for damaged bytes [begin, end), naming the offsets they held as far as the index knows."""
        index = self._index or SegmentIndex()
        first, after = bisect_left(index.row_positions, begin), bisect_left(index.row_positions, end)
        offsets = index.row_offsets
        last = offsets[after] if after < len(offsets) else None
        return corrupt_log(self.path, begin, end, offsets[first] if first < len(offsets) else self.base, last, reason)

    def _read_index(self) -> SegmentIndex:
        index, view, seed = SegmentIndex(), self.view(self.length), self.header.crc
        position, previous, offset = self.header.length, self.header.crc, self.base
        while position < self.length:
            frame = unpack(view, position, seed)
            if frame is None or frame.previous != previous or frame.offset != offset or frame.end > self.length:
                reason = "a frame's header fails its checksum or is out of place"
                raise corrupt_log(self.path, position, self.length, offset, None, reason)
            index.add(frame, self._stream(frame))
            position, previous, offset = frame.end, frame.crc, frame.next_offset
        return index

    def _stream(self, frame: Frame) -> StreamSchema | None:
        return decode_stream(self.frame(frame.position)[1]) if frame.kind is Kind.SCHEMA else None


def corrupt_log(path: Path, begin: int, end: int, first: int, after: int | None, reason: str) -> CorruptLog:
    """The error for damaged bytes [begin, end) of a segment that held offsets from `first` up to, not including,
    `after`; None if nobody knows how far."""
    offsets = f"offsets {first} to {after - 1}" if after is not None and after > first else f"offsets {first} and after"
    span = f"bytes {begin} to {end - 1}" if end > begin else f"byte {begin} on"
    message = f"{path}: {span} ({offsets}): {reason}"
    return CorruptLog(message, hint=f"see all the damage with: headwater log verify {path.parent.name}")


def map_file(path: Path) -> memoryview:
    """The whole file as it is now, mapped for reading.

    Raises:
        UserError: the file is not there.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise UserError(f"{path} is gone, retired", hint="see what is kept: headwater log ls") from error
    try:
        if not os.fstat(descriptor).st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def sealed(headers: list[tuple[Path, SegmentHeader]]) -> list[Segment]:
    """All but the last of these consecutive segments; how long each is stands in the header of the next."""
    return [Segment(path, header, after.previous_length) for (path, header), (_, after) in pairwise(headers)]


@dataclass(frozen=True)
class SegmentInfo:
    """A segment as `headwater log ls` shows it.

    Attributes:
        path: the file.
        base: log offset of its first record.
        records: changes and rejects in it.
        bytes: its length.
        created_us: when it was made, microseconds since 1970 UTC.
        first: boundary of its first group; None if it holds none yet.
        last: boundary of its last group; None if it holds none yet.
    """

    path: Path
    base: int
    records: int
    bytes: int
    created_us: int
    first: Boundary | None
    last: Boundary | None


def describe(segment: Segment, head: int) -> SegmentInfo:
    """What there is to say of `segment`, which ends before offset `head`."""
    ends = segment.index.commit_positions
    first, last = (segment.commit_at(ends[i]).boundary for i in (0, -1)) if ends else (None, None)
    header = segment.header
    return SegmentInfo(segment.path, header.base, head - header.base, segment.length, header.created_us, first, last)
