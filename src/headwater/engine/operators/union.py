"""UNION ALL."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater.engine.delta import concat, conform
from headwater.engine.operator import Stateless
from headwater.sql.plan import Union


class UnionOperator(Stateless):
    """Passes on the changes of all inputs, by position."""

    def __init__(self, node: Union) -> None:
        self._node = node

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        return concat(conform(delta, self._node.schema) for delta in deltas if delta is not None)
