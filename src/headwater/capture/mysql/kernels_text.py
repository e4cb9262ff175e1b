"""Compiled conversion of text in MySQL's character sets to UTF-8, a whole column at once."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int32]
Codes = NDArray[np.uint32]

NONE = 0xFFFFFFFF
"""In a table: no character, the server shows a question mark."""
LEAD = 0xFFFFFFFE
"""In the table of single bytes: the first of two."""
LEAD_OF_THREE = 0xFFFFFFFD
"""In the table of single bytes: the first of three."""

TABLE, UTF16_BE, UTF16_LE, UTF32_BE = 0, 1, 2, 3
_QUESTION_MARK = 63


@njit(cache=True, nogil=True)
def _put(code: int, out: Bytes, at: int) -> int:
    """Writes a character as UTF-8; returns the offset after it."""
    if code < 0x80:
        out[at] = code
        return at + 1
    if code < 0x800:
        out[at] = 0xC0 | code >> 6
        out[at + 1] = 0x80 | code & 0x3F
        return at + 2
    if code < 0x10000:
        out[at] = 0xE0 | code >> 12
        out[at + 1] = 0x80 | code >> 6 & 0x3F
        out[at + 2] = 0x80 | code & 0x3F
        return at + 3
    out[at] = 0xF0 | code >> 18
    out[at + 1] = 0x80 | code >> 12 & 0x3F
    out[at + 2] = 0x80 | code >> 6 & 0x3F
    out[at + 3] = 0x80 | code & 0x3F
    return at + 4


@njit(cache=True, nogil=True)
def _unit(data: Bytes, at: int, kind: int) -> int:
    """The 16 or 32 bits at `at`."""
    if kind == UTF32_BE:
        high = np.int64(data[at]) << 8 | np.int64(data[at + 1])
        return int(high << 16 | np.int64(data[at + 2]) << 8 | np.int64(data[at + 3]))
    first, second = np.int64(data[at]), np.int64(data[at + 1])
    return int(second << 8 | first) if kind == UTF16_LE else int(first << 8 | second)


@njit(cache=True, nogil=True)
def _by_table(data: Bytes, begin: int, end: int, one: Codes, two: Codes, three: Codes, out: Bytes, to: int) -> int:
    at = begin
    while at < end:
        code = int(np.int64(one[data[at]]))
        if code in (LEAD, LEAD_OF_THREE):
            width = 2 if code == LEAD else 3
            code = NONE
            if at + width <= end:
                low = _unit(data, at + width - 2, UTF16_BE)
                code = int(np.int64(two[low])) if width == 2 else int(np.int64(three[low]))
            at += width
        else:
            at += 1
        to = _put(_QUESTION_MARK if code == NONE else code, out, to)
    return to


@njit(cache=True, nogil=True)
def _wide(data: Bytes, begin: int, end: int, kind: int, out: Bytes, to: int) -> int:
    width = 4 if kind == UTF32_BE else 2
    at = begin
    while at + width <= end:
        code = _unit(data, at, kind)
        at += width
        if 0xD800 <= code < 0xDC00 and width == 2 and at + 2 <= end:
            low = _unit(data, at, kind)
            if 0xDC00 <= low < 0xE000:
                code = 0x10000 + (code - 0xD800 << 10) + (low - 0xDC00)
                at += 2
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            code = _QUESTION_MARK
        to = _put(code, out, to)
    if at < end:
        to = _put(_QUESTION_MARK, out, to)
    return to


@njit(cache=True, nogil=True)
def transcode(
    data: Bytes, offsets: Offsets, kind: int, one: Codes, two: Codes, three: Codes, out: Bytes, out_offsets: Offsets
) -> int:
    """Converts every value of a column to UTF-8.

    Args:
        data, offsets: uint8 and int32 of an Arrow binary array, offsets from 0.
        kind: TABLE or one of the wide ones.
        one: uint32[256], what a byte stands for, or LEAD, LEAD_OF_THREE, NONE.
        two, three: uint32[65536], what the last two bytes after such a lead stand for (`two`: lead included).
        out: uint8, room for 3 * data.size.
        out_offsets: int32, offsets.size; filled.

    Returns:
        Bytes written.
    """
    to = 0
    out_offsets[0] = 0
    for row in range(offsets.size - 1):
        begin, end = offsets[row], offsets[row + 1]
        if kind == TABLE:
            to = _by_table(data, begin, end, one, two, three, out, to)
        else:
            to = _wide(data, begin, end, kind, out, to)
        out_offsets[row + 1] = to
    return to
