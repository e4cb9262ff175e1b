"""Retention: whole segments that nobody needs any more are unlinked, oldest first."""

from __future__ import annotations

from pathlib import Path

from headwater.durable import fsync_path
from headwater.failpoint import reach
from headwater.log.cursor import SegmentChain
from headwater.log.segment import Segment


def retire(
    chain: SegmentChain, *, before: int, now_us: int, min_age_s: float | None = None, max_bytes: int | None = None
) -> list[Path]:
    """Unlinks the segments that lie wholly below offset `before`, never the last.

    With a rule given, a segment goes only if a rule says so: it was closed at least `min_age_s` seconds ago, or the
    segments take more than `max_bytes` bytes in all. It stops at the first that stays, and makes each removal
    durable before the next, so the log never has a hole.

    Returns:
        The files that are gone.

    Raises:
        OSError: an unlink or the directory's fsync failed.
    """
    gone: list[Path] = []
    while (segment := _oldest(chain, before)) is not None and _may_go(chain, now_us, min_age_s, max_bytes):
        reach("log.retire.before_unlink")
        chain.drop(segment)
        segment.path.unlink()
        fsync_path(chain.folder)
        gone.append(segment.path)
    return gone


def _oldest(chain: SegmentChain, before: int) -> Segment | None:
    """The oldest segment, if it ends at or below `before` and is not the last."""
    segments = chain.segments
    return segments[0] if len(segments) > 1 and segments[1].base <= before else None


def _may_go(chain: SegmentChain, now_us: int, min_age_s: float | None, max_bytes: int | None) -> bool:
    if min_age_s is None and max_bytes is None:
        return True
    closed_us = chain.segments[1].header.created_us
    old = min_age_s is not None and now_us - closed_us >= min_age_s * 1e6
    total = sum(segment.length for segment in chain.segments)
    return old or (max_bytes is not None and total > max_bytes)
