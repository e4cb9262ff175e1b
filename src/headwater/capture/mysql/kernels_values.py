"""Compiled conversion of values as they stand in row images to what Arrow holds, a column at once.

Formats: "Rows_event" and `log_event_print_value` in MySQL's source documentation; decimals as in `bin2decimal`.
Temporal types are in `kernels_temporal`.

Every loop takes `starts` int64 and `kinds` uint8 per row and leaves rows that have no value as they are (0).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.capture.mysql.kernels_events import Bytes, Integers, little_endian
from headwater.capture.mysql.kernels_rows import VALUE

Words = NDArray[np.uint64]

DIGITS_TO_BYTES = np.array([0, 1, 1, 2, 2, 3, 3, 4, 4, 4], np.int64)
"""Bytes of a decimal's group of so many digits (`dig2bytes`)."""

_POWERS = np.array([10**i for i in range(10)], np.int64)


@njit(cache=True, nogil=True)
def integers(buffer: Bytes, starts: Integers, kinds: Bytes, width: int, signed: bool, out: Integers) -> None:
    """Little-endian integers of `width` bytes; of 8 bytes unsigned ones as their two's complement."""
    shift = 64 - 8 * width
    for row in range(starts.size):
        if kinds[row] == VALUE:
            value = little_endian(buffer, starts[row], width)
            out[row] = (value << shift) >> shift if signed else value


@njit(cache=True, nogil=True)
def big_endian(buffer: Bytes, at: int, width: int) -> np.int64:
    """The unsigned integer of `width` bytes, high byte first."""
    value = np.int64(0)
    for i in range(width):
        value = (value << np.int64(8)) | np.int64(buffer[at + i])
    return value


@njit(cache=True, nogil=True)
def bits(buffer: Bytes, starts: Integers, lengths: Integers, kinds: Bytes, out: Integers) -> None:
    """BIT columns, high byte first."""
    for row in range(starts.size):
        if kinds[row] == VALUE:
            out[row] = big_endian(buffer, starts[row], lengths[row])


@njit(cache=True, nogil=True)
def _group(buffer: Bytes, at: int, width: int, begin: int, flip: int) -> np.int64:
    """A group of a decimal's digits: high byte first, the very first bit inverted, all of them if it is negative."""
    value = np.int64(0)
    for i in range(at, at + width):
        byte = np.int64(buffer[i])
        if i == begin:
            byte ^= 0x80
        value = (value << 8) | (byte ^ flip)
    return value


@njit(cache=True, nogil=True)
def _shift_in(limbs: Integers, factor: int, addend: int) -> None:
    """limbs (four of 32 bits, low first) = limbs * factor + addend."""
    carry = addend
    for i in range(4):
        value = limbs[i] * factor + carry
        limbs[i] = value & 0xFFFFFFFF
        carry = value >> 32


@njit(cache=True, nogil=True)
def decimals(buffer: Bytes, starts: Integers, kinds: Bytes, whole: int, scale: int, out: Words) -> int:
    """Decimals of up to 38 digits as 128-bit integers.

    Args:
        whole, scale: digits before and after the point.
        out: uint64 [row, 2], low word first.

    Returns:
        -1, or the first row with a group of more than its digits.
    """
    limbs = np.zeros(4, np.int64)
    for row in range(starts.size):
        if kinds[row] != VALUE:
            continue
        begin = starts[row]
        flip = 0 if buffer[begin] & 0x80 else 0xFF
        at = begin
        limbs[:] = 0
        for part in range(2):
            digits = whole if part == 0 else scale
            first = digits % 9 if part == 0 else 9
            left = digits
            while left > 0:
                size = first if part == 0 and first else min(9, left)
                first = 0
                width = DIGITS_TO_BYTES[size]
                value = _group(buffer, at, width, begin, flip)
                if value < 0 or value >= _POWERS[size]:
                    return row
                _shift_in(limbs, int(_POWERS[size]), int(value))
                at += width
                left -= size
        low = np.uint64(limbs[1]) << np.uint64(32) | np.uint64(limbs[0])
        high = np.uint64(limbs[3]) << np.uint64(32) | np.uint64(limbs[2])
        if flip:
            low = ~low + np.uint64(1)
            high = ~high + (np.uint64(1) if low == 0 else np.uint64(0))
        out[row, 0], out[row, 1] = low, high
    return -1


@njit(cache=True, nogil=True)
def _digits(buffer: Bytes, begin: int, whole: int, scale: int, digits: Bytes) -> bool:
    """All digits of a decimal, as ASCII; False if a group is of more than its digits."""
    flip = 0 if buffer[begin] & 0x80 else 0xFF
    at, count = begin, 0
    for part in range(2):
        left = whole if part == 0 else scale
        first = left % 9 if part == 0 else 0
        while left > 0:
            size = first if first else min(9, left)
            first = 0
            width = DIGITS_TO_BYTES[size]
            value = _group(buffer, at, width, begin, flip)
            if value < 0 or value >= _POWERS[size]:
                return False
            for i in range(size):
                digits[count + i] = 48 + value // _POWERS[size - 1 - i] % 10
            at += width
            count += size
            left -= size
    return True


@njit(cache=True, nogil=True)
def decimal_text(
    buffer: Bytes, starts: Integers, kinds: Bytes, whole: int, scale: int, out: Bytes, offsets: NDArray[np.int32]
) -> int:
    """Decimals as the server writes them: no zeros before the first digit, all digits after the point.

    Args:
        out: uint8, room for whole + scale + 3 a row.
        offsets: int32, one more than rows; filled.

    Returns:
        -1, or the first row with a group of more than its digits.
    """
    to = 0
    offsets[0] = 0
    digits = np.empty(whole + scale + 9, np.uint8)
    for row in range(starts.size):
        if kinds[row] == VALUE:
            if not _digits(buffer, starts[row], whole, scale, digits):
                return row
            if not buffer[starts[row]] & 0x80:
                out[to] = ord("-")
                to += 1
            skip = 0
            while skip < whole and digits[skip] == 48:
                skip += 1
            if skip == whole:
                out[to] = 48
                to += 1
            for i in range(skip, whole + scale):
                if i == whole:
                    out[to] = ord(".")
                    to += 1
                out[to] = digits[i]
                to += 1
        offsets[row + 1] = to
    return -1


@njit(cache=True, nogil=True)
def ewkb(data: Bytes, offsets: NDArray[np.int32], kinds: Bytes, out: Bytes, out_offsets: NDArray[np.int32]) -> int:
    """Geometries: the server's SRID (4 bytes) and WKB as WKB, or as EWKB with the SRID inside where it is not 0.

    Args:
        data, offsets: as they came.
        out: uint8, as many as `data`.
        out_offsets: int32, filled.

    Returns:
        -1, or the first row that is too short.
    """
    to = 0
    out_offsets[0] = 0
    for row in range(kinds.size):
        if kinds[row] == VALUE:
            at, end = int(offsets[row]), int(offsets[row + 1])
            if end - at < 9:
                return row
            srid = little_endian(data, at, 4)
            for i in range(5):
                out[to + i] = data[at + 4 + i]
            to += 5
            if srid:
                # The flag stands in the highest byte of the type, which is the last one in little endian.
                out[to - 1 if data[at + 4] == 1 else to - 4] |= 0x20
                for i in range(4):
                    out[to + i] = data[at + i] if data[at + 4] == 1 else data[at + 3 - i]
                to += 4
            for i in range(at + 9, end):
                out[to] = data[i]
                to += 1
        out_offsets[row + 1] = to
    return -1
