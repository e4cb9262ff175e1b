"""Compiled loops over the bytes of a file."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Longs = NDArray[np.int64]

_NEWLINE, _RETURN = 10, 13


@njit(cache=True, nogil=True)
def line_ends(data: Bytes) -> Longs:
    """Where the newlines stand."""
    count = 0
    for at in range(data.size):
        count += data[at] == _NEWLINE
    ends = np.empty(count, np.int64)
    count = 0
    for at in range(data.size):
        if data[at] == _NEWLINE:
            ends[count] = at
            count += 1
    return ends


@njit(cache=True, nogil=True)
def csv_ends(data: Bytes, delimiter: int, quote: int) -> Longs:
    """Where the newlines stand that end a record of CSV: those outside of quotes. A quote opens only where a field
    begins, so one that stands in the middle of a field is a character like others."""
    ends = np.empty(16, np.int64)
    count, quoted, fresh, at = 0, False, True, 0
    while at < data.size:
        byte = data[at]
        if quoted:
            if byte == quote:
                if at + 1 < data.size and data[at + 1] == quote:
                    at += 1
                else:
                    quoted = False
        elif byte == _NEWLINE:
            if count == ends.size:
                more = np.empty(2 * count, np.int64)
                more[:count] = ends
                ends = more
            ends[count] = at
            count += 1
            fresh = True
        elif byte == quote and fresh:
            quoted, fresh = True, False
        else:
            fresh = byte == delimiter
        at += 1
    return ends[:count]


@njit(cache=True, nogil=True)
def without_returns(data: Bytes, starts: Longs, ends: Longs) -> None:
    """Takes a carriage return at the end of a part off it."""
    for i in range(starts.size):
        if ends[i] > starts[i] and data[ends[i] - 1] == _RETURN:
            ends[i] -= 1


@njit(cache=True, nogil=True)
def gather(data: Bytes, starts: Longs, ends: Longs, out: Bytes, offsets: NDArray[np.int32]) -> None:
    """Copies parts of `data` one behind the other, and says where each begins."""
    place = 0
    for i in range(starts.size):
        offsets[i] = place
        for at in range(starts[i], ends[i]):
            out[place] = data[at]
            place += 1
    offsets[starts.size] = place
