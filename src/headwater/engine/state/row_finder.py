"""Finds a row among those stored: candidates by hash, then a comparison of the rows themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.netting import HashedRows, Netting
from headwater.engine.state.memory import Memory
from headwater.engine.state.row_hashes import RowHashes
from headwater.index.kernels import Longs, Mask, Words, compiled
from headwater.index.row_encoding import encode_table

_words, _longs, _mask = types.uint64[::1], types.int64[::1], types.boolean[::1]
_MOST = np.int64(1 << 62)


@dataclass(frozen=True)
class Found:
    """Where the weight that was looked for stands.

    Attributes:
        slots: slots of rows equal to those given, each once.
        taken: how much of each slot's weight is needed.
        hashes: each slot's hash.
        missing: which of the rows looked for are not there with enough weight.
    """

    slots: Longs
    taken: Longs
    hashes: Words
    missing: Longs


@compiled(types.void(_words, _longs, _longs, _words, _longs, _mask))
def _compare(left: Words, left_offsets: Longs, rows: Longs, right: Words, right_offsets: Longs, same: Mask) -> None:
    """Whether row `rows[i]` of the left is row i of the right."""
    for i in range(len(rows)):
        at, end, other = left_offsets[rows[i]], left_offsets[rows[i] + 1], right_offsets[i]
        equal = end - at == right_offsets[i + 1] - other
        while equal and at < end:
            equal = left[at] == right[other]
            at, other = at + 1, other + 1
        same[i] = equal


@compiled(types.void(_longs, _mask, _longs, _longs, _longs))
def _collect(rows: Longs, same: Mask, weights: Longs, needs: Longs, taken: Longs) -> None:
    """Takes from each pair what its row needs; `needs` is what is left to find."""
    for i in range(len(rows)):
        if same[i]:
            taken[i] = min(weights[i], needs[rows[i]])
            needs[rows[i]] -= taken[i]


class RowFinder:
    """Hashes of the rows of a store; the rows themselves are asked for where a comparison is needed.

    Args:
        columns: the rows' columns.
        memory: where arrays come from.
        hash_bits: less than 64 only to force collisions in tests.
    """

    def __init__(self, columns: pa.Schema, memory: Memory, *, hash_bits: int = 64) -> None:
        self._names = columns.names
        self.netting = Netting(columns, hash_bits=hash_bits)
        self._index = RowHashes(memory)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._index.nbytes

    def link(self, hashes: Words, slots: Longs, capacity: int) -> None:
        """See `RowHashes.link`."""
        self._index.link(hashes, slots, capacity)

    def unlink(self, hashes: Words, slots: Longs) -> None:
        """See `RowHashes.unlink`."""
        self._index.unlink(hashes, slots)

    def find(
        self, given: HashedRows, at: Longs, needs: Longs, weights: Longs, stored: Callable[[Longs], pa.Table]
    ) -> Found:
        """Finds rows, all distinct, of given weights.

        Args:
            given: rows.
            at: which of them to look for.
            needs: how much of each one's weight; positive.
            weights: weights by slot; empty: all are 1.
            stored: gives the rows of slots.
        """
        pairs, slots, taken, left = self._matched(given, at, needs, needs, weights, stored)
        again = np.flatnonzero(left)
        if len(again):
            # Some candidates were other rows of the same hash: those rows are looked for among all there are.
            everything = np.full(len(again), _MOST)
            others, *more, missing = self._matched(given, at[again], needs[again], everything, weights, stored)
            kept = left[pairs] == 0
            left[again] = missing
            pairs, slots, taken = (
                np.concatenate([old[kept], new])
                for old, new in zip((pairs, slots, taken), (again[others], *more), strict=True)
            )
        used = taken > 0
        return Found(slots[used], taken[used], given.hashes[at[pairs[used]]], at[left > 0])

    def _matched(
        self,
        given: HashedRows,
        at: Longs,
        needs: Longs,
        search: Longs,
        weights: Longs,
        stored: Callable[[Longs], pa.Table],
    ) -> tuple[Longs, Longs, Longs, Longs]:
        """Candidates of a total weight of `search` each: pairs of place in `at` and slot, what is taken from each, and
        what of `needs` is left to find."""
        pairs, slots = self._index.candidates(given.hashes[at], search, weights)
        there = encode_table(self.netting.encoder, stored(slots), self._names)
        same = np.empty(len(pairs), np.bool_)
        _compare(given.rows.words, given.rows.offsets, at[pairs], there.words, there.offsets, same)
        taken, left = np.zeros(len(pairs), np.int64), needs.copy()
        held = weights[slots] if len(weights) else np.ones(len(slots), np.int64)
        _collect(pairs, same, held, left, taken)
        return pairs, slots, taken, left
