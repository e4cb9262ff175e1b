"""The durable mark: how far the log's last segment is known to be durable, kept outside the segment.

A frame that fails its checksum at the very end of a segment is either a write that never finished, which may be cut, or
a durable group that was damaged later, which must not be. The file alone cannot say which; the mark can. It is written
after each fsync of the segment and before that append is acknowledged, and itself fsynced at each roll, at close
and once a second; so it is never ahead of the truth, exact unless the machine lost power, and then at most a second
behind. (docs/decisions/2026-11-21-log-tail.md)
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from headwater.durable import fsync_path

NAME = "durable"
MAGIC = b"HWMK"
SLOT_BYTES = 512
_LAYOUT = struct.Struct("<4sIQQQQII")
_CHECKED_BYTES = _LAYOUT.size - 4


@dataclass(frozen=True)
class Mark:
    """What is known to be durable.

    Attributes:
        sequence: grows by one with each writing; the higher of the two slots counts.
        base: base offset of the last segment.
        length: its durable bytes, up to the end of a COMMIT frame; 0 before the segment was made.
        head: the next offset to be written after them.
        crc: `Frame.crc` of the frame that ends there, or the segment header's.
    """

    sequence: int = 0
    base: int = 0
    length: int = 0
    head: int = 0
    crc: int = 0

    def encode(self) -> bytes:
        """The bytes of a slot in use."""
        values = (self.sequence, self.base, self.length, self.head, self.crc)
        checked = _LAYOUT.pack(MAGIC, 1, *values, 0)[:_CHECKED_BYTES]
        return checked + zlib.crc32(checked).to_bytes(4, "little")


def decode_slot(raw: bytes) -> Mark | None:
    """The mark in a slot; None if it is empty or damaged."""
    if len(raw) < _LAYOUT.size:
        return None
    magic, version, *values, crc = _LAYOUT.unpack(raw[: _LAYOUT.size])
    if magic != MAGIC or version != 1 or zlib.crc32(raw[:_CHECKED_BYTES]) != crc:
        return None
    return Mark(*values)


def read_mark(folder: Path) -> tuple[Mark | None, bool]:
    """The mark of the partition in `folder`, None if there is no whole one; and whether a slot is damaged."""
    try:
        raw = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None, False
    slots = [raw[:SLOT_BYTES], raw[SLOT_BYTES : 2 * SLOT_BYTES]]
    marks = [mark for slot in slots if (mark := decode_slot(slot)) is not None]
    return max(marks, key=lambda mark: mark.sequence, default=None), any(_is_damaged(slot) for slot in slots)


def _is_damaged(slot: bytes) -> bool:
    used = bool(slot.strip(b"\0"))
    return used and (decode_slot(slot) is None or bool(slot[_LAYOUT.size :].strip(b"\0")))


class MarkFile:
    """The mark's file, open for writing; two slots are written in turn, so that a torn writing leaves the other.

    Raises:
        OSError: it cannot be opened or written.
    """

    def __init__(self, folder: Path, last: Mark | None) -> None:
        self.last = last or Mark()
        existed = (folder / NAME).exists()
        self._descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
        if not existed:
            os.ftruncate(self._descriptor, 2 * SLOT_BYTES)
            self.sync()
            fsync_path(folder)

    def write(self, base: int, length: int, head: int, crc: int) -> None:
        """Moves the mark; not durable before `sync`."""
        self.last = Mark(self.last.sequence + 1, base, length, head, crc)
        slot = self.last.encode().ljust(SLOT_BYTES, b"\0")
        if os.pwrite(self._descriptor, slot, (self.last.sequence % 2) * SLOT_BYTES) != SLOT_BYTES:
            raise OSError("the durable mark was written in part")

    def sync(self) -> None:
        """Makes the last writing durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._descriptor)
