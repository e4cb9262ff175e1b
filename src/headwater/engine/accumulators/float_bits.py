"""Exact arithmetic on floats as integers in bins, after R. Neal, "Fast exact summation using small and large
superaccumulators" (2015): a finite double is a 53-bit integer times a power of two; doubles whose last bits are of
like exponent are added up in one wide integer, and the total is rounded once.

A bin is 192 bits in two's complement, three words, the lowest first. Bin b holds integers times 2^(64 b - 1096), from
doubles whose last bit is worth that, up to 63 places more: with 117 bits to a product's start, 74 are left for carries.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from headwater.engine.accumulators.records import longs_in, mask_in, words_out
from headwater.engine.accumulators.sums import high_product
from headwater.index.kernels import Longs, Mask, Words, compiled, inlined

HOME = 16
"""The bin of doubles from 2^-20 to 2^44 in size, which every record has."""

BINS = 33
NAN, PLUS, MINUS = 33, 34, 35
"""What stands for a bin's number where values are counted apart."""

CODES = 36
"""How many bins and counts there may be."""

BIN_WORDS = 3
ALL_WORDS = BINS + BIN_WORDS
"""Words of an integer that holds the sum of all bins, in units of bin 0."""

_LEAST = -1096
_ONE = np.uint64(1)
_MANTISSA = np.int64(0xFFFFFFFFFFFFF)
_EXPONENT = 0x7FF


@inlined
def _bin_of(bits: int) -> int:
    """The bin of a double's bits; `NAN`, `PLUS` or `MINUS` if it is not finite."""
    exponent = (bits >> 52) & _EXPONENT
    if exponent == _EXPONENT:
        found = NAN if bits & _MANTISSA else (MINUS if bits < 0 else PLUS)
    else:
        found = (max(exponent, 1) + 21) >> 6
    return found


@inlined
def _add_to_bin(words: Words, at: int, bits: int, weight: int) -> None:
    """Adds weight times a finite double to the bin at `at`."""
    exponent = (bits >> 52) & _EXPONENT
    mantissa = np.uint64(bits & _MANTISSA)
    if exponent:
        mantissa |= np.uint64(1 << 52)
    shift = np.uint64((max(exponent, 1) + 21) & 63)
    low = mantissa << shift
    middle = (mantissa >> np.uint64(1)) >> (np.uint64(63) - shift)
    high = np.uint64(0)
    if weight != 1 and weight != -1:
        times = np.uint64(abs(weight))
        over = high_product(low, times)
        high = high_product(middle, times)
        low = low * times
        middle = middle * times + over
        high += np.uint64(middle < over)
    if (weight < 0) != (bits < 0):
        low, middle, high = ~low + _ONE, ~middle, ~high
        if low == 0:
            middle += _ONE
            high += np.uint64(middle == 0)
    total = words[at] + low
    carry = np.uint64(total < low)
    words[at] = total
    total = words[at + 1] + middle
    over = np.uint64(total < middle)
    words[at + 1] = total + carry
    words[at + 2] += high + over + np.uint64(words[at + 1] < carry)


@compiled(types.int64(words_out, types.int64, types.int64, longs_in, longs_in, mask_in, longs_in, types.int64[::1]))
def add_home(
    words: Words, width: int, offset: int, slots: Longs, values: Longs, valid: Mask, weights: Longs, others: Longs
) -> int:
    """Counts values, and adds those of the home bin to it; writes the other rows to `others`, and returns how many."""
    everywhere = len(valid) == 0
    found = 0
    for row in range(len(slots)):
        if everywhere or valid[row]:
            at, bits, weight = slots[row] * width + offset, values[row], weights[row]
            words[at] += np.uint64(weight)
            if bits & 0x7FFFFFFFFFFFFFFF == 0:
                continue
            if _bin_of(bits) == HOME:
                _add_to_bin(words, at + 2, bits, weight)
            else:
                others[found] = row
                found += 1
    return found


@compiled(types.void(longs_in, longs_in, longs_in, types.int64[::1]))
def bins_of(slots: Longs, values: Longs, rows: Longs, keys: Longs) -> None:
    """For each of `rows`, the slot times `CODES` and its value's bin."""
    for i in range(len(rows)):
        keys[i] = slots[rows[i]] * CODES + _bin_of(values[rows[i]])


@compiled(types.void(words_out, longs_in, longs_in, longs_in, longs_in))
def add_others(words: Words, bins: Longs, values: Longs, rows: Longs, weights: Longs) -> None:
    """Adds the values of `rows` to bins given beside them; values that are not finite are counted."""
    for i in range(len(rows)):
        bits, weight = values[rows[i]], weights[rows[i]]
        if _bin_of(bits) < BINS:
            _add_to_bin(words, bins[i] * BIN_WORDS, bits, weight)
        else:
            words[bins[i] * BIN_WORDS] += np.uint64(weight)


@inlined
def _spread(words: Words, at: int, total: Words, number: int) -> None:
    """Adds a bin to an integer of `ALL_WORDS` words."""
    carry = np.uint64(0)
    sign = np.uint64(np.int64(words[at + 2]) >> 63)
    for i in range(number, len(total)):
        part = words[at + i - number] if i - number < BIN_WORDS else sign
        with_carry = part + carry
        over = np.uint64(with_carry < carry)
        total[i] += with_carry
        carry = over + np.uint64(total[i] < with_carry)


@njit(cache=True, nogil=True)
def _rounded(words: Words, first: int, size: int, least: int) -> float:
    """The double nearest to an integer in two's complement of words `first` on, times 2^least, ties to even; overwrites
    the integer."""
    negative = words[first + size - 1] >> np.uint64(63) != 0
    if negative:
        carry = _ONE
        for i in range(first, first + size):
            words[i] = ~words[i] + carry
            carry = np.uint64(carry and words[i] == 0)
    top = first + size - 1
    while top >= first and words[top] == 0:
        top -= 1
    if top < first:
        return 0.0
    shift = np.uint64(0)
    while words[top] << shift >> np.uint64(63) == 0:
        shift += _ONE
    below = words[top - 1] if top > first else np.uint64(0)
    head = words[top] << shift | (below >> _ONE) >> (np.uint64(63) - shift)
    rest = below << shift
    for i in range(first, top - 1):
        rest |= words[i]
    mantissa, half = head >> np.uint64(11), head & np.uint64(0x7FF)
    if half > 0x400 or (half == 0x400 and (rest != 0 or mantissa & _ONE)):
        mantissa += _ONE
    power = least + 64 * (top - first) + 11 - np.int64(shift)
    if power > 1023 - 52 or (power == 1023 - 52 and mantissa >> np.uint64(53)):
        return -math.inf if negative else math.inf
    value = math.ldexp(np.float64(mantissa), int(power))
    return -value if negative else value


@compiled(types.void(words_out, types.float64[::1]))
def rounded_home(homes: Words, out: NDArray[np.float64]) -> None:
    """Rounds home bins, which follow each other; overwrites them."""
    for i in range(len(out)):
        out[i] = _rounded(homes, i * BIN_WORDS, BIN_WORDS, _LEAST + 64 * HOME)


@compiled(types.void(types.Array(types.uint64, 2, "C"), words_out, types.int64[:, ::1], types.float64[::1]))
def rounded_all(homes: NDArray[np.uint64], words: Words, bins: NDArray[np.int64], out: NDArray[np.float64]) -> None:
    """Rounded sums of the bins of groups, one group per row: its home bin, and where its others stand (-1: nowhere).
    Values that are not finite win over all others."""
    total = np.empty(ALL_WORDS, np.uint64)
    for row in range(len(out)):
        total[:] = 0
        _spread(homes[row], 0, total, HOME)
        for number in range(BINS):
            if bins[row, number] >= 0:
                _spread(words, bins[row, number] * BIN_WORDS, total, number)
        nan, plus, minus = bins[row, NAN] >= 0, bins[row, PLUS] >= 0, bins[row, MINUS] >= 0
        if nan or (plus and minus):
            out[row] = math.nan
        elif plus or minus:
            out[row] = math.inf if plus else -math.inf
        else:
            out[row] = _rounded(total, 0, ALL_WORDS, _LEAST)


@compiled(types.void(words_out, words_out, longs_in, types.int64[:, ::1], types.float64[::1], types.float64[::1]))
def paired(
    homes: Words, words: Words, which: Longs, bins: NDArray[np.int64], high: NDArray[np.float64],
    low: NDArray[np.float64],
) -> None:  # fmt: skip
    """Sums as two doubles: the sum rounded, and what that leaves, rounded. Where the first is not finite, the second
    is 0.

    `homes` are the home bins of groups, `which` the row of `bins` that says where a group's others stand, -1 for none.
    """
    total, copy, part = np.empty(ALL_WORDS, np.uint64), np.empty(ALL_WORDS, np.uint64), np.empty(BIN_WORDS, np.uint64)
    for row in range(len(which)):
        total[:] = 0
        part[:] = homes[row * BIN_WORDS : (row + 1) * BIN_WORDS]
        _spread(part, 0, total, HOME)
        special = 0.0
        if which[row] >= 0:
            at = bins[which[row]]
            for number in range(BINS):
                if at[number] >= 0:
                    _spread(words, at[number] * BIN_WORDS, total, number)
            special += math.nan if at[NAN] >= 0 else 0.0
            special += math.inf if at[PLUS] >= 0 else 0.0
            special -= math.inf if at[MINUS] >= 0 else 0.0
        copy[:] = total
        high[row] = special if special != 0.0 else _rounded(copy, 0, ALL_WORDS, _LEAST)
        low[row] = 0.0
        if math.isfinite(high[row]) and high[row] != 0.0:
            bits = high[row : row + 1].view(np.int64)[0]
            part[:] = 0
            _add_to_bin(part, 0, bits, -1)
            _spread(part, 0, total, _bin_of(bits))
            low[row] = _rounded(total, 0, ALL_WORDS, _LEAST)
