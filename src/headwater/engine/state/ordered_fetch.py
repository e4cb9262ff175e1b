"""Fetches the ways through `OrderedRows` ahead, so that inserting and removing finds them in the processor's cache.

One entry's way is a chain of misses, each of which must be answered before the next is known. Here the ways of all
entries of a batch go on together, a level at a time and without a branch that hangs on what was read, so that the
processor waits for many of them at once. Nothing is changed and a way may be wrong: only what comes after is exact.
"""

from __future__ import annotations

import numpy as np
from numba import types

from headwater.engine.state.ordered_kernels import LEFT, ORDER, PARENT, RIGHT, Ints
from headwater.index.kernels import Longs, Words, compiled

_ints, _longs, _words = types.int32[::1], types.int64[::1], types.uint64[::1]


@compiled(types.int64(_ints, _words, _ints, types.int64, _longs, _longs))
def fetch_down(links: Ints, words: Words, roots: Ints, stride: int, groups: Longs, entries: Longs) -> int:
    """Walks from the roots to where entries, whose order words stand in their nodes, will be inserted, as their first
    words tell. Returns the number of visits, which keeps the compiler from leaving the walk out."""
    wide, visits, under_way = 2 * stride, 0, len(entries)
    at = np.empty(len(entries), np.int64)
    for i in range(len(entries)):
        at[i] = roots[groups[i]]
    while under_way:
        under_way = 0
        for i in range(len(entries)):
            link = at[i]
            if link:
                before = words[entries[i] * stride + ORDER] < words[(link - 1) * stride + ORDER]
                at[i] = links[(link - 1) * wide + (LEFT if before else RIGHT)]
                under_way += 1
        visits += under_way
    return visits


@compiled(types.int64(_ints, types.int64, _longs))
def fetch_up(links: Ints, stride: int, entries: Longs) -> int:
    """Walks from entries that are there to their roots. Returns the number of visits."""
    wide, visits, under_way = 2 * stride, 0, len(entries)
    at = entries + 1
    while under_way:
        under_way = 0
        for i in range(len(entries)):
            link = at[i]
            if link > 0:
                at[i] = links[(link - 1) * wide + PARENT]
                under_way += 1
        visits += under_way
    return visits
