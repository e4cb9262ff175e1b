"""Inner join: each change meets the rows that the other side has for its key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from headwater.engine.delta import concat, conform
from headwater.engine.session import Session
from headwater.engine.state.row_store import RowStore
from headwater.sql.bind import quote
from headwater.sql.plan import Join, Node


class JoinOperator:
    """Runs a `Join` node: changes of A join B as it was, then changes of B join A as it is."""

    def __init__(self, node: Join, session: Session) -> None:
        self._node, self._session = node, session
        self._keys = (node.left_keys, node.right_keys)
        self._stores = [RowStore(side.schema, keys) for side, keys in zip(node.inputs, self._keys, strict=True)]
        left, right = (quote(side.name) for side in node.inputs)
        listed = "".join(f"{expression} AS {quote(name)}, " for expression, name in node.select)
        self._sql = (
            f"SELECT {listed}{left}._weight * {right}._weight AS _weight FROM {left} JOIN {right} ON {node.condition}"
        )

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
        return conform(self._session.run(self._sql, relations), self._node.schema)

    def advance(self, closed_us: int) -> pa.Table | None:
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        for side, store in zip(("left", "right"), self._stores, strict=True):
            store.checkpoint(folder / side, previous / side if previous else None)

    def restore(self, folder: Path) -> None:
        self._stores = [RowStore.restore(folder / side) for side in ("left", "right")]

    def keeps(self) -> str:
        left, right = (store.num_rows for store in self._stores)
        return f"{left} + {right} rows"
