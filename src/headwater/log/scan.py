"""Looking at every byte of a segment: which frames are whole, which bytes are damaged, and what still follows them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from headwater.log.frame import ALIGNMENT, HEADER_BYTES, MAGIC, Frame, Kind, payload_matches, unpack
from headwater.log.segment import SegmentHeader

_MAGIC_WORD = int.from_bytes(MAGIC, "little")


@dataclass(frozen=True)
class Damage:
    """A range of bytes that are no whole frames.

    Attributes:
        begin, end: the bytes [begin, end).
        first_offset: the log offset expected there.
        next_offset: the log offset at which whole frames go on; None if none follow.
        reason: what is wrong.
        short: an unfinished write explains it: the bytes end too early, or are zeros up to the end of the file.
    """

    begin: int
    end: int
    first_offset: int
    next_offset: int | None
    reason: str
    short: bool


@dataclass
class Scan:
    """What stands in one segment file.

    Attributes:
        header: the segment's header.
        size: bytes of the file.
        frames: whole frames up to the first damage.
        later: frames after the first damage whose headers at least are whole.
        damages: all damaged ranges, in order.
    """

    header: SegmentHeader
    size: int
    frames: list[Frame] = field(default_factory=list)
    later: list[Frame] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)

    @property
    def committed(self) -> int:
        """How many of `frames` belong to groups with a COMMIT."""
        commits = (i + 1 for i in range(len(self.frames) - 1, -1, -1) if self.frames[i].kind is Kind.COMMIT)
        return next(commits, 0)

    @property
    def keep(self) -> int:
        """Bytes up to the end of the last COMMIT before any damage."""
        committed = self.committed
        return self.frames[committed - 1].end if committed else self.header.length

    @property
    def head(self) -> int:
        """The log offset after `keep`."""
        committed = self.committed
        return self.frames[committed - 1].offset if committed else self.header.base


def scan(view: memoryview, header: SegmentHeader) -> Scan:
    """Reads a segment from its header to its end, and on after each damage."""
    found = Scan(header, len(view))
    position, previous, offset = header.length, header.crc, header.base
    while position < len(view):
        frame = unpack(view, position, header.crc)
        reason = _fault(view, frame, header.crc, previous, offset)
        if frame is None:
            follower = _find(view, position + ALIGNMENT, header.crc)
            _note(found, view, position, follower, offset, reason)
            if follower is None:
                break
            position, previous, offset = follower.position, follower.previous, follower.offset
            continue
        if reason:
            found.damages.append(_damaged_frame(frame, len(view), offset, reason))
        (found.later if found.damages else found.frames).append(frame)
        position, previous, offset = frame.end, frame.crc, frame.next_offset
    return found


def _fault(view: memoryview, frame: Frame | None, seed: int, previous: int, offset: int) -> str:
    """What is wrong with the frame, "" if nothing."""
    if frame is None:
        return "no frame header with a matching checksum"
    if frame.end > len(view):
        return "the frame is cut short"
    if not payload_matches(view, frame, seed):
        return "the frame fails its checksum"
    if frame.previous != previous or frame.offset != offset:
        return "the frame does not follow the one before it"
    return ""


def _damaged_frame(frame: Frame, size: int, offset: int, reason: str) -> Damage:
    short = frame.end > size
    after = None if short else frame.next_offset
    return Damage(frame.position, min(frame.end, size), offset, after, reason, short)


def _note(found: Scan, view: memoryview, begin: int, follower: Frame | None, offset: int, reason: str) -> None:
    """Takes note of bytes without a frame header, from `begin` to the next frame."""
    end = len(view) if follower is None else follower.position
    short = follower is None and (end - begin < HEADER_BYTES or not np.frombuffer(view[begin:end], np.uint8).any())
    after = None if follower is None else follower.offset
    found.damages.append(Damage(begin, end, offset, after, reason, short))


def _find(view: memoryview, begin: int, seed: int) -> Frame | None:
    """The first frame at or after `begin` whose header is whole."""
    count = (len(view) - begin) // ALIGNMENT
    if count <= 0:
        return None
    words = np.frombuffer(view, "<u4", count=count * (ALIGNMENT // 4), offset=begin)[:: ALIGNMENT // 4]
    places = (begin + int(place) * ALIGNMENT for place in np.flatnonzero(words == _MAGIC_WORD))
    return next((frame for place in places if (frame := unpack(view, place, seed)) is not None), None)
