"""Fixed-size state of many groups: one record of 64-bit words per slot, so that a group costs one cache miss."""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from headwater.engine.state.memory import Memory
from headwater.index.kernels import Longs, compiled

longs_in = types.Array(types.int64, 1, "C", readonly=True)
"""Numba's type of an int64 array that a kernel only reads."""

mask_in = types.Array(types.boolean, 1, "C", readonly=True)
"""Numba's type of a mask that a kernel only reads; of length 0 it stands for "all"."""

words_out = types.uint64[::1]
longs_out = types.int64[::1]

Taken = NDArray[np.int64]
"""Copies of records: one row of words per slot asked for."""


@compiled(types.void(longs_out, longs_in, types.int64, types.Array(types.int64, 2, "C", readonly=True)))
def _put(flat: Longs, slots: Longs, width: int, taken: Taken) -> None:
    """Writes records back."""
    for i in range(len(slots)):
        at = slots[i] * width
        for j in range(width):
            flat[at + j] = taken[i, j]


class Records:
    """Records of `width` words, zero at first.

    Args:
        width: words per record.
        memory: where the array comes from.

    Attributes:
        flat: word j of slot s is `flat[s * width + j]`.
    """

    def __init__(self, width: int, memory: Memory) -> None:
        self.width = width
        self._memory = memory
        self.flat: Longs = np.zeros(0, np.int64)

    def reserve(self, slots: int) -> None:
        """Sees to it that slots below `slots` can be used."""
        self.flat = self._memory.grown(self.flat, slots * self.width)

    def column(self, offset: int) -> Longs:
        """Word `offset` of every slot, as a view."""
        return self.flat[offset :: self.width]

    def take(self, slots: Longs) -> Taken:
        """Copies of the records of slots."""
        return self._rows().take(slots, axis=0)

    def put(self, slots: Longs, taken: Taken) -> None:
        """Writes records back."""
        _put(self.flat, slots, self.width, taken)

    def clear(self, slots: Longs) -> None:
        """Zeroes the records of slots, so that these can be given out again."""
        self._rows()[slots] = 0

    def _rows(self) -> Taken:
        return self.flat[: len(self.flat) // self.width * self.width].reshape(-1, self.width)


@compiled(types.int64(longs_in, types.int32[::1], longs_out, longs_out))
def number(slots: Longs, numbers: NDArray[np.int32], firsts: Longs, places: Longs) -> int:
    """Numbers the distinct slots of rows from 0 in the order of their first rows, which are written to `firsts`, and
    each row's number to `places`; returns how many there are. `numbers`, by slot, is all zero before and after."""
    found = 0
    for row in range(len(slots)):
        # Unsigned, so that no index is asked whether it counts from the end: a third of the time.
        slot = np.uint64(slots[row])
        known = numbers[slot]
        if known == 0:
            firsts[found] = row
            found += 1
            known = np.int32(found)
            numbers[slot] = known
        places[row] = known - 1
    for i in range(found):
        numbers[np.uint64(slots[firsts[i]])] = 0
    return found
