"""The lists that `TopOperator` shows, before and after a step, and what changes from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.engine.operators import top_kernels as kernels
from headwater.engine.state.ascending import ascending
from headwater.engine.state.ordered import OrderedRows
from headwater.engine.state.row_store import RowStore
from headwater.index.kernels import Bytes, Longs, Words

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Lists:
    """Entries in order, group after group.

    Attributes:
        entries: the entries.
        copies: how often each stands there.
        offsets: where each group's begin, and the end.
    """

    entries: Longs
    copies: Longs
    offsets: Longs

    def then(self, other: Lists) -> Lists:
        """These groups and those of `other`."""
        if len(self.offsets) <= 1:
            return other
        offsets = np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]])
        entries, copies = np.concatenate([self.entries, other.entries]), np.concatenate([self.copies, other.copies])
        return Lists(entries, copies, offsets)

    def expanded(self) -> tuple[Longs, Longs]:
        """Every entry as often as it stands there, and offsets into that."""
        if (self.copies == 1).all():
            return self.entries, self.offsets
        offsets = np.empty_like(self.offsets)
        kernels.offsets_by_weight(self.offsets, self.copies, offsets)
        return np.repeat(self.entries, self.copies), offsets


class Gone:
    """What a step's retractions take out of the lists, noted before the rows are forgotten and their slots used again.

    Args:
        rows: the rows.
        tree: their order.
        window: gives what is shown of groups.
        shown: the columns that go out.
    """

    def __init__(
        self, rows: RowStore, tree: OrderedRows, window: Callable[[Longs], Lists], shown: Sequence[str]
    ) -> None:
        self._store, self._tree, self._window, self._shown = rows, tree, window, shown
        self._before = Lists(_NONE, _NONE, np.zeros(1, np.int64))
        self._rows: pa.Table | None = None
        self._entries = _NONE
        self.groups = _NONE

    @property
    def count(self) -> int:
        """How many rows that were shown are gone."""
        return len(self._entries)

    def note(self, slots: Longs, taken: Longs) -> None:
        """Rows are about to lose weight: takes them out of the tree, and keeps those that were shown."""
        self.groups = ascending(self._tree.rank_of(slots)[1])
        self._before = self._window(self.groups)
        dead = self._store.weights_of(slots) == taken
        self._tree.reweigh(slots[~dead], -taken[~dead])
        self._tree.remove(slots[dead])
        self._entries = np.intersect1d(slots[dead], self._before.entries, assume_unique=True)
        self._rows = self._store.take(self._entries, self._shown)

    def lists(self, others: Lists, base: int) -> Lists:
        """What was shown of the groups noted, rows gone named by their number from `base` on; then `others`."""
        entries = self._before.entries.copy()
        if self.count:
            at = np.minimum(np.searchsorted(self._entries, entries), self.count - 1)
            dead = self._entries[at] == entries
            entries[dead] = base + at[dead]
        return Lists(entries, self._before.copies, self._before.offsets).then(others)

    def rows(self, numbers: Longs) -> pa.Table:
        """The rows that are gone, by number."""
        if self._rows is None:
            raise IndexError(numbers)
        return self._rows.take(pa.array(numbers))


@dataclass(frozen=True)
class Fresh:
    """Rows that are new.

    Attributes:
        groups: the group of each.
        slots: its number.
        words: their order words.
        rows: what is shown of them, if that is at hand.
    """

    groups: Longs
    slots: Longs
    words: Words
    rows: pa.Table | None = None


@dataclass(frozen=True)
class Changes:
    """What makes one list of another.

    Attributes:
        entries: the entries that come or go.
        weights: how often each comes; negative: goes.
        places: its rank in its group, from 0; empty where that does not matter.
    """

    entries: Longs
    weights: Longs
    places: Longs


def changes(before: Lists, after: Lists, marks: Bytes, firsts: Longs | None) -> Changes:
    """What makes `after` of `before`.

    Args:
        marks: zeros by entry, and left so.
        firsts: the rank of each list's first entry, if an entry at another place is another row.
    """
    if firsts is not None:
        (old, old_offsets), (new, new_offsets) = before.expanded(), after.expanded()
        entries, weights, places = (np.empty(len(old) + len(new), np.int64) for _ in range(3))
        count = kernels.renumbered(old, old_offsets, new, new_offsets, firsts, entries, weights, places)
        return Changes(entries[:count], weights[:count], places[:count])
    entries, weights = (np.empty(len(before.entries) + len(after.entries) + 1, np.int64) for _ in range(2))
    count = kernels.differ(
        before.entries, before.copies, before.offsets, after.entries, after.copies, after.offsets,
        marks, entries, weights,
    )  # fmt: skip
    return Changes(entries[:count], weights[:count], _NONE)
