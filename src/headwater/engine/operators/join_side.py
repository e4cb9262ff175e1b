"""One input of a join: its rows by key, and for rows that show without a match how many matches they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import delta_schema
from headwater.engine.delta import mask, shaped, weights
from headwater.engine.lazy import Delta, table
from headwater.engine.operators.closing import WindowEnds
from headwater.engine.operators.join_counts import MatchCounts
from headwater.engine.operators.join_order import SideOrder
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs, Mask
from headwater.sql.bind import quote
from headwater.sql.join_plan import FLIPPED, Join, Ranged

_MOST_PAIRS = 1 << 18


class JoinSide:
    """The rows that one input of a join has now.

    Args:
        number: 0 for the first input, 1 for the second.
        counted: whether the rows' matches are to be counted.
    """

    def __init__(self, node: Join, number: int, worker: Worker, *, counted: bool) -> None:
        self._source, self._memory = node.inputs[number], worker.memory
        self._keys, self._schema = node.keys_of(number), delta_schema(self._source.schema)
        self._strict = [key for key, both in zip(self._keys, node.nulls_match, strict=True) if not both]
        self._append_only = self._source.appends
        self.rows = RowStore(self._source.schema, self._keys, append_only=self._append_only, memory=worker.memory)
        self.order: SideOrder | None = None
        self._ranged, self._number = node.ranged, number
        if node.ranged is not None:
            column, end = node.ranged.column(number), node.ranged.end(number)
            self.order = SideOrder(self._source, column, end, worker)
            self._strict = list(dict.fromkeys([column, *([end] if end else [])]))
        self.counts = MatchCounts(worker.memory) if counted else None
        closes = node.closes[number] if worker.frees else ""
        self._ends = WindowEnds(self._source, closes, worker.session) if closes else None
        self._timed = [name for name in self._source.names if quote(name) in closes]

    def conformed(self, delta: Delta) -> Delta:
        """A delta in the columns and types of the input; gathered where all of it is needed anyway."""
        if not self._append_only or self.order is not None or not self._keys:
            delta = table(delta)
        return shaped(delta, self._schema)

    def _between(self, order: SideOrder, ranged: Ranged, rows: pa.Table) -> tuple[Longs, Longs]:
        """Between what ranks here the rows stand that may match rows of the other input."""
        first = ranged.bounds[0]
        if self._number != ranged.side:
            # The first bound, and how far the second can be from it; whether it is kept says the condition.
            values = rows.column(first.point)
            low, high = order.ranks(FLIPPED[first.word], order.words(values))
            return np.maximum(low, order.reaching(values)), high
        low, high = order.ranks(first.word, order.words(rows.column(first.other)))
        for bound in ranged.bounds[1:]:
            least, most = order.ranks(bound.word, order.words(rows.column(bound.other)))
            low, high = np.maximum(low, least), np.minimum(high, most)
        return low, high

    def keys_of(self, rows: Delta) -> pa.Table:
        """What the other input finds its matches by: the key columns of rows of this input."""
        if self.order is not None:
            return table(rows)
        return table(rows.select(list(self._keys)) if self._keys else rows)

    def void(self, delta: Delta) -> Mask | None:
        """Which rows can have no match, because of a NULL in their key; None if none of them."""
        nulls = [delta.column(name) for name in self._strict if delta.column(name).null_count]
        if not nulls:
            return None
        return np.asarray(np.any([pc.is_null(column).to_numpy() for column in nulls], axis=0))

    def pairs(self, keys: pa.Table) -> Iterator[tuple[Longs, Longs]]:
        """The rows here that may match rows of the other input: row number and slot, some pairs at a time.

        Args:
            keys: the columns of rows of the other input that its `keys_of` gives.
        """
        if self.order is not None and self._ranged is not None:
            low, high = self._between(self.order, self._ranged, keys)
            return self.order.slots(low, high, _MOST_PAIRS)
        named = keys.rename_columns(list(self._keys)) if self._keys else keys
        return self.rows.pairs_in_parts(named, _MOST_PAIRS)

    def apply(self, delta: Delta, matches: Longs) -> None:
        """Adds a delta, whose rows have so many matches; where these are counted, no row of it is there twice with
        weights of both signs. What may be forgotten already is not kept."""
        if self._ends is not None:
            ends = self._ends.of(table(delta.select(self._timed)))
            late = self._ends.closed(ends)
            self._ends.note(ends[~late])
            if late.any():
                delta, matches = mask(delta, ~late), matches[~late]
        if self.counts is None:
            self._take_in(delta)
            return
        come = weights(delta) > 0
        if not come.all():
            self._take_in(mask(delta, ~come))
            delta, matches = mask(delta, come), matches[come]
        self.put(self._take_in(delta), matches)

    def _take_in(self, delta: Delta) -> Longs:
        """Applies a delta to the rows and their order; returns the slots of those that came."""
        order = self.order
        if order is None:
            return self.rows.apply(delta)
        slots = self.rows.apply(delta, lambda gone, taken: order.lose(gone, taken, self.rows.weights_of(gone)))
        self._set_in_order(order, slots)
        return slots

    def _set_in_order(self, order: SideOrder, slots: Longs) -> None:
        rows = self.rows.take(slots, order.columns)
        order.insert(rows, slots, self.rows.weights_of(slots), self.rows.capacity)

    def put(self, slots: Longs, matches: Longs) -> None:
        """Says how many matches rows have."""
        if self.counts is not None:
            self.counts.put(slots, matches, self.rows.capacity)

    def forget(self, closed_us: int) -> None:
        """Forgets the rows that the watermark lets go."""
        if self._ends is not None and self._ends.advance(closed_us):
            gone = [slots[self._ends.closed(self._ends.of(rows))] for slots, rows in self.scan(self._timed)]
            slots = np.concatenate([np.zeros(0, np.int64), *gone])
            if self.order is not None:
                weights = self.rows.weights_of(slots)
                self.order.lose(slots, weights, weights)
            self.rows.discard(slots)

    def scan(self, columns: Sequence[str]) -> Iterator[tuple[Longs, pa.Table]]:
        """All rows, some at a time: their slots and columns."""
        slots = self.rows.slots()
        for start in range(0, len(slots), _MOST_PAIRS):
            part = slots[start : start + _MOST_PAIRS]
            yield part, self.rows.take(part, columns)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        """Takes back the rows that were written, the counts left open."""
        if share is None:
            self.rows = RowStore.restore(parts[0], append_only=self._append_only, memory=self._memory)
        else:
            self.rows.gather(parts, share, self._keys)
        if self.order is not None:
            self._set_in_order(self.order, self.rows.slots())
        if self._ends is not None:
            for _, rows in self.scan(self._timed):
                self._ends.note(self._ends.of(rows))
