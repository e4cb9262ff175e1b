"""A key index held against the rows of its table: every row has its place, and no place is of anything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from headwater.index.kernels import Longs

SHOWN = 5
"""Places of each kind that are told one by one."""


@dataclass(frozen=True)
class IndexCheck:
    """What came of it.

    Attributes:
        table: the table's name.
        origin: how the index was opened: "file", "file, brought up", or "table" and why no file's was used.
        rows: of the table; 0 where no index is kept that would be used.
        missing: rows whose key has no place in the index.
        superfluous: places of keys that the table does not have, or has less often.
        wrong: rows that the index finds elsewhere.
        listed: a few of them, one line each.
    """

    table: str
    origin: str
    rows: int = 0
    missing: int = 0
    superfluous: int = 0
    wrong: int = 0
    listed: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """The index, if one is kept, is the table's."""
        return not (self.missing or self.superfluous or self.wrong)


@runtime_checkable
class Indexed(Protocol):
    """A table whose key index is kept in a file."""

    def check_index(self, folder: Path) -> IndexCheck:
        """Holds the index kept in `folder` against the table as it is; writes nothing."""


@dataclass(frozen=True)
class Places:
    """Places by slot of the key index; -1: the key has no slot.

    Attributes:
        slots: each place's slot.
        files: each place's file number.
        rows: each place's row in its file.
    """

    slots: Longs
    files: Longs
    rows: Longs

    def __len__(self) -> int:
        return len(self.slots)

    def sorted(self) -> Places:
        """By file, row and slot."""
        return self.at(np.lexsort((self.slots, self.rows, self.files)))

    def at(self, numbers: Longs) -> Places:
        """Some of them."""
        return Places(self.slots[numbers], self.files[numbers], self.rows[numbers])

    def packed(self) -> Longs:
        """File and row as one number, in the order of `sorted`."""
        return (self.files << 32) | self.rows


@dataclass(frozen=True)
class Difference:
    """Where an index and its table part.

    Attributes:
        missing: places of the table whose rows the index does not find at all.
        superfluous: places of the index that belong to no row.
        wrong: places of the table whose rows the index finds elsewhere.
        found: where it finds those, in the same order.
    """

    missing: Places
    superfluous: Places
    wrong: Places
    found: Places


def difference(table: Places, index: Places) -> Difference:
    """Compares the places of a table's rows, each there once, with those that its index has."""
    table, index = table.sorted(), index.sorted()
    there, claimed = table.packed(), index.packed()
    at = np.minimum(np.searchsorted(there, claimed), max(len(there) - 1, 0))
    right = np.zeros(len(index), np.bool_)
    if len(there):
        right = (there[at] == claimed) & (table.slots[at] == index.slots)
        right[1:] &= (claimed[1:] != claimed[:-1]) | (index.slots[1:] != index.slots[:-1])
    unfound = np.ones(len(table), np.bool_)
    unfound[at[right]] = False
    lost, astray = table.at(np.flatnonzero(unfound)), index.at(np.flatnonzero(~right))
    of_lost, of_astray = _in_pairs(lost.slots, astray.slots)
    missing = np.setdiff1d(np.arange(len(lost)), of_lost)
    superfluous = np.setdiff1d(np.arange(len(astray)), of_astray)
    return Difference(lost.at(missing), astray.at(superfluous), lost.at(of_lost), astray.at(of_astray))


def _in_pairs(left: Longs, right: Longs) -> tuple[Longs, Longs]:
    """Numbers of entries of both that have the same slot, paired one to one; those without a slot have no pair."""
    _, first, second = np.intersect1d((left << 32) | _ranks(left), (right << 32) | _ranks(right), return_indices=True)
    with_slot = left[first] >= 0
    return first[with_slot], second[with_slot]


def _ranks(slots: Longs) -> Longs:
    """How many entries of the same slot come before each."""
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    ranks = np.empty(len(slots), np.int64)
    ranks[order] = np.arange(len(slots)) - np.searchsorted(ordered, ordered)
    return ranks
