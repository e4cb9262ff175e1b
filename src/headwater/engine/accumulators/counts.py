"""Parts that count rows: count, bool_and, bool_or; and bit_xor, which counts modulo 2."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.accumulators.merging import add_counts, flip
from headwater.engine.accumulators.part import Batch, InRecord
from headwater.engine.accumulators.records import Taken, longs_in, longs_out, mask_in
from headwater.index.kernels import Longs, Mask, compiled
from headwater.sql.plan import Accumulator, Column


@compiled(types.void(longs_out, types.int64, types.int64, longs_in, mask_in, longs_in))
def add_weights(flat: Longs, width: int, offset: int, slots: Longs, valid: Mask, weights: Longs) -> None:
    """Adds each row's weight to a word of its slot, where `valid`."""
    everywhere = len(valid) == 0
    for row in range(len(slots)):
        if everywhere or valid[row]:
            flat[slots[row] * width + offset] += weights[row]


@compiled(types.void(longs_out, types.int64, types.int64, longs_in, longs_in, mask_in, longs_in))
def _flip(flat: Longs, width: int, offset: int, slots: Longs, values: Longs, valid: Mask, weights: Longs) -> None:
    """Counts rows in one word, and in the next flips the bits of the values of odd weight."""
    everywhere = len(valid) == 0
    for row in range(len(slots)):
        if everywhere or valid[row]:
            at = slots[row] * width + offset
            flat[at] += weights[row]
            if weights[row] & 1:
                flat[at + 1] ^= values[row]


class Counts(InRecord):
    """A part whose words are counts."""

    def merge(self, batch: Batch) -> None:
        """As `Mergeable` has it."""
        words, width, places, records = batch.given
        add_counts(words, width, self._offset, places, records, self.words)


class Rows(Counts):
    """count(*): the sum of the rows' weights. The first word of every record, for it tells whether a group is there."""

    def add(self, batch: Batch) -> None:
        add_weights(batch.flat, self._records.width, self._offset, batch.places, np.zeros(0, np.bool_), batch.weights)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        return _integers(taken[:, self._offset], column)


class Count(Counts):
    """count(x): rows in which the argument is not null; count(*) FILTER: those in which a condition is true, which is
    the argument then."""

    def __init__(self, argument: str, where: str) -> None:
        self._argument, self._where = argument, where

    def add(self, batch: Batch) -> None:
        valid = batch.true(self._where) if self._where else batch.valid(self._argument)
        add_weights(batch.flat, self._records.width, self._offset, batch.places, valid, batch.weights)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        return _integers(taken[:, self._offset], column)


class Truths(Counts):
    """bool_and and bool_or: rows in which the argument is true, and in which it is not null."""

    words = 2

    def __init__(self, argument: str) -> None:
        self._argument = argument

    def add(self, batch: Batch) -> None:
        at = self._offset
        for offset, rows in ((at, batch.valid(self._argument)), (at + 1, batch.true(self._argument))):
            add_weights(batch.flat, self._records.width, offset, batch.places, rows, batch.weights)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        known, true = taken[:, self._offset], taken[:, self._offset + 1]
        return pa.array(true == known if call.kind == "bool_and" else true > 0, mask=known <= 0)


class BitXor(InRecord):
    """bit_xor of integers of up to 64 bits."""

    words = 2

    def __init__(self, argument: str) -> None:
        self._argument = argument

    def add(self, batch: Batch) -> None:
        values = longs_of(batch.values(self._argument))
        valid = batch.valid(self._argument)
        _flip(batch.flat, self._records.width, self._offset, batch.places, values, valid, batch.weights)

    def merge(self, batch: Batch) -> None:
        """As `Mergeable` has it."""
        words, width, places, records = batch.given
        flip(words, width, self._offset, places, records)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        known, bits = taken[:, self._offset], taken[:, self._offset + 1]
        return pa.array(bits, mask=known <= 0).cast(column.arrow)


def longs_of(values: pa.Array) -> Longs:
    """The 64-bit values of a column as int64, read-only; anything where it is null."""
    return np.frombuffer(values.buffers()[1], np.int64, len(values) + values.offset)[values.offset :]


def _integers(numbers: Longs, column: Column) -> pa.Array:
    array = pa.array(np.ascontiguousarray(numbers))
    return array if column.arrow == array.type else array.cast(column.arrow)
