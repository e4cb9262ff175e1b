"""What a sync would send next, for people; nothing is sent."""

from __future__ import annotations

from headwater.deliver.destination import Batch, Destination, Sync
from headwater.deliver.outbox import Outbox, read_records
from headwater.log.partition import PartitionView


def preview(destination: Destination, sync: Sync, log: Outbox | PartitionView, *, cursor: int, most: int) -> list[str]:
    """A text for each of the next records, at most so many.

    Args:
        cursor: the first record that has not been looked at.
    """
    shown: list[str] = []
    while len(shown) < most:
        start, left = max(cursor, log.base), most - len(shown)
        handed = log.read(start, left) if isinstance(log, Outbox) else read_records(log, start, left)
        if handed is None:
            break
        before = handed.before if destination.wants_before else None
        batch = Batch(0, handed.rows, handed.op, handed.seq, handed.epoch, before)
        shown += destination.preview(sync, batch)
        cursor = int(handed.seq[-1]) + 1
    return shown
