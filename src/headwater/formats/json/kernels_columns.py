"""Compiled gathering of texts from JSON messages into one Arrow column."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.formats.json.kernels_text import Bytes, Longs, unescape

Ints = NDArray[np.int32]


@njit(cache=True, nogil=True)
def gather_texts(data: Bytes, starts: Longs, ends: Longs, escaped: Longs, offsets: Ints, out: Bytes) -> int:
    """Copies texts one after the other, escapes undone.

    Args:
        data: the messages.
        starts, ends, escaped: of each text, and whether it has escapes.
        offsets: int32, one more than there are texts; filled.
        out: room for all of them; filled.

    Returns:
        Bytes written.
    """
    to = 0
    offsets[0] = 0
    for number in range(starts.size):
        start, end = starts[number], ends[number]
        if escaped[number]:
            to = unescape(data, start, end, out, to)
        else:
            for place in range(start, end):
                out[to + place - start] = data[place]
            to += end - start
        offsets[number + 1] = to
    return int(to)
