"""Joins by one inequality of whose one input nothing is shown: `x > (SELECT avg(x) ...)`, EXISTS (... WHERE u.a < t.a).

How many rows of the input that is asked a row has below or above it, is told by the order of those. If they change,
the net weight of what came and went is constant between two of the changed values; where it is 0, nothing changes. So
a threshold that moves from 10 to 11 costs the rows between 10 and 11.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.engine.delta import mask, settled, weights
from headwater.engine.operators.join import JoinOperator
from headwater.engine.operators.join_order import SideOrder
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs, Words
from headwater.sql.join_plan import FLIPPED, Join, Ranged

_MOST_ROWS = 1 << 18


class ThresholdJoinOperator(JoinOperator):
    """Runs a `Join` node whose `ranged` is a threshold."""

    def __init__(self, node: Join, worker: Worker, ranged: Ranged) -> None:
        super().__init__(node, worker)
        self._main = 1 if node.word == "INNER" and all(side == 1 for side, _ in node.shown) else 0
        word = ranged.bounds[0].word
        # main word asked
        self._word = word if ranged.side == self._main else FLIPPED[word]

    def _counted(self, number: int) -> bool:
        return False

    def _arrive(self, own: int, delta: pa.Table) -> list[pa.Table | None]:
        side = self._sides[own]
        void = side.void(delta)
        found: list[pa.Table | None] = []
        if void is not None:
            unmatched = mask(delta, void)
            found.append(self._shown_alone(own, unmatched, np.zeros(unmatched.num_rows, np.int64)))
            delta = mask(delta, ~void)
        net = settled(delta)
        if net is None:
            return found
        order = self._order(own)
        values = order.words(net.column(order.column))
        if own == self._main:
            found.append(self._shown_alone(own, net, self._matches(values)))
            side.apply(net, np.zeros(net.num_rows, np.int64))
        else:
            side.apply(net, np.zeros(net.num_rows, np.int64))
            found += self._moved(values, weights(net))
        return found

    def _order(self, number: int) -> SideOrder:
        order = self._sides[number].order
        assert order is not None, "a threshold join orders both inputs"
        return order

    def _matches(self, values: Words) -> Longs:
        """The weight of the rows asked for which `value word row` is true."""
        asked = self._order(1 - self._main)
        low, high = asked.ranks(FLIPPED[self._word], values)
        return high - low

    def _shown_alone(self, own: int, delta: pa.Table, matches: Longs) -> pa.Table | None:
        """What rows show that come or go, having so many matches."""
        if own != self._main:
            return None
        if self._node.word != "INNER":
            return self._alone(own, delta, matches > 0)
        has = matches > 0
        return self._single(own, mask(delta, has), weights(delta)[has] * matches[has], has[has])

    def _moved(self, values: Words, come: Longs) -> list[pa.Table | None]:
        """What changes if so much weight comes at each of these values of the input asked; it has come already."""
        order, rows = self._order(self._main), self._sides[self._main].rows
        sorting = np.argsort(values)
        values, come = values[sorting], come[sorting]
        if self._word in (">", ">="):
            edges, net = order.before(values, equal=self._word == ">"), np.cumsum(come)
            low, high = edges, np.append(edges[1:], order.total)
        else:
            edges, net = order.before(values, equal=self._word == "<="), np.cumsum(come[::-1])[::-1]
            low, high = np.append(0, edges[:-1]), edges
        high = np.where(net == 0, low, high)
        found: list[pa.Table | None] = []
        for part, slots in order.slots(low, high, _MOST_ROWS):
            shown = rows.take(slots, list(dict.fromkeys([*self._columns[self._main], order.column])))
            now = self._matches(order.words(shown.column(order.column)))
            found += self._differing(shown, rows.weights_of(slots), now - net[part], now)
        return found

    def _differing(self, rows: pa.Table, there: Longs, before: Longs, now: Longs) -> list[pa.Table | None]:
        """What rows show whose matches have become so many."""
        if self._node.word == "INNER":
            return [self._single(self._main, rows, there * (now - before), now > 0)]
        turned = (before > 0) != (now > 0)
        rows, there, has = mask(rows, turned), there[turned], now[turned] > 0
        return self._became(self._main, rows, there, has)
