"""Where each row of a table lies: from a key (or a whole row) to its places, (file, row) pairs.

A keyed table has one place per key, a multiset as many as there are equal rows. Planning does not change the index: a
change is looked up with `take`, and told to the index with `forget` and `insert` once the table has committed it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import types

from headwater.index.kernels import Longs, Mask, compiled
from headwater.index.key_index import KeyIndex
from headwater.index.memory import Arrays

_longs = types.int64[::1]
_END = -1


@dataclass(frozen=True)
class Taken:
    """Places that a change takes rows from, not yet taken out of the index.

    Attributes:
        slots: the keys' slots, each once.
        counts: how many places of each slot.
        places: the places, slot after slot.
        files: each place's file number.
        rows: each place's row in its file.
    """

    slots: Longs
    counts: Longs
    places: Longs
    files: Longs
    rows: Longs

    def __len__(self) -> int:
        return len(self.places)


@compiled(types.int64(_longs, _longs, _longs, _longs, _longs))
def _walk(heads: Longs, following: Longs, slots: Longs, counts: Longs, places: Longs) -> int:
    """Writes the first `counts[i]` places of each slot; returns the first i that has fewer, or -1."""
    at = 0
    for i in range(len(slots)):
        place = heads[slots[i]]
        for _ in range(counts[i]):
            if place == -1:
                return i
            places[at] = place
            place = following[place]
            at += 1
    return -1


@compiled(types.void(_longs, _longs, _longs, _longs))
def _pop(heads: Longs, following: Longs, slots: Longs, counts: Longs) -> None:
    """Takes the first `counts[i]` places off each slot's list."""
    for i in range(len(slots)):
        for _ in range(counts[i]):
            heads[slots[i]] = following[heads[slots[i]]]


@compiled(types.void(_longs, _longs, _longs, _longs))
def _push(heads: Longs, following: Longs, slots: Longs, places: Longs) -> None:
    """Puts place i at the front of slot i's list."""
    for i in range(len(slots)):
        following[places[i]] = heads[slots[i]]
        heads[slots[i]] = places[i]


class RowIndex:
    """Places of rows by the values of `columns`.

    Args:
        columns: the key columns, or all columns of a table without a key.
        memory: where arrays come from; the heap if not given.
    """

    def __init__(self, columns: pa.Schema, memory: Arrays | None = None) -> None:
        self.columns = columns
        self._memory = memory or Arrays()
        self._keys = KeyIndex(columns, memory=self._memory)
        self._heads = np.full(0, _END, np.int64)
        self._following = np.full(0, _END, np.int64)
        self._files = np.zeros(0, np.int64)
        self._rows = np.zeros(0, np.int64)
        self._free: list[Longs] = []
        self._used = 0

    def __len__(self) -> int:
        """Number of places, that is of rows."""
        return self._used - sum(len(places) for places in self._free)

    def find(self, keys: pa.Table) -> Longs:
        """Slot of each row's key, -1 where no row has it."""
        return self._keys.find(keys)

    def take(self, keys: pa.Table, counts: Longs) -> Taken | int:
        """Looks up `counts[i]` places of each key, all keys distinct; changes nothing.

        Returns:
            The places; or the number of the first key that has fewer.
        """
        slots = self._keys.find(keys)
        absent = np.flatnonzero(slots < 0)
        if len(absent):
            return int(absent[0])
        places = np.empty(int(counts.sum()), np.int64)
        short = _walk(self._heads, self._following, slots, counts, places)
        return int(short) if short >= 0 else Taken(slots, counts, places, self._files[places], self._rows[places])

    def forget(self, taken: Taken) -> None:
        """Removes what was taken."""
        _pop(self._heads, self._following, taken.slots, taken.counts)
        self._keys.remove(taken.slots[self._heads[taken.slots] == _END])
        if len(taken):
            self._free.append(taken.places)

    def insert(self, keys: pa.Table, file: int, rows: Longs) -> Mask:
        """Adds rows of one file.

        Returns:
            Which rows are the first of their key.
        """
        slots, created = self._keys.find_or_insert(keys)
        self._heads = _grown(self._memory, self._heads, self._keys.capacity)
        places = self._new_places(len(slots))
        self._files[places] = file
        self._rows[places] = rows
        _push(self._heads, self._following, slots, places)
        return created

    def _new_places(self, count: int) -> Longs:
        """Places to fill: those freed before, then new ones."""
        found: list[Longs] = []
        while count and self._free:
            freed = self._free.pop()
            found.append(freed[:count])
            count -= len(found[-1])
            if len(freed) > len(found[-1]):
                self._free.append(freed[len(found[-1]) :])
        found.append(np.arange(self._used, self._used + count, dtype=np.int64))
        self._used += count
        self._following, self._files, self._rows = (
            _grown(self._memory, array, self._used) for array in (self._following, self._files, self._rows)
        )
        return np.concatenate(found)


def _grown(memory: Arrays, array: Longs, size: int) -> Longs:
    """The array with room for `size` values; new values are -1."""
    before = len(array)
    grown = memory.grown(array, size)
    grown[before:] = _END
    return grown
