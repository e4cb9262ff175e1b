"""sum and avg of numbers of more than 64 bits: exact in 192 bits, out of range where the 128 of DuckDB are too few."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.accumulators.part import Batch
from headwater.engine.accumulators.records import Taken, longs_in, mask_in, words_out
from headwater.engine.accumulators.sums import ExactSum, high_product, pairs_of
from headwater.errors import SqlError
from headwater.index.kernels import Longs, Mask, Words, compiled, inlined
from headwater.sql.plan import Accumulator, Column

_ONE = np.uint64(1)
_words_in = types.Array(types.uint64, 1, "C", readonly=True)
_MOST_SURE_DIGITS = 19
"""2^63 numbers of so many digits sum to less than 2^127."""


def may_overflow(kind: pa.DataType) -> bool:
    """Whether the sum of a column of this type may not fit in 128 bits."""
    return bool(pa.types.is_decimal128(kind) and kind.precision > _MOST_SURE_DIGITS)


@inlined
def _add_wide(words: Words, at: int, first: np.uint64, second: np.uint64, third: np.uint64) -> None:
    """Adds a number of 192 bits, low word first."""
    total = words[at] + first
    carry = np.uint64(total < first)
    words[at] = total
    total = words[at + 1] + second
    more = np.uint64(total < second)
    words[at + 1] = total + carry
    more += np.uint64(words[at + 1] < total)
    words[at + 2] += third + more


@compiled(types.void(words_out, types.int64, types.int64, longs_in, _words_in, mask_in, longs_in))
def _add_pairs(words: Words, width: int, offset: int, slots: Longs, values: Words, valid: Mask, weights: Longs) -> None:
    """Adds value times weight, of 128-bit values, low word first, to the sum of 192 bits behind each slot's count."""
    everywhere = len(valid) == 0
    for row in range(len(slots)):
        if everywhere or valid[row]:
            at, weight = slots[row] * width + offset, weights[row]
            low, high = values[2 * row], values[2 * row + 1]
            times, sign = np.uint64(abs(weight)), np.uint64(np.int64(high) >> 63)
            first = low * times
            carried, middle = high_product(low, times), high * times
            second = middle + carried
            third = high_product(high, times) + sign * times + np.uint64(second < middle)
            if weight < 0:
                first = ~first + _ONE
                second = ~second + np.uint64(first == 0)
                third = ~third + np.uint64(first == 0 and second == 0)
            words[at] += np.uint64(weight)
            _add_wide(words, at + 1, first, second, third)


@compiled(types.void(words_out, types.int64, types.int64, longs_in, _words_in))
def _add_records(words: Words, width: int, offset: int, places: Longs, records: Words) -> None:
    """Adds counts, and behind them sums of 192 bits."""
    for row in range(len(places)):
        at, given = places[row] * width + offset, row * width + offset
        words[at] += records[given]
        _add_wide(words, at + 1, records[given + 1], records[given + 2], records[given + 3])


class WideSum(ExactSum):
    """As `ExactSum`, of decimals of many digits (HUGEINT among them), with a third word."""

    words = 4

    def add(self, batch: Batch) -> None:
        values, valid = batch.values(self._argument), batch.valid(self._argument)
        at = (batch.words, self._records.width, self._offset, batch.places)
        _add_pairs(*at, pairs_of(values), valid, batch.weights)

    def merge(self, batch: Batch) -> None:
        words, width, places, records = batch.given
        _add_records(words, width, self._offset, places, records)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        high, top = taken[:, self._offset + 2], taken[:, self._offset + 3]
        if (top != high >> 63).any():
            hint = "divide or cast the argument: sum(x::DOUBLE) has a wider range"
            raise SqlError(f"{call.kind} is out of range: the sum of a group does not fit in 128 bits", hint=hint)
        return super().shown(call, column, taken, slots)
