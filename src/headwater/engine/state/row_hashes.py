"""Which rows may be equal to a given one: a multimap from a row's hash to row slots.

The buckets are those of `headwater.index.kernels`, one per distinct hash: the upper 32 bits of the row's 64-bit hash,
and the link (slot + 1) to the first row of a chain of rows that share them. A hash is only a hint: who asks compares
the rows.
"""

from __future__ import annotations

import numpy as np
from numba import types

from headwater.engine.state.memory import Memory
from headwater.index.kernels import Links, Longs, Mask, Words, bucket_of, close_gap, compiled
from headwater.index.key_index import roomier

_words, _longs, _links, _mask = types.uint64[::1], types.int64[::1], types.uint32[::1], types.boolean[::1]

_EMPTY = np.uint64(0)
_HALF = np.uint64(32)
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


@compiled(types.int64(_words, _links, _words, _longs, _mask))
def _unlink(buckets: Words, after: Links, hashes: Words, slots: Longs, doomed: Mask) -> int:
    """Takes rows out of their chains; returns how many buckets became empty.

    `doomed` is true at the slots to remove, and false at the end. Each chain is walked to the row asked for, and every
    doomed row met on the way goes at once, so that many rows of one chain do not cost a walk each.
    """
    emptied = 0
    for i in range(len(slots)):
        if not doomed[slots[i]]:
            continue
        at = bucket_of(buckets, hashes[i] >> _HALF)
        link, before = np.int64(buckets[at] & _LINK), np.int64(0)
        while doomed[slots[i]]:
            row, link = link - 1, np.int64(after[link - 1])
            if not doomed[row]:
                before = row + 1
                continue
            doomed[row] = False
            if before:
                after[before - 1] = link
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
    count = 0
    for i in range(len(hashes)):
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
        with np.errstate(over="ignore"):
            self._used += _link(self._buckets, self._after, hashes, slots)

    def unlink(self, hashes: Words, slots: Longs) -> None:
        """Removes slots, each there under the hash beside it and named once."""
        doomed = np.zeros(len(self._after), np.bool_)
        doomed[slots] = True
        with np.errstate(over="ignore"):
            self._used -= _unlink(self._buckets, self._after, hashes, slots, doomed)

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
            with np.errstate(over="ignore"):
                count = _candidates(self._buckets, self._after, weights, hashes, needs, rows, slots)
            if count <= room:
                return rows[:count], slots[:count]
            room = count
