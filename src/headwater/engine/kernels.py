"""The compiled loops of the algebraic aggregates: exact sums in 128 bits, as two's complement in two 64-bit words."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.index.kernels import Longs, Mask, Words

_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@njit(cache=True, nogil=True)
def _high_product(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of the product of two unsigned 64-bit numbers."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _HALF, b & _LOW, b >> _HALF
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOW)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF)


@njit(cache=True, nogil=True)
def add_products(
    low: Words,
    high: Words,
    counts: Longs,
    slots: Longs,
    value_low: Words,
    value_high: Words,
    valid: Mask,
    weights: Longs,
) -> None:
    """Adds value * weight to the sum of each row's slot, and the weight to its count, where the value is not null."""
    for row in range(len(slots)):
        if not valid[row]:
            continue
        slot, weight = slots[row], weights[row]
        counts[slot] += weight
        times = np.uint64(abs(weight))
        add_low = value_low[row] * times
        add_high = value_high[row] * times + _high_product(value_low[row], times)
        if weight < 0:
            add_low = ~add_low + np.uint64(1)
            add_high = ~add_high + np.uint64(add_low == 0)
        total = low[slot] + add_low
        high[slot] += add_high + np.uint64(total < add_low)
        low[slot] = total


@njit(cache=True, nogil=True)
def add_weights(counts: Longs, slots: Longs, valid: Mask, weights: Longs) -> None:
    """Adds each row's weight to the count of its slot where `valid`."""
    for row in range(len(slots)):
        if valid[row]:
            counts[slots[row]] += weights[row]


@njit(cache=True, nogil=True)
def first_rows(slots: Longs, seen: Mask, firsts: Longs) -> int:
    """Writes the first row of each distinct slot into `firsts` and returns how many; `seen` is left all false."""
    found = 0
    for row in range(len(slots)):
        if not seen[slots[row]]:
            seen[slots[row]] = True
            firsts[found] = row
            found += 1
    for row in range(len(slots)):
        seen[slots[row]] = False
    return found


def words_of(values: NDArray[np.int64]) -> tuple[Words, Words]:
    """64-bit integers as the low and high words of 128-bit ones."""
    return values.view(np.uint64), (values >> 63).view(np.uint64)
