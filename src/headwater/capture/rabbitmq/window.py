"""Which messages of a queue are in the log already: what makes a redelivered message count once.

RabbitMQ keeps a message until it is acknowledged, and delivers it again when the connection ends before that. A kill
between the log's fsync and the acknowledgement therefore brings messages again that the log holds. So a group's resume
point, which becomes durable with the group itself, carries the *fingerprints* of the messages that may come again.

Why that is enough. A consumer has at most `prefetch` messages unacknowledged, and acknowledges in order of delivery;
what the broker may bring again is therefore among the last `prefetch` that it delivered, or was put back into the queue
by a reading before and comes first in this one (which is why a reading waits until the former consumer is gone). The
window keeps the last messages *by delivery*, a repeated one moving to the end, and never forgets one that was not
acknowledged: so after any number of crashes in a row, every message that is in the log and may come again is in it.

A fingerprint is 96 bits of BLAKE2b over the message's identity. By `message_id` that is the id, the routing key and
the body: two publishers that count their messages from 1 do not take each other's away. By `hash` it is all of the
message, and only what the broker marks as redelivered is compared, one for one.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, OrderedDict
from dataclasses import dataclass

WIDTH = 12
_ENTRY = WIDTH + 2
_REJECTED = 1 << 15
_MOST = _REJECTED - 1


def fingerprint(*parts: bytes) -> bytes:
    """96 bits that stand for `parts`, whose lengths count."""
    digest = hashlib.blake2b(digest_size=WIDTH)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


@dataclass
class _Entry:
    """A message, or several that are the same to the letter.

    Attributes:
        count: how many of them are in the log.
        rejected: they are there as rejects.
        waiting: how many deliveries of it wait to be acknowledged.
        settled_s: when the last of them was, on the monotonic clock.
    """

    count: int
    rejected: bool
    waiting: int
    settled_s: float


class Window:
    """The fingerprints of one queue, oldest delivery first.

    Args:
        size: how many are kept beyond those that wait to be acknowledged.
        keep_s: how long they are kept after that, in seconds.
        text: what `text` gave for the last durable group; "" at the beginning.
        now_s: the monotonic clock.
    """

    def __init__(self, size: int, keep_s: float, text: str = "", now_s: float = 0.0) -> None:
        self._size = size
        self._keep_s = keep_s
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._again: Counter[bytes] = Counter()  # deliveries in this reading
        data = base64.b64decode(text)
        for start in range(0, len(data), _ENTRY):
            number = int.from_bytes(data[start + WIDTH : start + _ENTRY], "little")
            entry = _Entry(number & _MOST, bool(number & _REJECTED), 0, now_s)
            self._entries[data[start : start + WIDTH]] = entry

    def __len__(self) -> int:
        return len(self._entries)

    def seen(self, mark: bytes, *, one_for_one: bool) -> bool:
        """Takes note of a delivery; whether the message is in the log, or on its way there, already.

        Args:
            mark: its fingerprint.
            one_for_one: of equal messages as many are taken for repeated ones as there are, and no more.
        """
        entry = self._entries.get(mark)
        if entry is None or (one_for_one and self._again[mark] >= entry.count):
            self.add(mark)
            return False
        entry.waiting += 1
        self._again[mark] += 1
        self._entries.move_to_end(mark)
        return True

    def add(self, mark: bytes) -> None:
        """Takes note of a delivery that is a new message whatever the window holds."""
        entry = self._entries.setdefault(mark, _Entry(0, rejected=False, waiting=0, settled_s=0.0))
        entry.count = min(entry.count + 1, _MOST)
        entry.waiting += 1
        self._again[mark] += 1
        self._entries.move_to_end(mark)

    def reject(self, mark: bytes) -> None:
        """Notes that a message went to the rejects."""
        self._entries[mark].rejected = True

    def rejected(self, mark: bytes) -> bool:
        """Whether a message went to the rejects."""
        return self._entries[mark].rejected

    def settle(self, mark: bytes, now_s: float) -> None:
        """Notes that a delivery was acknowledged."""
        entry = self._entries.get(mark)
        if entry is not None:
            entry.waiting -= 1
            entry.settled_s = now_s

    def forget(self, now_s: float) -> None:
        """Lets go of the oldest that were acknowledged, if there are too many or it is long ago."""
        while self._entries:
            mark, entry = next(iter(self._entries.items()))
            if entry.waiting > 0 or (len(self._entries) <= self._size and now_s - entry.settled_s <= self._keep_s):
                return
            del self._entries[mark]
            self._again.pop(mark, None)

    @property
    def text(self) -> str:
        """All of it, for a resume point."""
        entries = (
            mark + (entry.count | (_REJECTED if entry.rejected else 0)).to_bytes(2, "little")
            for mark, entry in self._entries.items()
        )
        return base64.b64encode(b"".join(entries)).decode()
