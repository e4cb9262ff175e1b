"""Frames: the checksummed pieces that a segment is made of, after its header.

A frame is a 64-byte header and a payload padded with zeros to a multiple of 64, so every frame begins on a multiple of
64 and a damaged file can be searched for the next whole frame. Two CRC-32 (`zlib`, IEEE 802.3): one over the padded
payload, one over the header, which holds the first, the frame's own place in the file and the CRC of the frame before
it. A frame at the wrong place, of another segment, or left over from an earlier write of the same file fails.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

ALIGNMENT = 64
HEADER_BYTES = 64
MAGIC = b"HWFR"
_LAYOUT = struct.Struct("<4sBBHIIQQQQII4xI")
_CHECKED_BYTES = HEADER_BYTES - 4

Bytes: TypeAlias = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a frame holds."""

    SCHEMA = 1
    BATCH = 2
    REJECTS = 3
    COMMIT = 4


_KINDS = frozenset(Kind)


class Frame(NamedTuple):
    """One frame's header.

    Attributes:
        kind: see `Kind`.
        lead: zero bytes before the payload proper, put there so that an Arrow body begins on a multiple of 64.
        schema: number of the segment's SCHEMA frame that the rows follow; its own number for SCHEMA; else 0.
        records: rows (BATCH, REJECTS), records of the whole group (COMMIT), 0 (SCHEMA).
        offset: log offset of the first row; for COMMIT and SCHEMA the next offset to be written.
        position: where the header begins in the file.
        length: payload bytes, `lead` included, padding not.
        synced: bytes of this segment that were durable before this frame was written.
        previous: `crc` of the frame before; of the segment's header for the first.
        payload_crc: CRC-32 of the padded payload, begun with the segment header's CRC.
        crc: CRC-32 of the header, begun likewise.
    """

    kind: Kind
    lead: int
    schema: int
    records: int
    offset: int
    position: int
    length: int
    synced: int
    previous: int
    payload_crc: int
    crc: int

    @property
    def begin(self) -> int:
        """Where the payload proper begins in the file."""
        return self.position + HEADER_BYTES + self.lead

    @property
    def payload_end(self) -> int:
        """Where the payload ends in the file."""
        return self.position + HEADER_BYTES + self.length

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.position + HEADER_BYTES + padded(self.length)

    @property
    def next_offset(self) -> int:
        """The log offset after this frame."""
        return self.offset + (self.records if self.kind in (Kind.BATCH, Kind.REJECTS) else 0)


def padded(length: int) -> int:
    """`length` rounded up to a multiple of 64."""
    return -(-length // ALIGNMENT) * ALIGNMENT


def crc_of(parts: Sequence[Bytes], seed: int) -> int:
    """CRC-32 of the parts one after the other, begun with `seed`."""
    for part in parts:
        seed = zlib.crc32(part, seed)
    return seed


def pack(frame: Frame, seed: int) -> tuple[bytes, int]:
    """The 64 header bytes of `frame` (whose `crc` is ignored) and the CRC in them."""
    head = _LAYOUT.pack(MAGIC, frame.kind, frame.lead, 0, *frame[2:10], 0)[:_CHECKED_BYTES]
    crc = zlib.crc32(head, seed)
    return head + crc.to_bytes(4, "little"), crc


def unpack(view: memoryview, position: int, seed: int) -> Frame | None:
    """The frame whose header stands at `position`; None if no whole header with a matching CRC and place is there."""
    raw = view[position : position + HEADER_BYTES]
    if len(raw) < HEADER_BYTES or raw[:4] != MAGIC:
        return None
    _, kind, lead, reserved, *numbers, crc = _LAYOUT.unpack(raw)
    if zlib.crc32(raw[:_CHECKED_BYTES], seed) != crc or reserved or kind not in _KINDS:
        return None
    frame = Frame._make((Kind(kind), lead, *numbers, crc))
    return frame if frame.position == position else None


def payload_matches(view: memoryview, frame: Frame, seed: int) -> bool:
    """Whether the padded payload is all there and has the CRC that the header says."""
    end = frame.end
    return end <= len(view) and zlib.crc32(view[frame.position + HEADER_BYTES : end], seed) == frame.payload_crc
