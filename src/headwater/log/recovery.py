"""What opening a log for writing does to its last segment: cut an unfinished write, refuse anything else.

The rules, in order (argued in docs/decisions/2026-11-21-log-tail.md):
1. What the durable mark covers must be whole. Damage or absence there is loss and is refused.
2. Beyond the mark, damage that is followed by a frame of a *later append* is refused: an append begins only after the
   one before it was durable, and each frame says in `synced` how much was durable before it.
3. Any other damage beyond the mark, and frames without their COMMIT, are an append that was never acknowledged: cut
   back to the last COMMIT, and reported.
Without a mark nothing is known to be unacknowledged, so any frame after the damage refuses.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from headwater.durable import fsync_path
from headwater.errors import CorruptLog
from headwater.log.mark import Mark
from headwater.log.scan import Damage, Scan, scan
from headwater.log.segment import SegmentHeader, corrupt_log, decode_header, map_file, segment_path, segment_paths

BAD_HEADER = "the segment's header fails its checksum"
MISSING = "the segment is missing"


@dataclass(frozen=True)
class Recovery:
    """What opening a partition did.

    Attributes:
        segment: name of the file that was cut or removed; "" if none was.
        cut_bytes: how many bytes were cut from its end.
        reason: why, or what else is noteworthy; "" if there is nothing to say.
        doubtful: the bytes cut look whole but for a checksum, or there was no whole durable mark: they may have been
            durable once. The source's own confirmed position tells (it would be ahead of `Partition.boundary`).
    """

    segment: str = ""
    cut_bytes: int = 0
    reason: str = ""
    doubtful: bool = False


def judge(path: Path, found: Scan, mark: Mark | None) -> Recovery:
    """Decides what may be done about the last segment's tail.

    Raises:
        CorruptLog: bytes that were durable are damaged or missing; the message names the range.
    """
    _check_covered(path, found, mark)
    damage = found.damages[0] if found.damages else None
    if damage and any(mark is None or frame.synced > damage.begin for frame in found.later[_own(found, damage) :]):
        raise _refusal(path, damage, "and whole frames follow")
    if found.keep == found.size:
        return Recovery()
    reason = damage.reason if damage else "the last group has no commit"
    doubtful = mark is None or (damage is not None and not damage.short)
    return Recovery(path.name, found.size - found.keep, f"an append did not finish: {reason}", doubtful)


def _own(found: Scan, damage: Damage) -> int:
    """1 if the first of the later frames is the damaged one itself, whose header alone proves nothing."""
    return int(bool(found.later) and found.later[0].position == damage.begin)


def _check_covered(path: Path, found: Scan, mark: Mark | None) -> None:
    if mark is None or mark.base != found.header.base or not mark.length:
        return
    if found.keep < mark.length:
        if found.damages and found.damages[0].begin < mark.length:
            raise _refusal(path, found.damages[0], "though it was durable")
        raise corrupt_log(path, found.keep, mark.length, found.head, mark.head, "missing though they were durable")
    ends = {found.header.length: found.header.crc, **{frame.end: frame.crc for frame in found.frames}}
    if ends.get(mark.length) != mark.crc:
        raise corrupt_log(path, 0, mark.length, found.header.base, mark.head, "not the bytes that were made durable")


def _refusal(path: Path, damage: Damage, why: str) -> CorruptLog:
    reason = f"{damage.reason}, {why}"
    return corrupt_log(path, damage.begin, damage.end, damage.first_offset, damage.next_offset, reason)


def remove_torn_roll(folder: Path, mark: Mark | None) -> Recovery:
    """Removes a last segment whose header was never finished: the process died while making it.

    Raises:
        CorruptLog: the header was once whole, as far as the mark knows, or there is no mark to ask.
    """
    paths = segment_paths(folder)
    if not paths or _header_of(paths[-1]) is not None:
        return Recovery()
    path, base = paths[-1], int(paths[-1].stem)
    size = path.stat().st_size
    if not is_unfinished(base, mark):
        raise corrupt_log(path, 0, size, base, None, BAD_HEADER)
    path.unlink()
    fsync_path(folder)
    return Recovery(path.name, size, "the process died while making the segment, before anything was put in it")


def is_unfinished(base: int, mark: Mark | None) -> bool:
    """Whether the last segment, which begins at `base` and has no whole header, was still being made."""
    return mark is not None and (mark.base < base or (mark.base == base and not mark.length))


def _header_of(path: Path) -> SegmentHeader | None:
    header = decode_header(map_file(path))
    return header if header is not None and header.base == int(path.stem) else None


def read_headers(folder: Path, paths: list[Path], mark: Mark | None) -> list[tuple[Path, SegmentHeader]]:
    """The segments in order, each checked to follow the one before it (their frames are checked when read).

    Raises:
        CorruptLog: a segment is missing, too short, or its header is damaged.
    """
    headers: list[tuple[Path, SegmentHeader]] = []
    for path in paths:
        header = _header_of(path)
        if header is None:
            raise corrupt_log(path, 0, path.stat().st_size, int(path.stem), None, BAD_HEADER)
        if headers:
            check_follows(headers[-1], path, header)
        headers.append((path, header))
    _check_last(folder, headers, mark)
    return headers


def check_follows(before: tuple[Path, SegmentHeader], path: Path, header: SegmentHeader) -> None:
    """Checks that `header` is that of the segment after `before`, and that `before` has the length it had then.

    Raises:
        CorruptLog: it is not.
    """
    last_path, last = before
    if header.previous_base != last.base:
        missing = segment_path(path.parent, header.previous_base)
        raise corrupt_log(missing, 0, header.previous_length, header.previous_base, header.base, MISSING)
    size = last_path.stat().st_size
    if size != header.previous_length:
        reason = f"the segment has {size} bytes where it had {header.previous_length}"
        begin, end = sorted((size, header.previous_length))
        raise corrupt_log(last_path, begin, end, last.base, header.base, reason)


def _check_last(folder: Path, headers: list[tuple[Path, SegmentHeader]], mark: Mark | None) -> None:
    if mark is None or not mark.length:
        return
    if not headers or headers[-1][1].base < mark.base:
        missing = segment_path(folder, mark.base)
        raise corrupt_log(missing, 0, mark.length, mark.base, mark.head, MISSING)


def recover(path: Path, header: SegmentHeader, mark: Mark | None) -> tuple[Scan, Recovery]:
    """Scans the last segment, cuts what may be cut, and makes what stays durable.

    What the page cache holds of an append whose fsync failed may not be on the disk: clean pages are dropped first, so
    that the scan reads the disk and the fsync covers what it read.

    Raises:
        CorruptLog: see `judge`.
        OSError: cutting or fsync failed.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        if sys.platform == "linux":
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        found = scan(map_file(path), header)
        recovery = judge(path, found, mark)
        if recovery.cut_bytes:
            os.ftruncate(descriptor, found.keep)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return found, recovery
