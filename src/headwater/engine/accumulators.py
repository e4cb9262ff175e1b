"""Columns of accumulators addressed by slot, and the Arrow columns that they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from headwater.engine import kernels
from headwater.engine.delta import weights
from headwater.index.kernels import Longs, Mask, Words
from headwater.index.key_index import grown
from headwater.sql.plan import Accumulator, Column

Taken = dict[str, Longs]
"""Accumulators of some slots, by column name; sums as the bits of their words."""

_TWO_64 = np.longdouble(2) ** 64


class Accumulators:
    """Per slot the sum of weights (`rows`), and per aggregate a count of non-null values and a 128-bit sum.

    Args:
        accumulators: what to keep.
    """

    def __init__(self, accumulators: Sequence[Accumulator]) -> None:
        self._kept = [(str(i), kept) for i, kept in enumerate(accumulators) if kept.kind != "rows"]
        names = ["rows"]
        for number, kept in self._kept:
            words = [] if kept.kind == "count" else ["low", "high"]
            names += [f"{word}{number}" for word in ("count", *words)]
        self._arrays: dict[str, Longs] = {name: np.zeros(0, np.int64) for name in names}

    @property
    def rows(self) -> Longs:
        """The sum of weights per slot."""
        return self._arrays["rows"]

    def make_room(self, slots: int) -> None:
        """Sees to it that slots below `slots` can be used."""
        self._arrays = {name: grown(array, slots) for name, array in self._arrays.items()}

    def add(self, delta: pa.Table, slots: Longs) -> None:
        """Adds each row of a delta to its slot."""
        given = weights(delta)
        kernels.add_weights(self.rows, slots, np.ones(len(slots), np.bool_), given)
        for number, kept in self._kept:
            values = delta.column(kept.argument).combine_chunks()
            valid = values.is_valid().to_numpy(zero_copy_only=False)
            count = self._arrays[f"count{number}"]
            if kept.kind == "count":
                kernels.add_weights(count, slots, valid, given)
            else:
                low, high = (self._arrays[f"{word}{number}"].view(np.uint64) for word in ("low", "high"))
                kernels.add_products(low, high, count, slots, *_words(values), valid, given)

    def take(self, slots: Longs) -> Taken:
        """A copy of the accumulators of these slots."""
        return {name: array[slots] for name, array in self._arrays.items()}

    def put(self, slots: Longs, taken: Mapping[str, Longs]) -> None:
        """Writes accumulators back."""
        for name, array in self._arrays.items():
            array[slots] = taken[name]

    def clear(self, slots: Longs) -> None:
        """Zeroes slots, so that they can be given out again."""
        for array in self._arrays.values():
            array[slots] = 0


def differing(one: Taken, other: Taken) -> Mask:
    """Where two takes differ."""
    mask = np.zeros(len(one["rows"]), np.bool_)
    for name, array in one.items():
        mask |= array != other[name]
    return mask


def shown(taken: Taken, at: Longs, accumulators: Sequence[Accumulator], columns: Sequence[Column]) -> list[pa.Array]:
    """The result columns of the taken slots numbered `at`."""
    return [
        _column(taken, at, i, kept, column) for i, (kept, column) in enumerate(zip(accumulators, columns, strict=True))
    ]


def _column(taken: Taken, at: Longs, number: int, kept: Accumulator, column: Column) -> pa.Array:
    if kept.kind == "rows":
        return pa.array(taken["rows"][at])
    counts = taken[f"count{number}"][at]
    if kept.kind == "count":
        return pa.array(counts)
    low, high = (np.ascontiguousarray(taken[f"{word}{number}"][at]).view(np.uint64) for word in ("low", "high"))
    if kept.kind == "sum":
        return _decimals(low, high, counts > 0, column.arrow)
    return _averages(low, high, counts, kept.scale)


def _words(values: pa.Array) -> tuple[Words, Words]:
    """Low and high words of an int64 or decimal128 column; anything where it is null."""
    if pa.types.is_decimal128(values.type):
        words = np.frombuffer(values.buffers()[1], np.uint64)[2 * values.offset : 2 * (values.offset + len(values))]
        return np.ascontiguousarray(words[::2]), np.ascontiguousarray(words[1::2])
    plain = np.frombuffer(values.buffers()[1], np.int64)[values.offset : values.offset + len(values)]
    return kernels.words_of(np.ascontiguousarray(plain))


def _decimals(low: Words, high: Words, valid: Mask, type_: pa.DataType) -> pa.Array:
    words = np.empty(2 * len(low), np.uint64)
    words[::2], words[1::2] = low, high
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(type_, len(low), [bits, pa.py_buffer(words)])


def _averages(low: Words, high: Words, counts: Longs, scale: int) -> pa.Array:
    """As DuckDB divides: the 128-bit sum as a long double by the count times the power of ten."""
    negative = high.view(np.int64) < 0
    size_low = np.where(negative, ~low + np.uint64(1), low)
    size_high = np.where(negative, ~high + (size_low == 0).astype(np.uint64), high)
    sizes = size_low.astype(np.longdouble) + size_high.astype(np.longdouble) * _TWO_64
    sums = np.where(negative, -sizes, sizes)
    divisors = np.maximum(counts, 1).astype(np.longdouble) * np.longdouble(10) ** scale
    return pa.array((sums / divisors).astype(np.float64), mask=counts <= 0)
