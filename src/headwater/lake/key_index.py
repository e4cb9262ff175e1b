"""Where each row of a table lies: from a key (or a whole row) to its places, (file, row) pairs.

A keyed table has one place per key, a multiset as many as there are equal rows. Planning does not change the index: a
change is looked up with `take` and `find`, and told to the index with `forget`, `move` and `insert` once the table has
committed it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import IndexParts, KeyIndex
from headwater.index.memory import Arrays
from headwater.lake.row_places import Dead, OnePlace, PlaceLists, Relocation, Taken

__all__ = ["Dead", "Relocation", "RowIndex", "Taken"]


class RowIndex:
    """Places of rows by the values of `columns`.

    An int64 key takes 29 to 40 bytes, place included; see `KeyIndex` for others.

    Args:
        columns: the key columns, or all columns of a table without a key.
        unique: a key has one place at most.
        memory: where arrays come from; the heap if not given.
    """

    def __init__(self, columns: pa.Schema, *, unique: bool = False, memory: Arrays | None = None) -> None:
        self.columns, self.unique = columns, unique
        memory = memory or Arrays()
        self.keys = KeyIndex(columns, memory=memory)
        self.places: OnePlace | PlaceLists = OnePlace(memory) if unique else PlaceLists(memory)

    def __len__(self) -> int:
        """Number of places, that is of rows."""
        return self.places.count

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.keys.nbytes + self.places.nbytes

    def parts(self) -> IndexParts:
        """What the index consists of, to be put into a file; the arrays are its own."""
        keys, places = self.keys.parts(), self.places.parts(self.keys.capacity)
        return IndexParts({**keys.numbers, **places.numbers}, {**keys.arrays, **places.arrays})

    def restore(self, parts: IndexParts) -> None:
        """Becomes the index of the same columns that consisted of these parts; the arrays are its own from now on."""
        self.keys.restore(parts)
        self.places.restore(parts)

    def all_places(self) -> tuple[Longs, Longs, Longs]:
        """Every place: its key's slot, its file number and its row."""
        return self.places.every(self.keys.capacity)

    def reserve(self, rows: int) -> None:
        """Makes room for so many rows in all, so that what is filled in one go does not grow step by step."""
        self.keys.reserve(rows)
        self.places.reserve(rows)

    def find(self, keys: pa.Table) -> Longs:
        """Slot of each row's key, -1 where no row has it."""
        return self.keys.find(keys)

    def take(self, keys: pa.Table, counts: Longs) -> Taken | int:
        """Looks up `counts[i]` places of each key, all keys distinct; changes nothing.

        Returns:
            The places; or the number of the first key that has fewer.
        """
        slots = self.keys.find(keys)
        absent = np.flatnonzero(slots < 0)
        return int(absent[0]) if len(absent) else self.places.take(slots, counts)

    def among(self, slots: Longs, others: Longs) -> Mask:
        """Which of `slots` (-1: none) are among `others`."""
        marked = np.zeros(self.keys.capacity + 1, np.bool_)
        marked[others] = True
        marked[-1] = False
        return marked[slots]

    def forget(self, taken: Taken) -> None:
        """Removes what was taken."""
        self.keys.remove(self.places.drop(taken))

    def move(self, slots: Longs, file: int, rows: Longs) -> None:
        """Rows of these slots, one each, lie elsewhere: in one file. Only where keys are unique."""
        assert isinstance(self.places, OnePlace)
        self.places.move(slots, file, rows)

    def insert(self, keys: pa.Table, file: int, rows: Longs) -> Mask:
        """Adds rows of one file.

        Returns:
            Which rows are the first of their key. Where keys are unique, no row has been added if not all are.
        """
        slots, created = self.keys.find_or_insert(keys)
        if self.unique and not created.all():
            self.keys.remove(slots[created])
            return created
        self.places.put(slots, file, rows)
        return created

    def sweep(self, dead: Dead) -> None:
        """Removes the places that are no more."""
        self.keys.remove(self.places.sweep(dead, self.keys.capacity))

    def relocate(self, to: Relocation) -> None:
        """Rows lie elsewhere from now on.

        Raises:
            InvariantBroken: a row has nowhere to go; the index is no longer of use.
        """
        lost = self.places.relocate(to, self.keys.capacity)
        if lost:
            raise InvariantBroken(f"{lost} rows of a table were left out when its files were written anew")
