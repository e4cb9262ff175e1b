"""sum and avg of integers and decimals: exact, in 128 bits, as two's complement in two 64-bit words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.accumulators.counts import longs_of
from headwater.engine.accumulators.merging import add_sums
from headwater.engine.accumulators.part import Batch, InRecord
from headwater.engine.accumulators.records import Taken, longs_in, mask_in, words_out
from headwater.index.kernels import Longs, Mask, Words, compiled, inlined
from headwater.sql.plan import Accumulator, Column

_TWO_64 = np.longdouble(2) ** 64
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_words_in = types.Array(types.uint64, 1, "C", readonly=True)


@inlined
def high_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of the product of two unsigned 64-bit numbers."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF)


@inlined
def _add_product(words: Words, at: int, low: np.uint64, high: np.uint64, weight: int) -> None:
    """Adds a weight to the count at `at`, and weight times a 128-bit value to the sum behind it."""
    words[at] += np.uint64(weight)
    times = np.uint64(abs(weight))
    add_low = low * times
    add_high = high * times + high_product(low, times)
    if weight < 0:
        add_low = ~add_low + _ONE
        add_high = ~add_high + np.uint64(add_low == 0)
    total = words[at + 1] + add_low
    words[at + 2] += add_high + np.uint64(total < add_low)
    words[at + 1] = total


@compiled(types.void(words_out, types.int64, types.int64, longs_in, longs_in, mask_in, longs_in))
def _add_longs(words: Words, width: int, offset: int, slots: Longs, values: Longs, valid: Mask, weights: Longs) -> None:
    """Adds value times weight to the sum of each row's slot, and the weight to its count, where `valid`."""
    everywhere = len(valid) == 0
    for row in range(len(slots)):
        if everywhere or valid[row]:
            at, value, weight = slots[row] * width + offset, values[row], weights[row]
            if weight == 1:
                low = np.uint64(value)
                words[at] += _ONE
                total = words[at + 1] + low
                words[at + 2] += np.uint64(value >> 63) + np.uint64(total < low)
                words[at + 1] = total
            else:
                _add_product(words, at, np.uint64(value), np.uint64(value >> 63), weight)


@compiled(types.void(words_out, types.int64, types.int64, longs_in, _words_in, mask_in, longs_in))
def _add_pairs(words: Words, width: int, offset: int, slots: Longs, values: Words, valid: Mask, weights: Longs) -> None:
    """As `_add_longs`, of 128-bit values, the low word first."""
    everywhere = len(valid) == 0
    for row in range(len(slots)):
        if everywhere or valid[row]:
            at = slots[row] * width + offset
            _add_product(words, at, values[2 * row], values[2 * row + 1], weights[row])


class ExactSum(InRecord):
    """A count of values that are not null, and their sum. The argument is int64 or decimal128."""

    words = 3

    def __init__(self, argument: str) -> None:
        self._argument = argument

    def add(self, batch: Batch) -> None:
        values, valid = batch.values(self._argument), batch.valid(self._argument)
        at = (batch.words, self._records.width, self._offset, batch.places)
        if pa.types.is_decimal128(values.type):
            _add_pairs(*at, pairs_of(values), valid, batch.weights)
        else:
            _add_longs(*at, longs_of(values), valid, batch.weights)

    def merge(self, batch: Batch) -> None:
        """As `Mergeable` has it."""
        words, width, places, records = batch.given
        add_sums(words, width, self._offset, places, records)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        counts = taken[:, self._offset]
        sums = np.ascontiguousarray(taken[:, self._offset + 1 : self._offset + 3]).view(np.uint64)
        if call.kind == "sum":
            bits = None if (counts > 0).all() else pa.py_buffer(np.packbits(counts > 0, bitorder="little"))
            return pa.Array.from_buffers(column.arrow, len(counts), [bits, pa.py_buffer(sums)])
        return _averages(sums[:, 0], sums[:, 1], counts, call.scale)


def pairs_of(values: pa.Array) -> Words:
    """The words of a decimal128 column, two per value, the low one first; anything where it is null."""
    return np.frombuffer(values.buffers()[1], np.uint64)[2 * values.offset : 2 * (values.offset + len(values))]


def _averages(low: Words, high: Words, counts: Longs, scale: int) -> pa.Array:
    """As DuckDB divides: the 128-bit sum as a long double by the count times the power of ten."""
    whole = low.view(np.int64)
    if ((whole >> 63) == high.view(np.int64)).all():
        sums = whole.astype(np.longdouble)
    else:
        negative = high.view(np.int64) < 0
        size_low = np.where(negative, ~low + _ONE, low)
        size_high = np.where(negative, ~high + (size_low == 0).astype(np.uint64), high)
        sizes = size_low.astype(np.longdouble) + size_high.astype(np.longdouble) * _TWO_64
        sums = np.where(negative, -sizes, sizes)
    divisors = np.maximum(counts, 1).astype(np.longdouble)
    if scale:
        divisors *= np.longdouble(10) ** scale
    return pa.array((sums / divisors).astype(np.float64), mask=counts <= 0)
