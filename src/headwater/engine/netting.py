"""Sums the weights of equal rows: what is left of a batch in which rows take each other back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import types

from headwater.index.kernels import Longs, Mask, Words, compiled, hash_rows, upper_bits
from headwater.index.row_encoding import EncodedRows, RowEncoder, encode_table

_words, _longs = types.uint64[::1], types.int64[::1]
_ONE, _HALF = np.uint64(1), np.uint64(32)


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


@compiled(types.void(_words, _longs, _words, types.int64, _longs, _longs, _longs, types.boolean[::1]))
def _pair(
    words: Words, offsets: Longs, hashes: Words, split: int, table: Longs, tops: Longs, below: Longs, paired: Mask
) -> None:
    """Marks the rows before `split` and those from it on that are equal, one to one.

    Args:
        words, offsets, hashes: the rows.
        table: zeros, more than twice as many as there are rows; a power of two.
        tops, below: zeros, by row: of a distinct row's first row the last of its fellows that has no partner yet, and
            of each such the next, + 1; 0 for none.
        paired: set to true for both of each pair.
    """
    last = np.uint64(len(table) - 1)
    for i in range(len(hashes)):
        at = (hashes[i] >> _HALF) & last
        while table[at]:
            first = table[at] - 1
            if hashes[first] == hashes[i]:
                left, right, end = offsets[first], offsets[i], offsets[i + 1]
                equal = offsets[first + 1] - left == end - right
                while equal and right < end:
                    equal = words[left] == words[right]
                    left, right = left + 1, right + 1
                if equal:
                    break
            at = (at + _ONE) & last
        if i < split:
            if not table[at]:
                table[at] = i + 1
            first = table[at] - 1
            below[i] = tops[first]
            tops[first] = i + 1
        elif table[at] and tops[table[at] - 1]:
            partner = tops[table[at] - 1] - 1
            tops[table[at] - 1] = below[partner]
            paired[partner] = paired[i] = True


class Netting:
    """Nets rows of one kind.

    Args:
        columns: what of rows is compared.
        hash_bits: less than 64 only to force collisions in tests.

    Raises:
        TypeError: a column's type cannot be compared.
    """

    def __init__(self, columns: pa.Schema, *, hash_bits: int = 64) -> None:
        self._names = columns.names
        self.encoder = RowEncoder(columns.types)
        self._kept_bits = upper_bits(hash_bits)

    def hashed(self, rows: pa.Table) -> HashedRows:
        """The rows as they are compared."""
        encoded = encode_table(self.encoder, rows, self._names)
        hashes = np.empty(len(encoded), np.uint64)
        hash_rows(encoded.words, encoded.offsets, self._kept_bits, hashes)
        return HashedRows(encoded, hashes)

    def paired(self, given: HashedRows, split: int) -> Mask:
        """Which rows before number `split` and which from there on are equal, one to one."""
        rows = len(given.hashes)
        table, paired = np.zeros(1 << (2 * rows + 1).bit_length(), np.int64), np.zeros(rows, np.bool_)
        tops, below = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        _pair(given.rows.words, given.rows.offsets, given.hashes, split, table, tops, below, paired)
        return paired

    def netted(self, given: HashedRows, weights: Longs) -> tuple[Longs, Longs]:
        """The first of each distinct row, and the sum of its weights, those of weight 0 left out."""
        room = len(weights)
        table = np.zeros(1 << (2 * room + 1).bit_length(), np.int64)
        firsts, sums = np.empty(room, np.int64), np.empty(room, np.int64)
        rows = (given.rows.words, given.rows.offsets, given.hashes)
        count = _net(*rows, np.array(weights, np.int64), table, firsts, sums)
        kept = np.flatnonzero(sums[:count])
        return firsts[kept], sums[kept]
