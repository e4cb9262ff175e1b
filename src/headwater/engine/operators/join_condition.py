"""The part of a join's condition that its keys do not say, evaluated over pairs of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.engine.evaluation import Evaluator, probe_of
from headwater.engine.session import ROW_ERRORS
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs
from headwater.sql.bind import quote
from headwater.sql.join_plan import Comparison, Join

_POSITION = "_position"
_COMPARE: Mapping[str, Callable[[pa.ChunkedArray, pa.ChunkedArray], pa.ChunkedArray]] = {
    "=": pc.equal, "<>": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
}  # fmt: skip

Gather = Callable[[Sequence[tuple[int, str]]], list[pa.ChunkedArray]]
"""Gives columns of the pairs, each named by its input (0 or 1) and its name there."""


class PairCondition:
    """Says which pairs satisfy the residual condition of a join, which it must have.

    Where the condition fails over some pairs, these are rejected and count as not matching.

    Attributes:
        needed: the columns that it names, by input and name there.
    """

    def __init__(self, node: Join, worker: Worker) -> None:
        self._comparison, self._pairs, self._session = node.comparison, node.pairs, worker.session
        self._origins = dict(zip(node.pairs.names, node.origins, strict=True))
        self._names = list(node.needed)
        self.needed = [self._origins[name] for name in node.needed]
        self._sql = f"SELECT {_POSITION} FROM {quote(node.pairs.name)} WHERE {node.residual}"
        probe = probe_of("", [node.residual])
        self._evaluator = Evaluator(worker.session, worker.ledger, node.pairs, "", node.name, probe)

    def true(self, gather: Gather, weights: Callable[[], Longs], count: int) -> Longs:
        """The positions of the pairs for which it is true.

        Args:
            gather: columns of the pairs.
            weights: of the pairs, with which they are rejected.
            count: how many pairs there are.
        """
        columns = pa.Table.from_arrays(gather(self.needed), names=self._names)
        if self._comparison is not None:
            found = pc.fill_null(_evaluate(self._comparison, columns), False)
            return np.flatnonzero(found.to_numpy())
        positions = pa.array(np.arange(count, dtype=np.int64))
        try:
            kept = self._session.run(self._sql, {self._pairs: columns.append_column(_POSITION, positions)})
        except ROW_ERRORS:
            whole = pa.Table.from_arrays(gather(list(self._origins.values())), names=list(self._origins))
            whole = whole.append_column(WEIGHT, pa.array(weights())).append_column(_POSITION, positions)
            kept = self._evaluator.run(self._sql, whole)
        return np.sort(kept.column(_POSITION).to_numpy())


def _evaluate(comparison: Comparison, columns: pa.Table) -> pa.ChunkedArray:
    """The comparison as a column of booleans with NULLs."""
    if not comparison.parts:
        return _COMPARE[comparison.word](columns.column(comparison.left), columns.column(comparison.right))
    join = pc.and_kleene if comparison.word == "and" else pc.or_kleene
    found = _evaluate(comparison.parts[0], columns)
    for part in comparison.parts[1:]:
        found = join(found, _evaluate(part, columns))
    return found
