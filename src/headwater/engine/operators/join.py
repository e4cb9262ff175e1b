"""Inner join: each change meets the rows that the other side has for its key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from headwater.engine.delta import concat, conform
from headwater.engine.evaluation import Evaluator, probe_of
from headwater.engine.session import ROW_ERRORS
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.sql.bind import quote
from headwater.sql.plan import Join, Node

_MOST_PAIRS = 1 << 20


class JoinOperator:
    """Runs a `Join` node: changes of A join B as it was, then changes of B join A as it is.

    If the condition fails, the pairs of each key are made first and the rest of the condition is evaluated pair by
    pair, so that only the pairs on which it fails are rejected.
    """

    def __init__(self, node: Join, worker: Worker) -> None:
        self._node, self._session = node, worker.session
        self._keys = (node.left_keys, node.right_keys)
        self._stores = [RowStore(side.schema, keys) for side, keys in zip(node.inputs, self._keys, strict=True)]
        left, right = (quote(side.name) for side in node.inputs)
        listed = "".join(f"{expression} AS {quote(name)}, " for expression, name in node.select)
        sql = f"SELECT {listed}{left}._weight * {right}._weight AS _weight FROM {left} JOIN {right} ON "
        self._sql, self._pairs_sql = sql + node.condition, sql + (node.matching or "true")
        self._evaluator = Evaluator(worker.session, worker.ledger, node, "", node.name, probe_of("", [node.residual]))

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        found: list[pa.Table | None] = []
        for own, delta in enumerate(deltas):
            if delta is None:
                continue
            found.append(self._meet(own, delta))
            self._stores[own].apply(delta)
        return concat(found)

    def _meet(self, own: int, delta: pa.Table) -> pa.Table | None:
        """The delta of one side joined with the rows of the other."""
        other = 1 - own
        store = self._stores[other]
        if not store.num_rows:
            return None
        mine, theirs = self._keys[own], self._keys[other]
        keys = delta.select(list(mine)).rename_columns(list(theirs)) if mine else delta
        rows = store.rows_of(keys)
        if not rows.num_rows:
            return None
        relations: dict[Node, pa.Table] = {self._node.inputs[own]: delta, self._node.inputs[other]: rows}
        try:
            return conform(self._session.run(self._sql, relations), self._node.schema)
        except ROW_ERRORS:
            return concat(self._pair_by_pair(own, delta, rows))

    def _pair_by_pair(self, own: int, delta: pa.Table, rows: pa.Table) -> Iterator[pa.Table]:
        """The join with the residual condition as a filter, some rows of the delta at a time."""
        step = delta.num_rows if self._keys[own] else max(1, _MOST_PAIRS // rows.num_rows)
        residual = f"SELECT * FROM {quote(self._node.name)} WHERE {self._node.residual}"
        for start in range(0, delta.num_rows, step):
            part = delta.slice(start, step)
            relations: dict[Node, pa.Table] = {self._node.inputs[own]: part, self._node.inputs[1 - own]: rows}
            pairs = conform(self._session.run(self._pairs_sql, relations), self._node.schema)
            yield conform(self._evaluator.run(residual, pairs), self._node.schema)

    def advance(self, closed_us: int) -> pa.Table | None:
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        for side, store in zip(("left", "right"), self._stores, strict=True):
            store.checkpoint(folder / side, previous / side if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        (folder,) = parts
        self._stores = [RowStore.restore(folder / side) for side in ("left", "right")]

    def keeps(self) -> str:
        left, right = (store.num_rows for store in self._stores)
        return f"{left} + {right} rows"
