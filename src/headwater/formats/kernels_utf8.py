"""Compiled look for values that are not UTF-8."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.formats.json.kernels_text import Bytes, Longs, utf8_length


@njit(cache=True, nogil=True)
def mark_utf8(data: Bytes, starts: Longs, ends: Longs, good: NDArray[np.bool_]) -> None:
    """Fills `good`: whether each value is UTF-8."""
    for number in range(starts.size):
        at, end = starts[number], ends[number]
        good[number] = True
        while at < end:
            length = 1 if data[at] < 128 else utf8_length(data, at, end)
            if length == 0:
                good[number] = False
                break
            at += length
