"""Entries in order, per group: ranks, selection by rank and bounds in logarithmic time, under insertion and removal.

Groups and entries are slots that the caller gives out: small dense integers, re-used after removal. What an entry is
ordered by is its order key (`headwater.engine.state.order_words`): so many words of 64 bits, compared as one unsigned
big number, and, only where those are equal, a tail of any length, which is asked for when it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headwater.engine.state import ordered_kernels as kernels
from headwater.engine.state.ascending import ascending
from headwater.engine.state.memory import Memory
from headwater.engine.state.ordered_fetch import fetch_down, fetch_up
from headwater.engine.state.ordered_kernels import Ints
from headwater.engine.state.tails import Tails
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask, Words
from headwater.index.row_encoding import EncodedRows

TailsOf = Callable[[Longs], EncodedRows]
"""The tails of the order keys of entries; no tail is a prefix of another unless they are equal."""

_NO_WORDS = np.zeros(0, np.uint64)
_MANY, _SAMPLE, _LARGE = 1024, 256, 64

_FETCHED = 16
"""From so many entries on, their ways are fetched together beforehand."""


_MOST_LIKELY = 16
"""So many entries of a group are made room for before it is known how many there are."""


class OrderedRows:
    """Per group, entries by order key, equal ones by age; each counts as often as its weight says, at least once.

    All operations take logarithmic time per entry, also where all entries are of one group. One thread at a time.

    Args:
        width: words of an order key; may be 0.
        memory: where the arrays live.
        tails: gives the tails of entries whose words are equal; None if words are all there is to a key.
    """

    def __init__(self, width: int, memory: Memory, tails: TailsOf | None = None) -> None:
        self.width = width
        self._stride = width + kernels.ORDER
        self._memory = memory
        self._tails_of = tails
        self._nodes: Longs = np.zeros(0, np.int64)
        self._roots: Ints = np.zeros(0, np.int32)
        self._tails = Tails(memory)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes: 32 per entry and 8 per word of its order key, 4 per group."""
        return self._nodes.nbytes + self._roots.nbytes + self._tails.nbytes

    def reserve(self, groups: int, entries: int) -> None:
        """Makes room for groups and entries below these numbers; to be called before they are named."""
        self._roots = self._memory.grown(self._roots, groups)
        self._nodes = self._memory.grown(self._nodes, entries * self._stride)

    def insert(self, groups: Longs, entries: Longs, words: Words, weights: Longs | None = None) -> None:
        """Adds entries, none of them there now, in order of age.

        Args:
            groups: the group of each entry.
            entries: the entries; `reserve` has made room.
            words: `width` words for each entry, one after the other.
            weights: how often each counts, at least 1; None for once.
        """
        weights = np.ones(len(entries), np.int64) if weights is None else weights
        which = self._visits(groups, words)
        kernels.place_words(self._words, self._stride, np.ascontiguousarray(words).reshape(-1), entries)
        kernels.set_tails(self._links, self._stride, entries, np.full(len(entries), -1, np.int64))
        if self.width and len(entries) >= _FETCHED:
            fetch_down(self._links, self._words, self._roots, self._stride, groups, entries)
        tied, partners = self._insert(groups, entries, weights, which)
        if not len(tied):
            return
        self._give_tails(np.union1d(entries[tied], partners))
        tied, _ = self._insert(groups, entries, weights, tied)
        if len(tied):
            raise InvariantBroken("entries of one order key have no tails to tell them apart by")

    def remove(self, entries: Longs) -> None:
        """Takes out entries that are there, each named once."""
        if len(entries) >= _FETCHED:
            fetch_up(self._links, self._stride, entries)
        self._tails.remove(self._numbers_of(entries))
        kernels.remove(self._nodes, self._links, self._roots, self._stride, entries)

    def reweigh(self, entries: Longs, by: Longs) -> None:
        """Adds to how often entries that are there count; all must stay above 0."""
        if len(entries) >= _FETCHED:
            fetch_up(self._links, self._stride, entries)
        kernels.reweigh(self._nodes, self._links, self._stride, entries, by)

    def counts(self, groups: Longs) -> Longs:
        """The sum of each group's weights."""
        out = np.empty(len(groups), np.int64)
        kernels.sizes(self._nodes, self._roots, self._stride, groups, out)
        return out

    def select(self, groups: Longs, ranks: Longs) -> Longs:
        """The entry at each rank (from 0, by weight) of its group; -1 where there is none."""
        out = np.empty(len(groups), np.int64)
        kernels.select(self._nodes, self._links, self._roots, self._stride, groups, ranks, out)
        return out

    def window(self, groups: Longs, low: Longs | int, high: Longs | int) -> tuple[Longs, Longs, Longs]:
        """The entries at the ranks from `low` to before `high` of each group, in order.

        Returns:
            The entries, how much of each one's weight lies there, and offsets into both, one more than groups.
        """
        low, high = (np.broadcast_to(np.asarray(bound, np.int64), len(groups)).copy() for bound in (low, high))
        offsets = np.empty(len(groups) + 1, np.int64)
        room, count = int(np.minimum(high - low, _MOST_LIKELY).clip(0).sum()), -1
        while count < 0 or count > room:
            room = max(room, count)
            out, copies = np.empty(room, np.int64), np.empty(room, np.int64)
            count = kernels.window(
                self._nodes, self._links, self._roots, self._stride, groups, low, high, offsets, out, copies
            )
        return out[:count], copies[:count], offsets

    def first(self, groups: Longs, n: int) -> tuple[Longs, Longs, Longs]:
        """The entries of the first `n` ranks of each group; see `window`."""
        return self.window(groups, 0, n)

    def rank_of(self, entries: Longs) -> tuple[Longs, Longs]:
        """The weight of what stands before each entry in its group, and the group."""
        if len(entries) >= _FETCHED:
            fetch_up(self._links, self._stride, entries)
        out, groups = np.empty(len(entries), np.int64), np.empty(len(entries), np.int64)
        kernels.ranks(self._nodes, self._links, self._stride, entries, out, groups)
        return out, groups

    def lower_bound(self, groups: Longs, words: Words, tails: EncodedRows | None = None) -> Longs:
        """The weight of what stands in each group before an order key. Without tails, words alone are compared."""
        return self._bound(groups, words, tails, False)

    def upper_bound(self, groups: Longs, words: Words, tails: EncodedRows | None = None) -> Longs:
        """The weight of what stands in each group before an order key or is equal to it."""
        return self._bound(groups, words, tails, True)

    def surpass(self, groups: Longs, words: Words, n: int) -> Mask:
        """Which order keys would be among the first `n` of their groups, in which no more than that are: those that may
        come before the last, by their tails perhaps. Of equals the older ones stay."""
        out = np.empty(len(groups), np.bool_)
        kernels.surpass(
            self._nodes, self._links, self._words, self._roots, self._stride, groups,
            np.ascontiguousarray(words).reshape(-1), n, self._tails_of is not None, out,
        )  # fmt: skip
        return out

    @property
    def _links(self) -> Ints:
        return self._nodes.view(np.int32)

    @property
    def _words(self) -> Words:
        return self._nodes.view(np.uint64)

    def _visits(self, groups: Longs, words: Words) -> Longs:
        """The numbers of a batch of new entries in the order in which to insert them: sorted where many go into large
        groups, so that each one's way is mostly in the processor's cache. Equals stay in order of age."""
        count = len(groups)
        if count >= _MANY and self.width:
            sample = np.ascontiguousarray(groups[:: count // _SAMPLE])
            repeated = len(sample) - len(ascending(sample))
            if self.counts(sample).mean() > _LARGE or count * 2 * repeated > _LARGE * len(sample) ** 2:
                return np.lexsort((np.asarray(words).reshape(count, self.width)[:, 0], groups)).astype(np.int64)
        return np.arange(count, dtype=np.int64)

    def _insert(self, groups: Longs, entries: Longs, weights: Longs, which: Longs) -> tuple[Longs, Longs]:
        """Inserts what has tails enough; of the others the numbers, and the entries that they tie with."""
        tied, partners = np.empty(len(which), np.int64), np.empty(len(which), np.int64)
        count = kernels.insert(
            self._nodes, self._links, self._words, self._roots, self._stride, *self._tails.arrays,
            groups, entries, weights, which, self._tails_of is not None, tied, partners,
        )  # fmt: skip
        return tied[:count], partners[:count]

    def _numbers_of(self, entries: Longs) -> Longs:
        """Numbers of tails, -1 for none."""
        out = np.empty(len(entries), np.int64)
        kernels.tails_of(self._links, self._stride, entries, out)
        return out

    def _give_tails(self, entries: Longs) -> None:
        """Sees to it that these entries have tails."""
        without = entries[self._numbers_of(entries) < 0]
        if self._tails_of is not None and len(without):
            kernels.set_tails(self._links, self._stride, without, self._tails.add(self._tails_of(without)))

    def _bound(self, groups: Longs, words: Words, tails: EncodedRows | None, after: bool) -> Longs:
        out = np.empty(len(groups), np.int64)
        given = tails or EncodedRows(_NO_WORDS, np.zeros(len(groups) + 1, np.int64))
        kernels.bounds(
            self._nodes, self._links, self._words, self._roots, self._stride, *self._tails.arrays, groups,
            np.ascontiguousarray(words).reshape(-1), given.words, given.offsets, tails is not None, after, out,
        )  # fmt: skip
        return out
