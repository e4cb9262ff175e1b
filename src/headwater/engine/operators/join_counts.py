"""How many matches each row of a join's side has, and which rows had their first or lost their last."""

from __future__ import annotations

import numpy as np
from numba import types

from headwater.engine.state.memory import Memory
from headwater.index.kernels import Longs, Mask, compiled

_longs, _mask = types.int64[::1], types.boolean[::1]


@compiled(types.int64(_longs, _longs, _longs, _mask, _longs, _longs, types.int64))
def _add(
    slots: Longs, weights: Longs, counts: Longs, seen: Mask, touched: Longs, before: Longs, found: int
) -> int:  # fmt: skip
    """Adds to counts; the first time that a slot is met, notes it in `touched` and its count in `before`."""
    for i in range(len(slots)):
        slot = slots[i]
        if not seen[slot]:
            seen[slot] = True
            touched[found] = slot
            before[found] = counts[slot]
            found += 1
        counts[slot] += weights[i]
    return found


class MatchCounts:
    """The sum of the weights of the rows that match, by slot of the row that they match."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._counts = np.zeros(0, np.int64)
        self._seen = np.zeros(0, np.bool_)
        self._touched = np.empty(0, np.int64)
        self._before = np.empty(0, np.int64)
        self._found = 0

    def put(self, slots: Longs, counts: Longs, capacity: int) -> None:
        """Says what the counts of rows are; every slot is below `capacity`."""
        self._counts = self._memory.grown(self._counts, capacity)
        self._seen = self._memory.grown(self._seen, capacity)
        self._counts[slots] = counts

    def add(self, slots: Longs, weights: Longs) -> None:
        """Adds weights to the counts of rows, which may be named repeatedly."""
        room = self._found + len(slots)
        if room > len(self._touched):
            self._touched = np.concatenate([self._touched, np.empty(room, np.int64)])
            self._before = np.concatenate([self._before, np.empty(room, np.int64)])
        self._found = _add(slots, weights, self._counts, self._seen, self._touched, self._before, self._found)

    def turned(self) -> tuple[Longs, Mask]:
        """The rows that have begun or ceased to have a match since this was asked last, and which of them have now."""
        touched, before = self._touched[: self._found], self._before[: self._found]
        self._seen[touched] = False
        was, has = before > 0, self._counts[touched] > 0
        turned = was != has
        slots, now = touched[turned], has[turned]
        self._touched, self._before, self._found = np.empty(0, np.int64), np.empty(0, np.int64), 0
        return slots, now

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._counts.nbytes + self._seen.nbytes
