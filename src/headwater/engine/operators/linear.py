"""Filter, project and unnest: DuckDB SQL over the delta alone, weights carried along."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.delta import ORIGIN
from headwater.engine.evaluation import Evaluator, probe_of
from headwater.engine.operator import Stateless
from headwater.engine.worker import Worker
from headwater.sql.bind import quote
from headwater.sql.plan import Linear


class LinearOperator(Stateless):
    """Runs a `Linear` node.

    Args:
        direct: the input whose rows come here one by one, "" if others have worked on them.
    """

    def __init__(self, node: Linear, worker: Worker, direct: str) -> None:
        self._node, self._ledger, self._direct = node, worker.ledger, direct
        self._renames = _renames(node)
        self._evaluator = Evaluator(worker.session, worker.ledger, node.inputs[0], direct, node.name, _probe(node))
        self._sql = _sql(node, [WEIGHT, ORIGIN] if direct else [WEIGHT])

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None:
            return None
        if self._renames is not None:
            return self._renamed(delta, self._renames)
        rejected = self._ledger.counts.rejected
        result = self._evaluator.run(self._sql, delta)
        if self._direct and (self._node.where or self._node.multiplies):
            before, after = (self._ledger.weigh(self._direct, rows) for rows in (delta, result))
            self._ledger.counts.filtered += before - after - (self._ledger.counts.rejected - rejected)
        return result if result.num_rows else None

    def _renamed(self, delta: pa.Table, renames: list[str]) -> pa.Table:
        carried = [name for name in (WEIGHT, ORIGIN) if name in delta.column_names]
        return delta.select([*renames, *carried]).rename_columns([*self._node.names, *carried])


def _renames(node: Linear) -> list[str] | None:
    """The input's columns in the result's order, if the node does nothing but choose and rename."""
    if node.where or node.lateral or node.multiplies:
        return None
    (source,) = node.inputs
    plain = {f"{quote(source.name)}.{quote(name)}": name for name in source.names}
    chosen = [plain.get(expression) for expression, _ in node.select]
    return [name for name in chosen if name is not None] if None not in chosen else None


def _sql(node: Linear, carried: list[str]) -> str:
    (source,) = node.inputs
    listed = [f"{expression} AS {quote(name)}" for expression, name in node.select]
    listed += [f"{quote(source.name)}.{name}" for name in carried]
    where = f" WHERE {node.where}" if node.where else ""
    return f"SELECT {', '.join(listed)} FROM {quote(source.name)}{node.lateral}{where}"


def _probe(node: Linear) -> str:
    """Where a row gives several, no single expression tells whether it fails."""
    (source,) = node.inputs
    plain = {f"{quote(source.name)}.{quote(name)}" for name in source.names}
    computed = [expression for expression, _ in node.select if expression not in plain]
    return "" if node.multiplies else probe_of(node.where, computed)
