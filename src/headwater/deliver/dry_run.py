"""What a sync would send next, for people; nothing is sent."""

from __future__ import annotations

from headwater.deliver.destination import Batch, Destination, Sync
from headwater.deliver.outbox import Outbox


def preview(destination: Destination, sync: Sync, outbox: Outbox, *, cursor: int, most: int) -> list[str]:
    """A text for each of the next records, at most so many.

    Args:
        cursor: the first record that has not been looked at.
    """
    shown: list[str] = []
    while len(shown) < most:
        handed = outbox.read(max(cursor, outbox.base), most - len(shown))
        if handed is None:
            break
        before = handed.before if destination.wants_before else None
        batch = Batch(0, handed.rows, handed.op, handed.seq, handed.epoch, before)
        shown += destination.preview(sync, batch)
        cursor = int(handed.seq[-1]) + 1
    return shown
