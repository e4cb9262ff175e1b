"""Expressions that many rows share: computed once for what they are made of, as long as it repeats."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from headwater.engine.known import known_answers
from headwater.engine.lazy import Delta, Lazy
from headwater.engine.operators.linear import LinearOperator
from headwater.engine.session import ROW_ERRORS
from headwater.engine.worker import Worker
from headwater.sql.bind import quote
from headwater.sql.plan import Linear


class OnceOperator(LinearOperator):
    """Runs a `Linear` node whose last columns are `Linear.once`. What it computes stands as numbers of values."""

    def __init__(self, node: Linear, worker: Worker, direct: str) -> None:
        super().__init__(node, worker, direct)
        self._session = worker.session
        self._numbers, self._known = known_answers(worker, node.inputs[0], node.once)

    def step(self, deltas: Sequence[Delta | None]) -> Delta | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        try:
            return self._with_answers(delta.table() if isinstance(delta, Lazy) else delta)
        except ROW_ERRORS:
            # Row by row it is found out which row it is.
            return super().step(deltas)
        finally:
            for numbers in self._numbers:
                numbers.let_go()

    def _with_answers(self, delta: pa.Table) -> pa.Table:
        found: dict[str, pa.Array | pa.ChunkedArray] = {}
        for known in self._known:
            found |= known.answers(delta) or {}
        rest = [one for one in self._node.once if one.name not in found]
        if rest:
            source = self._node.inputs[0]
            listed = ", ".join(f"{one.expression} AS {quote(one.name)}" for one in rest)
            rows = self._session.run(f"SELECT {listed} FROM {quote(source.name)}", {source: delta})
            found |= {one.name: rows.column(one.name) for one in rest}
        columns = [found[name] if name in found else delta.column(name) for name in self._node.names]
        carried = [name for name in delta.column_names if name not in self._node.inputs[0].names]
        return pa.Table.from_arrays(
            [*columns, *(delta.column(name) for name in carried)], names=[*self._node.names, *carried]
        )
