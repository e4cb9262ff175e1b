"""The rows of a join's input in order of a column, for joins by inequality."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.engine.order_key import OrderKey
from headwater.engine.state.ordered import OrderedRows
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs, Words
from headwater.sql.plan import Node, Ordering

_LEAST, _MOST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class SideOrder:
    """Slots of rows in the order of one column, which is of fixed width and not NULL.

    Args:
        source: the input.
        column: what its rows are ordered by.
        end: a column that is not below it, or "": how far the two are apart bounds the rows that a value can be within.
    """

    def __init__(self, source: Node, column: str, end: str, worker: Worker) -> None:
        self._type = source.schema.field(column).type
        measured = pa.types.is_integer(self._type) or pa.types.is_timestamp(self._type)
        self.column, self._end = column, end if measured else ""
        self._key = OrderKey((Ordering(column),), source, worker.session, nulls=False)
        self._tree = OrderedRows(self._key.width, worker.memory)
        self._all = np.zeros(1, np.int64)
        self._tree.reserve(1, 0)
        self._widest = 0

    @property
    def columns(self) -> list[str]:
        """The columns that `insert` needs."""
        return [self.column, *([self._end] if self._end else [])]

    @property
    def total(self) -> int:
        """The sum of all weights."""
        return int(self._tree.counts(self._all)[0])

    def insert(self, rows: pa.Table, slots: Longs, weights: Longs, capacity: int) -> None:
        """Adds rows under their slots, all below `capacity`."""
        if not len(slots):
            return
        self._tree.reserve(1, capacity)
        self._tree.insert(np.zeros(len(slots), np.int64), slots, self.words(rows.column(self.column)), weights)
        if self._end:
            self._widest = max(self._widest, _apart(rows.column(self._end), rows.column(self.column)))

    def lose(self, slots: Longs, taken: Longs, weights: Longs) -> None:
        """Takes weights off rows; those that have none left go."""
        dead = weights == taken
        self._tree.reweigh(slots[~dead], -taken[~dead])
        self._tree.remove(slots[dead])

    def words(self, values: pa.ChunkedArray) -> Words:
        """Values as numbers that compare like them."""
        return self._key.words(pa.table({self.column: values.cast(self._type)}))

    def before(self, values: Words, *, equal: bool) -> Longs:
        """The weight of the rows below each value, or `equal` to it."""
        groups = np.zeros(len(values), np.int64)
        return (self._tree.upper_bound if equal else self._tree.lower_bound)(groups, values)

    def ranks(self, word: str, values: Words) -> tuple[Longs, Longs]:
        """Where the rows stand for which `column word value` is true: from and to before which weight."""
        bound = self.before(values, equal=word in ("<=", ">"))
        if word in ("<", "<="):
            return np.zeros(len(values), np.int64), bound
        return bound, np.full(len(values), self.total)

    def reaching(self, values: pa.ChunkedArray) -> Longs:
        """Before which weight no row stands whose `end` can reach the value, going by the widest."""
        if not self._end:
            return np.zeros(len(values), np.int64)
        numbers = values.cast(pa.int64()).to_numpy()
        least = np.where(numbers < _LEAST + self._widest, _LEAST, numbers - self._widest)
        return self.before(self.words(pa.chunked_array([least])), equal=False)

    def slots(self, low: Longs, high: Longs, most: int) -> Iterator[tuple[Longs, Longs]]:
        """The rows between two ranks each: the number of the pair of ranks and the slot, about `most` at a time."""
        asked = np.flatnonzero(high > low)
        counts = np.cumsum(high[asked] - low[asked])
        start = 0
        while start < len(asked):
            done = counts[start - 1] if start else 0
            end = max(start + 1, int(np.searchsorted(counts, done + most, side="right")))
            part = asked[start:end]
            slots, _, offsets = self._tree.window(np.zeros(len(part), np.int64), low[part], high[part])
            yield np.repeat(part, np.diff(offsets)), slots
            start = end


def _apart(ends: pa.ChunkedArray, starts: pa.ChunkedArray) -> int:
    """How far the farthest end is behind its start."""
    try:
        return int(pc.max(pc.subtract_checked(ends.cast(pa.int64()), starts.cast(pa.int64()))).as_py())
    except pa.ArrowInvalid:
        return int(_MOST)
