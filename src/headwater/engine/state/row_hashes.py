"""Which rows may be equal to a given one: a multimap from a row's hash to row slots.

The buckets are those of `headwater.index.kernels`, one per distinct hash: the upper 32 bits of the row's 64-bit hash,
and the link (slot + 1) to the first row of a chain of rows that share them. A hash is only a hint: who asks compares
the rows.
"""

from __future__ import annotations

import numpy as np
from numba import types

from headwater.engine.state.memory import Memory
from headwater.index.kernels import Links, Longs, Words, bucket_of, close_gap, compiled
from headwater.index.key_index import roomier

_words, _longs, _links = types.uint64[::1], types.int64[::1], types.uint32[::1]

_EMPTY = np.uint64(0)
_HALF = np.uint64(32)
_BLOCK = 512
_DOOMED, _ROW = np.uint32(1 << 31), np.uint32((1 << 31) - 1)
"""A mark in the links of rows that are being removed, and the link beside it."""
_LINK = np.uint64(0x00000000FFFFFFFF)
_LEAST_BUCKETS = 16


@compiled(types.int64(_words, _links, _words, _longs))
def _link(buckets: Words, after: Links, hashes: Words, slots: Longs) -> int:
    """Puts each row in front of its hash's chain; returns how many buckets were filled."""
    filled = 0
    for i in range(len(slots)):
        h = hashes[i] >> _HALF
        at = bucket_of(buckets, h)
        after[slots[i]] = np.uint32(buckets[at] & _LINK)
        filled += buckets[at] == _EMPTY
        buckets[at] = (h << _HALF) | np.uint64(slots[i] + 1)
    return filled


@compiled(types.int64(_words, _links, _words, _longs))
def _unlink(buckets: Words, after: Links, hashes: Words, slots: Longs) -> int:
    """Takes rows out of their chains; returns how many buckets became empty.

    The rows are first marked. Each chain is walked to the row asked for, and every marked row met on the way goes at
    once, so that many rows of one chain do not cost a walk each.
    """
    emptied, size, homes = 0, np.uint64(len(buckets)), np.empty(_BLOCK, np.uint64)
    for slot in slots:
        after[slot] |= _DOOMED
    for first in range(0, len(slots), _BLOCK):
        last = min(first + _BLOCK, len(slots))
        for i in range(first, last):
            homes[i - first] = buckets[((hashes[i] >> _HALF) * size) >> _HALF]
        for i in range(first, last):
            if not after[slots[i]] & _DOOMED:
                continue
            at = bucket_of(buckets, hashes[i] >> _HALF)
            link, before = np.int64(buckets[at] & _LINK), np.int64(0)
            while after[slots[i]] & _DOOMED:
                row, following = link - 1, after[link - 1]
                link = np.int64(following & _ROW)
                if not following & _DOOMED:
                    before = row + 1
                    continue
                after[row] = 0
                if before:
                    after[before - 1] = np.uint32(link)
                elif link:
                    buckets[at] = (buckets[at] & ~_LINK) | np.uint64(link)
                else:
                    close_gap(buckets, at)
                    emptied += 1
    return emptied


@compiled(types.int64(_words, _links, _longs, _words, _longs, _longs, _longs))
def _candidates(
    buckets: Words, after: Links, weights: Longs, hashes: Words, needs: Longs, rows: Longs, slots: Longs
) -> int:
    """Writes for each row slots of its hash until their weights reach its need, as far as there is room.

    Returns how many there are. Without `weights` all are 1.
    """
    count, size, links = 0, np.uint64(len(buckets)), np.empty(_BLOCK, np.uint64)
    for first in range(0, len(hashes), _BLOCK):
        last = min(first + _BLOCK, len(hashes))
        for i in range(first, last):
            links[i - first] = buckets[((hashes[i] >> _HALF) * size) >> _HALF]
        for i in range(first, last):
            link = np.int64(buckets[bucket_of(buckets, hashes[i] >> _HALF)] & _LINK)
            need = needs[i]
            while link and need > 0:
                if count < len(rows):
                    rows[count], slots[count] = i, link - 1
                count += 1
                need -= weights[link - 1] if len(weights) else 1
                link = np.int64(after[link - 1])
    return count


class RowHashes:
    """Slots by hash; one thread at a time.

    Args:
        memory: where arrays come from.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._used = 0
        self._buckets = np.zeros(_LEAST_BUCKETS, np.uint64)
        self._after = np.zeros(0, np.uint32)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._buckets.nbytes + self._after.nbytes

    def link(self, hashes: Words, slots: Longs, capacity: int) -> None:
        """Adds slots, all below `capacity`, that are not there."""
        self._after = self._memory.grown(self._after, capacity)
        self._buckets = roomier(self._buckets, self._used + len(slots), self._memory)
        self._used += _link(self._buckets, self._after, hashes, slots)

    def unlink(self, hashes: Words, slots: Longs) -> None:
        """Removes slots, each there under the hash beside it and named once."""
        self._used -= _unlink(self._buckets, self._after, hashes, slots)

    def candidates(self, hashes: Words, needs: Longs, weights: Longs) -> tuple[Longs, Longs]:
        """For each hash slots under it, newest first, until the sum of their weights reaches the need.

        Args:
            hashes: the hashes of rows.
            needs: how much weight is looked for.
            weights: by slot; empty: all are 1.

        Returns:
            Pairs: which of the hashes, in order, and a slot.
        """
        room = len(hashes)
        while True:
            rows, slots = np.empty(room, np.int64), np.empty(room, np.int64)
            count = _candidates(self._buckets, self._after, weights, hashes, needs, rows, slots)
            if count <= room:
                return rows[:count], slots[:count]
            room = count
