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
from headwater.index.key_index import group
from headwater.index.row_encoding import EncodedRows, RowEncoder, encode_table

_words, _longs, _mask = types.uint64[::1], types.int64[::1], types.boolean[::1]
_MOST = np.int64(1 << 62)


@dataclass(frozen=True)
class Found:
    """Where the weight that was looked for stands.

    Attributes:
        slots: slots of rows equal to those given, each once.
        taken: how much of each slot's weight is needed.
        hashes: each slot's hash.
        missing: which of the rows given are not there with enough weight.
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
        self._columns = columns
        self._encoder = RowEncoder(columns.types)
        self._index = RowHashes(memory)
        self._hash_bits = hash_bits

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._index.nbytes

    def hashes(self, rows: pa.Table) -> Words:
        """The rows' hashes."""
        return self._hashed(encode_table(self._encoder, rows, self._columns.names))

    def netted(self, rows: pa.Table, weights: Longs) -> tuple[pa.Table, Longs]:
        """Each distinct row once, with the sum of its weights, those of weight 0 left out."""
        numbers, firsts = group(rows, self._columns, hash_bits=self._hash_bits)
        net = np.zeros(len(firsts), np.int64)
        np.add.at(net, numbers, weights)
        kept = np.flatnonzero(net)
        if len(kept) == len(weights):
            return rows, weights
        return rows.take(pa.array(firsts[kept])), net[kept]

    def link(self, hashes: Words, slots: Longs, capacity: int) -> None:
        """See `RowHashes.link`."""
        self._index.link(hashes, slots, capacity)

    def unlink(self, hashes: Words, slots: Longs) -> None:
        """See `RowHashes.unlink`."""
        self._index.unlink(hashes, slots)

    def find(self, rows: pa.Table, needs: Longs, weights: Longs, stored: Callable[[Longs], pa.Table]) -> Found:
        """Finds rows, all distinct, of given weights.

        Args:
            rows: what to look for.
            needs: how much of each row's weight; positive.
            weights: weights by slot; empty: all are 1.
            stored: gives the rows of slots.
        """
        wanted = encode_table(self._encoder, rows, self._columns.names)
        hashes = self._hashed(wanted)
        pairs, slots, taken, left = self._matched(wanted, hashes, needs, needs, weights, stored)
        if left.any():
            # Some candidates were other rows of the same hash: those rows are looked for among all there are.
            again = left > 0
            everything = np.where(again, _MOST, 0)
            kept = ~again[pairs]
            more = self._matched(wanted, hashes, np.where(again, needs, 0), everything, weights, stored)
            pairs, slots, taken = (
                np.concatenate([old[kept], new]) for old, new in zip((pairs, slots, taken), more, strict=False)
            )
            left = more[3]
        used = taken > 0
        return Found(slots[used], taken[used], hashes[pairs[used]], np.flatnonzero(left))

    def _matched(
        self,
        wanted: EncodedRows,
        hashes: Words,
        needs: Longs,
        search: Longs,
        weights: Longs,
        stored: Callable[[Longs], pa.Table],
    ) -> tuple[Longs, Longs, Longs, Longs]:
        """Candidates of a total weight of `search` each: pairs of row and slot, what is taken from each, and what of
        `needs` is left to find."""
        rows, slots = self._index.candidates(hashes, search, weights)
        there = encode_table(self._encoder, stored(slots), self._columns.names)
        same = np.empty(len(rows), np.bool_)
        _compare(wanted.words, wanted.offsets, rows, there.words, there.offsets, same)
        taken, left = np.zeros(len(rows), np.int64), needs.copy()
        held = weights[slots] if len(weights) else np.ones(len(slots), np.int64)
        _collect(rows, same, held, left, taken)
        return rows, slots, taken, left

    def _hashed(self, rows: EncodedRows) -> Words:
        hashes = np.empty(len(rows), np.uint64)
        with np.errstate(over="ignore"):
            hash_rows(rows.words, rows.offsets, upper_bits(self._hash_bits), hashes)
        return hashes
