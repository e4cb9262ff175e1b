"""Leaves out rows that the greatest (or least) value of their time window has passed: no match of theirs can come.

A group's greatest value never falls where rows only come, so that a row with less than the group shows matches it
neither now nor later. It is left out if that holds of the groups of all windows that its time lets it match. What is
known of a group is what this join was told, which is never more than the group shows.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.accumulators.records import longs_in
from headwater.engine.delta import as_us, mask
from headwater.engine.lazy import Delta
from headwater.index.kernels import Longs, Mask, compiled
from headwater.index.key_index import KeyIndex
from headwater.index.memory import Arrays
from headwater.sql.join_plan import Ceiling

_UNKNOWN = np.iinfo(np.int64).min
_FAR_US = np.int64(1 << 61)
_MOST_WINDOWS = 1 << 16
_WINDOW = "window"


@compiled(
    types.void(longs_in, longs_in, types.int64, types.int64, types.int64, types.int64, longs_in, types.boolean[::1])
)
def _may_match(times: Longs, values: Longs, low: int, high: int, step: int, first: int, best: Longs, out: Mask) -> None:
    """Whether each row has as much as is known of a group that its time lets it match.

    Args:
        low, high: a row may match groups of windows that start from its time - high to its time - low.
        step: windows start at multiples of this.
        first: number of the window that `best` begins with.
        best: what is known of the windows' groups.
    """
    window = first
    for row in range(len(times)):
        earliest, latest = times[row] - high, times[row] - low
        # Rows mostly come in the order of time: the window is that of the row before.
        if not window * step >= earliest > (window - 1) * step:
            window = -((-earliest) // step)
        found, at = False, window
        while not found and at * step <= latest:
            found = values[row] >= best[at - first]
            at += 1
        out[row] = found


class Ceilings:
    """What is known of the groups of one side of a join, by window.

    Args:
        ceiling: which columns tell of it.
        memory: where arrays come from.
    """

    def __init__(self, ceiling: Ceiling, memory: Arrays) -> None:
        self._ceiling, self._memory = ceiling, memory
        self.side = ceiling.side
        self._index = KeyIndex(pa.schema([(_WINDOW, pa.int64())]), memory=memory)
        self._best: Longs = np.zeros(0, np.int64)

    @property
    def columns(self) -> list[str]:
        """The columns of groups that `note` needs."""
        return [self._ceiling.best, self._ceiling.bound]

    def note(self, groups: Delta) -> None:
        """Groups come or go: what they show, they have reached."""
        values, bounds = self._words(groups, self._ceiling.best), as_us(groups.column(self._ceiling.bound))
        known = (values != _UNKNOWN) & (np.abs(bounds) < _FAR_US)
        windows = (bounds[known] - self._ceiling.plus_us) // self._ceiling.step_us
        slots, _ = self._index.find_or_insert(pa.table({_WINDOW: windows}))
        room = len(self._best)
        self._best = self._memory.grown(self._best, self._index.capacity)
        self._best[room:] = _UNKNOWN
        np.maximum.at(self._best, slots, values[known])

    def passed(self, rows: Delta) -> Delta:
        """The rows that may have a match, now or later."""
        ceiling = self._ceiling
        times = as_us(rows.column(ceiling.time))
        earliest, latest = int(times.min()), int(times.max())
        if min(earliest, -latest) <= -_FAR_US:
            return rows
        first = -((ceiling.most_us - earliest) // ceiling.step_us)
        count = (latest - ceiling.least_us) // ceiling.step_us - first + 1
        if not 0 < count < _MOST_WINDOWS or not len(self._index):
            return rows
        slots = self._index.find(pa.table({_WINDOW: np.arange(first, first + count)}))
        best = np.where(slots < 0, _UNKNOWN, self._best[slots])
        found = np.empty(len(times), np.bool_)
        values = self._words(rows, ceiling.value)
        _may_match(times, values, ceiling.least_us, ceiling.most_us, ceiling.step_us, first, best, found)
        return rows if found.all() else mask(rows, found)

    def _words(self, rows: Delta, name: str) -> Longs:
        """Values of which the greatest is the best, the smallest of all where there is none."""
        words = as_us(rows.column(name))
        return np.where(words == _UNKNOWN, words, ~words) if self._ceiling.least else words
