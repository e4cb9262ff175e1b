"""Which rows have which key: chains of row slots, one per key slot.

Links are slot + 1, so that the zeros that arrays grow by mean "none". Chains are linked both ways only once a row has
to be taken out of one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.state.ascending import ascending
from headwater.engine.state.memory import Memory
from headwater.index.kernels import Links, Longs, Mask, compiled
from headwater.index.key_index import KeyIndex

_longs, _links = types.int64[::1], types.uint32[::1]

_FIRST = np.uint32(1 << 31)
_KEY = np.uint32((1 << 31) - 1)
"""In front of a chain's first row there is no row but its key: `_FIRST`, and the key's slot in the other bits."""
_LEAST_PART = 1024


@compiled(types.void(_links, _links, _links, _longs, _longs))
def _link(heads: Links, after: Links, before: Links, rows: Longs, keys: Longs) -> None:
    """Puts each row in front of its key's chain."""
    for i in range(len(rows)):
        row, key = rows[i], keys[i]
        head = heads[key]
        after[row] = head
        heads[key] = np.uint32(row + 1)
        if len(before):
            before[row] = _FIRST | np.uint32(key)
            if head:
                before[head - 1] = np.uint32(row + 1)


@compiled(types.void(_links, _links, _links))
def _link_back(heads: Links, after: Links, before: Links) -> None:
    """Fills `before`."""
    for key in range(len(heads)):
        link = heads[key]
        back = _FIRST | np.uint32(key)
        while link:
            before[link - 1] = back
            back = link
            link = after[link - 1]


@compiled(types.int64(_links, _links, _links, _longs, _longs))
def _unlink(heads: Links, after: Links, before: Links, rows: Longs, emptied: Longs) -> int:
    """Takes rows out of their chains; writes the keys left without rows to `emptied` and returns how many."""
    count = 0
    for row in rows:
        following, back = after[row], before[row]
        if following:
            before[following - 1] = back
        if not back & _FIRST:
            after[back - 1] = following
            continue
        key = np.int64(back & _KEY)
        heads[key] = following
        if not following:
            emptied[count] = key
            count += 1
    return count


@compiled(types.int64(_links, _links, _longs, _longs, _longs))
def _walk(heads: Links, after: Links, keys: Longs, positions: Longs, rows: Longs) -> int:
    """Writes each key's position and rows as far as there is room, and returns how many there are; -1 is no key."""
    count = 0
    for i in range(len(keys)):
        link = heads[keys[i]] if keys[i] >= 0 else np.uint32(0)
        while link:
            if count < len(rows):
                positions[count], rows[count] = i, np.int64(link) - 1
            count += 1
            link = after[link - 1]
    return count


@compiled(types.int64(_links, _links, _longs, _longs, _longs, _longs))
def _walk_on(heads: Links, after: Links, keys: Longs, at: Longs, positions: Longs, rows: Longs) -> int:
    """`_walk` until there is no more room; goes on from `at`, the next position and the next link (0: from its head),
    and returns how many were written."""
    count, i, link = 0, at[0], np.uint32(at[1])
    while i < len(keys):
        if not link and keys[i] >= 0:
            link = heads[keys[i]]
        while link and count < len(rows):
            positions[count], rows[count] = i, np.int64(link) - 1
            count += 1
            link = after[link - 1]
        if link:
            break
        i += 1
    at[0], at[1] = i, link
    return count


class KeyChains:
    """A multimap from key to row slots; what each call costs depends on the rows named, not on those there are.

    Args:
        columns: the key columns.
        memory: where arrays come from.
        hash_bits: see `KeyIndex`.
    """

    def __init__(self, columns: pa.Schema, memory: Memory, *, hash_bits: int = 64) -> None:
        self._memory = memory
        self._keys = KeyIndex(columns, memory=memory, hash_bits=hash_bits)
        self._heads = np.zeros(0, np.uint32)
        self._after = np.zeros(0, np.uint32)
        self._before = np.zeros(0, np.uint32)
        self._both_ways = False

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._keys.nbytes + self._heads.nbytes + self._after.nbytes + self._before.nbytes

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._keys)

    def link(self, keys: pa.Table, rows: Longs, row_capacity: int) -> None:
        """Adds row slots, none of them linked now and all below `row_capacity`, under the keys beside them."""
        slots, _ = self._keys.find_or_insert(keys)
        self._heads = self._memory.grown(self._heads, self._keys.capacity)
        self._after = self._memory.grown(self._after, row_capacity)
        if self._both_ways:
            self._before = self._memory.grown(self._before, row_capacity)
        _link(self._heads, self._after, self._before, rows, slots)

    def unlink(self, rows: Longs) -> None:
        """Removes row slots, each linked and named once, and forgets the keys that have no row left."""
        if not len(rows):
            return
        if not self._both_ways:
            self._both_ways = True
            self._before = self._memory.grown(self._before, len(self._after))
            _link_back(self._heads, self._after, self._before)
        emptied = np.empty(len(rows), np.int64)
        count = _unlink(self._heads, self._after, self._before, rows, emptied)
        self._keys.remove(emptied[:count])

    def rows_of(self, keys: pa.Table) -> Longs:
        """Row slots of the keys, each slot once however often its key is named."""
        slots = self._keys.find(keys)
        return self._walked(ascending(slots[slots >= 0]))[1]

    def pairs(self, keys: pa.Table) -> tuple[Longs, Longs]:
        """Each key with each row slot of its: positions in `keys`, in order, and row slots."""
        return self._walked(self._keys.find(keys))

    def pairs_in_parts(self, keys: pa.Table, most: int) -> Iterator[tuple[Longs, Longs]]:
        """`pairs`, at most so many at a time; no row may come or go in between."""
        slots = self._keys.find(keys)
        at = np.zeros(2, np.int64)
        room = min(most, max(len(slots), _LEAST_PART))
        while at[0] < len(slots):
            positions, rows = np.empty(room, np.int64), np.empty(room, np.int64)
            count = _walk_on(self._heads, self._after, slots, at, positions, rows)
            if count:
                yield positions[:count], rows[:count]
            room = most

    def contains(self, keys: pa.Table) -> Mask:
        """Which of the keys have rows."""
        return np.asarray(self._keys.find(keys) >= 0)

    def _walked(self, keys: Longs) -> tuple[Longs, Longs]:
        room = len(keys)
        while True:
            positions, rows = np.empty(room, np.int64), np.empty(room, np.int64)
            count = _walk(self._heads, self._after, keys, positions, rows)
            if count <= room:
                return positions[:count], rows[:count]
            room = count
