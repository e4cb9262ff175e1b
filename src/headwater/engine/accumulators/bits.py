"""bit_and and bit_or: in how many rows each bit is set, so that a row can go again."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.accumulators.counts import longs_of
from headwater.engine.accumulators.part import Batch, InRecord
from headwater.engine.accumulators.records import Taken, longs_in, longs_out, mask_in
from headwater.index.kernels import Longs, Mask, compiled
from headwater.sql.plan import Accumulator, Column


@compiled(types.void(longs_out, types.int64, types.int64, longs_in, longs_in, mask_in, longs_in, types.int64))
def _count_bits(
    flat: Longs, width: int, offset: int, slots: Longs, values: Longs, valid: Mask, weights: Longs, bits: int
) -> None:
    """Adds each row's weight to the count of its slot, and to those of the lowest `bits` that are set in its value."""
    everywhere = len(valid) == 0
    for row in range(len(slots)):
        if everywhere or valid[row]:
            at, left = slots[row] * width + offset, values[row]
            flat[at] += weights[row]
            for bit in range(bits):
                flat[at + 1 + bit] += weights[row] * ((left >> bit) & 1)


class Bits(InRecord):
    """A count of values that are not null, and one of each of their bits.

    Args:
        type_: the argument's Arrow type, an integer of up to 64 bits.
    """

    def __init__(self, argument: str, type_: pa.DataType) -> None:
        self._argument, self._bits = argument, int(type_.bit_width)
        self.words = 1 + self._bits

    def add(self, batch: Batch) -> None:
        given = batch.values(self._argument)
        values = longs_of(given.view(pa.int64()) if self._bits == 64 else given.cast(pa.int64()))
        valid = batch.valid(self._argument)
        at = (batch.flat, self._records.width, self._offset)
        _count_bits(*at, batch.places, values, valid, batch.weights, self._bits)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        known, counts = taken[:, self._offset], taken[:, self._offset + 1 : self._offset + 1 + self._bits]
        are_set = counts == known[:, None] if call.kind == "bit_and" else counts > 0
        places = np.uint64(1) << np.arange(self._bits, dtype=np.uint64)
        whole = np.where(are_set, places, np.uint64(0)).sum(axis=1, dtype=np.uint64)
        numbers = whole.astype(f"u{self._bits // 8}").view(column.arrow.to_pandas_dtype())
        return pa.array(numbers, mask=known <= 0)
