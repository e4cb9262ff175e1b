"""The general operator: the rows of every key that changed are put through the SQL again, and the difference goes out.

What went out before is kept, not computed again: an aggregate of floats or an unordered list may come out
differently from the same rows in another order, and the changes must add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from headwater.engine.delta import concat, conform, expanded, mask, negated, settled, weighted
from headwater.engine.operators.closing import WindowEnds
from headwater.engine.session import ROW_ERRORS, Session
from headwater.engine.state.row_store import RowStore
from headwater.errors import SqlError
from headwater.index.key_index import group
from headwater.sql.plan import Recompute


class RecomputeOperator:
    """Runs a `Recompute` node; without keys, over everything that there is.

    Args:
        free_closed: windows that are closed get no more rows, so their keys need not be kept.
    """

    def __init__(self, node: Recompute, session: Session, free_closed: bool) -> None:
        self._node, self._session = node, session
        self._inputs = [RowStore(side.schema, keys) for side, keys in zip(node.inputs, node.keys, strict=True)]
        self._result = RowStore(node.schema, node.output_keys)
        self._ends = WindowEnds(node, node.closes, session) if free_closed and node.closes else None

    def initial(self) -> pa.Table | None:
        empty = [side.schema.empty_table() for side in self._node.inputs]
        result = self._compute(empty)
        self._result.apply(result)
        return result

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        rows = [self._wanted(i, delta) for i, delta in enumerate(deltas)]
        keys = self._touched(rows)
        if keys is None:
            return None
        for store, delta in zip(self._inputs, rows, strict=True):
            if delta is not None:
                store.apply(delta)
        now = self._compute([expanded(self._of_keys(i, keys)) for i in range(len(rows))])
        before = self._result.rows_of(keys) if self._node.output_keys else self._result.rows()
        change = settled(concat([now, negated(before)]))
        if change is not None:
            self._result.apply(change)
        return change

    def _wanted(self, side: int, delta: pa.Table | None) -> pa.Table | None:
        """The delta without rows of windows whose state is gone."""
        if delta is None:
            return None
        rows = conform(delta, self._node.inputs[side].schema)
        if self._ends is None:
            return rows
        ends = self._ends.of(self._keys_of(rows, 0))
        self._ends.note(ends)
        closed = self._ends.closed(ends)
        return mask(rows, ~closed) if closed.any() else rows

    def _keys_of(self, rows: pa.Table, side: int) -> pa.Table:
        """A side's key columns under the names that they have in the result."""
        return rows.select(list(self._node.keys[side])).rename_columns(list(self._node.output_keys))

    def _touched(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        """The distinct keys that changed, in the result's names; None if nothing did."""
        found = [(i, delta) for i, delta in enumerate(deltas) if delta is not None and delta.num_rows]
        if not found:
            return None
        if not self._node.output_keys:
            return found[0][1].slice(0, 1)
        types = self._result.columns
        keyed = [conform(weighted(self._keys_of(d, i), np.ones(d.num_rows, np.int64)), _keys_only(types, self._node))
                 for i, d in found]  # fmt: skip
        keys = pa.concat_tables(keyed)
        _, firsts = group(keys, _keys_only(types, self._node))
        return keys.take(pa.array(firsts))

    def _of_keys(self, side: int, keys: pa.Table) -> pa.Table:
        """The rows that a side has for the keys."""
        names = self._node.keys[side]
        if not names:
            return self._inputs[side].rows()
        return self._inputs[side].rows_of(keys.select(list(self._node.output_keys)).rename_columns(list(names)))

    def _compute(self, rows: Sequence[pa.Table]) -> pa.Table:
        relations = dict(zip(self._node.inputs, rows, strict=True))
        try:
            result = self._session.run(self._node.sql, relations)
        except ROW_ERRORS as error:
            raise self._failed(error) from error
        return conform(weighted(result, np.ones(result.num_rows, np.int64)), self._node.schema)

    def _failed(self, error: duckdb.Error) -> SqlError:
        hint = "use TRY_CAST or TRY(...) where a row may not fit, or compute the expression in a CTE of its own, "
        return SqlError(
            f"{self._node.title} fails: {str(error).splitlines()[0]}",
            hint=hint + "so that only the row at fault is rejected",
        )

    def advance(self, closed_us: int) -> pa.Table | None:
        if self._ends is not None and self._ends.advance(closed_us):
            for store, keys in ((self._inputs[0], self._node.keys[0]), (self._result, self._node.output_keys)):
                rows = store.rows()
                named = rows.select(list(keys)).rename_columns(list(self._node.output_keys))
                store.apply(negated(mask(rows, self._ends.closed(self._ends.of(named)))))
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        for name, store in self._stores().items():
            store.checkpoint(folder / name, previous / name if previous else None)

    def restore(self, folder: Path) -> None:
        self._inputs = [RowStore.restore(folder / f"input{i}") for i in range(len(self._inputs))]
        self._result = RowStore.restore(folder / "result")
        if self._ends is not None:
            self._ends.note(self._ends.of(self._keys_of(self._inputs[0].rows(), 0)))

    def _stores(self) -> dict[str, RowStore]:
        return {**{f"input{i}": store for i, store in enumerate(self._inputs)}, "result": self._result}

    def keeps(self) -> str:
        rows = " + ".join(str(store.num_rows) for store in self._inputs) or "0"
        return f"{rows} rows in, {self._result.num_rows} out"


def _keys_only(columns: pa.Schema, node: Recompute) -> pa.Schema:
    return pa.schema([columns.field(name) for name in node.output_keys])
