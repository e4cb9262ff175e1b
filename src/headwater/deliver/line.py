"""Who waits for what: records that are not delivered stand in a line per key, the oldest first."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from headwater.deliver.deliveries import Waiting, WaitState


@dataclass
class _Standing:
    """A record in its line. `progress` is what `Line.progress` was when it was last tried."""

    key: str
    state: WaitState
    attempts: int
    next_try_us: int
    progress: int


class Line:
    """The waiting records of a sync, in memory; what is durable of them is in `Deliveries`.

    Attributes:
        progress: how often anything got through; what was tried twice without that says nothing of the record.
    """

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        self._keys: dict[str, list[int]] = {}
        self._standing: dict[int, _Standing] = {}
        self._heap: list[tuple[int, int]] = []
        self._counts: Counter[WaitState] = Counter()
        self.progress = 0
        for entry in waiting:
            self.put(entry)

    def __len__(self) -> int:
        return len(self._standing)

    def __contains__(self, seq: int) -> bool:
        return seq in self._standing

    def has_key(self, key: str) -> bool:
        """Whether a record of this key waits. Records without a key wait for nobody."""
        return key != "" and key in self._keys

    def of_key(self, key: str) -> list[int]:
        """The waiting records of a key, oldest first."""
        return list(self._keys.get(key, ())) if key else []

    def attempts(self, seq: int) -> int:
        """How often a record was tried."""
        standing = self._standing.get(seq)
        return standing.attempts if standing else 0

    def is_parked(self, seq: int) -> bool:
        """Whether a record waits for a decision."""
        standing = self._standing.get(seq)
        return standing is not None and standing.state == "parked"

    def progressed_since(self, seq: int) -> bool:
        """Whether anything got through since the record was last tried."""
        standing = self._standing.get(seq)
        return standing is not None and standing.progress < self.progress

    def put(self, entry: Waiting) -> None:
        """Lets a record wait, or wait for something else."""
        line = self._keys.setdefault(_line_of(entry), [])
        before = self._standing.get(entry.seq)
        if before is None:
            line.append(entry.seq)
            line.sort()
        else:
            self._counts[before.state] -= 1
        self._counts[entry.state] += 1
        self._standing[entry.seq] = _Standing(
            _line_of(entry), entry.state, entry.attempts, entry.next_try_us, self.progress
        )
        self._offer(line[0])

    def remove(self, seqs: Iterable[int]) -> None:
        """Lets records go; who stands behind them comes to the front."""
        for seq in seqs:
            standing = self._standing.pop(seq, None)
            if standing is None:
                continue
            self._counts[standing.state] -= 1
            line = self._keys[standing.key]
            line.remove(seq)
            if line:
                self._offer(line[0])
            else:
                del self._keys[standing.key]

    def due(self, now_us: int, most: int) -> list[int]:
        """Records at the front of their lines whose time has come, longest due first, and takes them off the list of
        those that are due: each is to be `put` again or removed."""
        found: list[int] = []
        while self._heap and self._heap[0][0] <= now_us and len(found) < most:
            next_try_us, seq = heapq.heappop(self._heap)
            if self._is_due(seq, next_try_us) and seq not in found:
                found.append(seq)
        return sorted(found)

    def again(self, seqs: Iterable[int]) -> None:
        """Puts records back on the list of those that are due."""
        for seq in seqs:
            if seq in self._standing:
                self._offer(self._keys[self._standing[seq].key][0])

    def has_due(self, now_us: int) -> bool:
        """Whether `due` would give any."""
        while self._heap and not self._is_due(self._heap[0][1], self._heap[0][0]):
            heapq.heappop(self._heap)
        return bool(self._heap) and self._heap[0][0] <= now_us

    def has_more(self) -> bool:
        """Whether a record waits for anything but a decision: it is tried again, or stands behind one that is."""
        if self.count("failed"):
            return True
        return bool(self.count("queued")) and any(
            self._standing[line[0]].state != "parked" for line in self._keys.values()
        )

    def count(self, *states: WaitState) -> int:
        """How many records are in these states."""
        return sum(self._counts[state] for state in states)

    def seqs(self, *states: WaitState) -> list[int]:
        """Records in these states, in order."""
        return sorted(seq for seq, standing in self._standing.items() if standing.state in states)

    def _offer(self, seq: int) -> None:
        standing = self._standing[seq]
        if standing.state != "parked":
            heapq.heappush(self._heap, (standing.next_try_us, seq))

    def _is_due(self, seq: int, next_try_us: int) -> bool:
        standing = self._standing.get(seq)
        if standing is None or standing.state == "parked" or standing.next_try_us != next_try_us:
            return False
        return self._keys[standing.key][0] == seq


def _line_of(entry: Waiting) -> str:
    return entry.key or f"#{entry.seq}"
