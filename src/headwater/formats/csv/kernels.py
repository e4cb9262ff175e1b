"""Compiled splitting of lines into fields (RFC 4180, any delimiter and quotation mark of one byte)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]
Ints = NDArray[np.int32]

UNQUOTED, QUOTED, DOUBLED = 0, 1, 2
"""How a field is written: as it is; in quotation marks; with doubled ones inside."""

EMPTY, OPEN_QUOTE, AFTER_QUOTE, SECOND_LINE, TOO_MANY, TOO_FEW = 1, 2, 3, 4, 5, 6


@njit(cache=True, nogil=True)
def _bounds(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """A line without a byte order mark and its end."""
    if start + 3 <= end and data[start] == 0xEF and data[start + 1] == 0xBB and data[start + 2] == 0xBF:
        start += 3
    if start < end and data[end - 1] == 10:
        end -= 1
    if start < end and data[end - 1] == 13:
        end -= 1
    return start, end


@njit(cache=True, nogil=True)
def _field(data: Bytes, at: int, end: int, delimiter: int, quote: int) -> tuple[int, int, int, int]:
    """Reads a field; returns its first byte, the one past its last, how it is written, and the place after it."""
    if at >= end or data[at] != quote:
        begin = at
        while at < end and data[at] != delimiter:
            if data[at] == 10 or data[at] == 13:
                return -SECOND_LINE, 0, 0, 0
            at += 1
        return begin, at, UNQUOTED, at
    at += 1
    begin, kind = at, QUOTED
    while True:
        while at < end and data[at] != quote:
            at += 1
        if at >= end:
            return -OPEN_QUOTE, 0, 0, 0
        if at + 1 < end and data[at + 1] == quote:
            kind = DOUBLED
            at += 2
            continue
        if at + 1 < end and data[at + 1] != delimiter:
            return -AFTER_QUOTE, 0, 0, 0
        return begin, at, kind, at + 1


@njit(cache=True, nogil=True)
def count_fields(data: Bytes, starts: Longs, ends: Longs, delimiter: int, quote: int, counts: Longs) -> None:
    """Fills `counts`: the fields of each line, or the negated code of what is wrong; 0 for a null, which ends before it
    starts."""
    for number in range(starts.size):
        if ends[number] < starts[number]:
            counts[number] = 0
            continue
        at, end = _bounds(data, starts[number], ends[number])
        fields = 0
        if at == end:
            fields = -EMPTY
        while at <= end and fields >= 0:
            begin, _, _, at = _field(data, at, end, delimiter, quote)
            if begin < 0:
                fields = begin
                break
            fields += 1
            at += 1
        counts[number] = fields


@njit(cache=True, nogil=True)
def split(
    data: Bytes, starts: Longs, ends: Longs, delimiter: int, quote: int, begins: Longs, stops: Longs, kinds: Bytes
) -> None:
    """Finds the fields of good lines.

    Args:
        begins, stops, kinds: [field, line], filled.
    """
    for number in range(starts.size):
        at, end = _bounds(data, starts[number], ends[number])
        field = 0
        while at <= end:
            begin, stop, kind, at = _field(data, at, end, delimiter, quote)
            begins[field, number], stops[field, number], kinds[field, number] = begin, stop, kind
            field += 1
            at += 1


@njit(cache=True, nogil=True)
def gather(data: Bytes, begins: Longs, stops: Longs, kinds: Bytes, quote: int, offsets: Ints, out: Bytes) -> int:
    """Copies fields one after the other, doubled quotation marks made single; returns the bytes written."""
    to = 0
    offsets[0] = 0
    for number in range(begins.size):
        at = begins[number]
        while at < stops[number]:
            out[to] = data[at]
            to += 1
            at += 2 if kinds[number] == DOUBLED and data[at] == quote else 1
        offsets[number + 1] = to
    return int(to)
