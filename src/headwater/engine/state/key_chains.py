"""Which rows have which key: doubly linked chains of row slots, one per key slot.

Links are slot + 1, so that the zeros that arrays grow by mean "none".
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.index.kernels import Longs, compiled
from headwater.index.key_index import KeyIndex, grown

_longs = types.int64[::1]


@compiled(types.void(_longs, _longs, _longs, _longs, _longs, _longs))
def _link(heads: Longs, after: Longs, before: Longs, key_of: Longs, rows: Longs, keys: Longs) -> None:
    """Puts each row in front of its key's chain."""
    for i in range(len(rows)):
        row, key = rows[i], keys[i]
        head = heads[key]
        after[row], before[row], key_of[row] = head, 0, key
        if head:
            before[head - 1] = row + 1
        heads[key] = row + 1


@compiled(types.int64(_longs, _longs, _longs, _longs, _longs, _longs))
def _unlink(heads: Longs, after: Longs, before: Longs, key_of: Longs, rows: Longs, emptied: Longs) -> int:
    """Takes rows out of their chains; writes the keys left without rows to `emptied` and returns how many."""
    count = 0
    for row in rows:
        if after[row]:
            before[after[row] - 1] = before[row]
        if before[row]:
            after[before[row] - 1] = after[row]
        else:
            heads[key_of[row]] = after[row]
            if not after[row]:
                emptied[count] = key_of[row]
                count += 1
    return count


@compiled(types.int64(_longs, _longs, _longs, _longs))
def _walk(heads: Longs, after: Longs, keys: Longs, out: Longs) -> int:
    """Writes the rows of the keys to `out` as far as there is room, and returns how many there are."""
    count = 0
    for key in keys:
        link = heads[key]
        while link:
            if count < len(out):
                out[count] = link - 1
            count += 1
            link = after[link - 1]
    return count


class KeyChains:
    """A multimap from key to row slots; what each call costs depends on the rows named, not on those there are.

    Args:
        columns: the key columns.
        hash_bits: see `KeyIndex`.
    """

    def __init__(self, columns: pa.Schema, *, hash_bits: int = 64) -> None:
        self._keys = KeyIndex(columns, hash_bits=hash_bits)
        self._heads = np.zeros(0, np.int64)
        self._after = np.zeros(0, np.int64)
        self._before = np.zeros(0, np.int64)
        self._key_of = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        links = (self._heads, self._after, self._before, self._key_of)
        return self._keys.nbytes + sum(array.nbytes for array in links)

    def link(self, keys: pa.Table, rows: Longs, row_capacity: int) -> None:
        """Adds row slots, none of them linked now, under the keys beside them."""
        slots, _ = self._keys.find_or_insert(keys)
        self._heads = grown(self._heads, self._keys.capacity)
        self._after = grown(self._after, row_capacity)
        self._before = grown(self._before, row_capacity)
        self._key_of = grown(self._key_of, row_capacity)
        _link(self._heads, self._after, self._before, self._key_of, rows, slots)

    def unlink(self, rows: Longs) -> None:
        """Removes row slots, each linked and named once, and forgets the keys that have no row left."""
        emptied = np.empty(len(rows), np.int64)
        count = _unlink(self._heads, self._after, self._before, self._key_of, rows, emptied)
        self._keys.remove(emptied[:count])

    def rows_of(self, keys: pa.Table) -> Longs:
        """Row slots of the keys, each slot once however often its key is named."""
        slots = self._keys.find(keys)
        slots = np.unique(slots[slots >= 0])
        rows = np.empty(len(slots), np.int64)
        count = _walk(self._heads, self._after, slots, rows)
        if count > len(rows):
            rows = np.empty(count, np.int64)
            _walk(self._heads, self._after, slots, rows)
        return rows

    def contains(self, keys: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which of the keys have rows."""
        return np.asarray(self._keys.find(keys) >= 0)
