"""Finds a row among those stored: candidates by hash, then a comparison of the rows themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.state.memory import Memory
from headwater.engine.state.row_hashes import RowHashes
from headwater.index.kernels import Longs, Mask, Words, compiled, hash_rows, upper_bits
from headwater.index.row_encoding import EncodedRows, RowEncoder, encode_table

_words, _longs, _mask = types.uint64[::1], types.int64[::1], types.boolean[::1]
_MOST = np.int64(1 << 62)
_ONE, _HALF = np.uint64(1), np.uint64(32)


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


@dataclass(frozen=True)
class HashedRows:
    """Rows as they are compared.

    Attributes:
        rows: the rows, encoded.
        hashes: a hash of each.
    """

    rows: EncodedRows
    hashes: Words


@compiled(types.int64(_words, _longs, _words, _longs, _longs, _longs, _longs))
def _net(words: Words, offsets: Longs, hashes: Words, weights: Longs, table: Longs, firsts: Longs, sums: Longs) -> int:
    """Sums the weights of equal rows; returns how many distinct rows there are.

    Args:
        words, offsets, hashes, weights: the rows.
        table: zeros, more than twice as many as there are rows; a power of two.
        firsts: set to each distinct row's first row, in order.
        sums: set to the sum of each distinct row's weights.
    """
    count, last = 0, np.uint64(len(table) - 1)
    for i in range(len(hashes)):
        at = (hashes[i] >> _HALF) & last
        while table[at]:
            first = firsts[table[at] - 1]
            if hashes[first] == hashes[i]:
                left, right, end = offsets[first], offsets[i], offsets[i + 1]
                equal = offsets[first + 1] - left == end - right
                while equal and right < end:
                    equal = words[left] == words[right]
                    left, right = left + 1, right + 1
                if equal:
                    break
            at = (at + _ONE) & last
        if table[at]:
            sums[table[at] - 1] += weights[i]
        else:
            firsts[count], sums[count] = i, weights[i]
            count += 1
            table[at] = count
    return count


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
        self._columns = columns
        self._encoder = RowEncoder(columns.types)
        self._index = RowHashes(memory)
        self._kept_bits = upper_bits(hash_bits)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._index.nbytes

    def hashed(self, rows: pa.Table) -> HashedRows:
        """The rows as they are compared."""
        encoded = encode_table(self._encoder, rows, self._columns.names)
        hashes = np.empty(len(encoded), np.uint64)
        with np.errstate(over="ignore"):
            hash_rows(encoded.words, encoded.offsets, self._kept_bits, hashes)
        return HashedRows(encoded, hashes)

    def netted(self, given: HashedRows, weights: Longs) -> tuple[Longs, Longs]:
        """The first of each distinct row, and the sum of its weights, those of weight 0 left out."""
        room = len(weights)
        table = np.zeros(1 << (2 * room + 1).bit_length(), np.int64)
        firsts, sums = np.empty(room, np.int64), np.empty(room, np.int64)
        rows = (given.rows.words, given.rows.offsets, given.hashes)
        count = _net(*rows, np.array(weights, np.int64), table, firsts, sums)
        kept = np.flatnonzero(sums[:count])
        return firsts[kept], sums[kept]

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
        there = encode_table(self._encoder, stored(slots), self._columns.names)
        same = np.empty(len(pairs), np.bool_)
        _compare(given.rows.words, given.rows.offsets, at[pairs], there.words, there.offsets, same)
        taken, left = np.zeros(len(pairs), np.int64), needs.copy()
        held = weights[slots] if len(weights) else np.ones(len(slots), np.int64)
        _collect(pairs, same, held, left, taken)
        return pairs, slots, taken, left
