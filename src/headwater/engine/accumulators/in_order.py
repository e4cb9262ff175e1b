"""first(x ORDER BY ...) and last(x ORDER BY ...): the rows of each group in that order, NULLs and all.

Of rows equal in order the value decides: which of them DuckDB shows, it leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater.engine.accumulators.ordered import Ordered
from headwater.engine.accumulators.part import Batch
from headwater.engine.order_key import OrderKey
from headwater.engine.session import Session
from headwater.engine.state.memory import Memory
from headwater.sql.plan import Accumulator, Node, Ordering


class InOrder(Ordered):
    """As `Ordered`, in any order.

    Args:
        calls: of one order, argument and FILTER.
        node: the aggregate's input.
    """

    def __init__(self, calls: Sequence[Accumulator], node: Node, session: Session, memory: Memory) -> None:
        call = calls[0]
        others = dict.fromkeys(item.column for item in call.by if item.column != call.argument)
        self._where = call.where
        super().__init__((*others, call.argument), calls, node, session, memory)
        value = [] if any(item.column == call.argument for item in call.by) else [Ordering(call.argument)]
        self._order = OrderKey([*call.by, *value], node, session)
        self._rows = self._empty_rows()

    def _counted(self, batch: Batch) -> Batch:
        return batch.of(np.flatnonzero(batch.true(self._where))) if self._where else batch
