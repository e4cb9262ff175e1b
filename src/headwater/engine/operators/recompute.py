"""The general operator: the rows of every key that changed are put through the SQL again, and the difference goes out.

What went out before is kept, not computed again: an aggregate of floats or an unordered list may come out
differently from the same rows in another order, and the changes must add up.

What can fail is computed row by row before it comes here, as far as that is possible. If the SQL fails all the same,
the keys at fault are found by bisecting: such a key has no result, while its rows are kept, until it can be computed
again; a reject that holds the key tells of it when it begins, and one of weight -1 takes that back when it is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.delta import concat, conform, expanded, mask, negated, weighted, weights
from headwater.engine.evaluation import Failure, failure
from headwater.engine.netting import Netting
from headwater.engine.operators.closing import WindowEnds
from headwater.engine.session import ROW_ERRORS
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.errors import SqlError
from headwater.index.kernels import Longs
from headwater.index.key_index import group
from headwater.sql.plan import Recompute


@dataclass(frozen=True)
class Outcome:
    """What became of the keys of one step.

    Attributes:
        results: result rows.
        fine: keys that could be computed.
        failing: keys that could not, with `reason` and `message`.
    """

    results: list[pa.Table] = field(default_factory=list)
    fine: list[pa.Table] = field(default_factory=list)
    failing: list[pa.Table] = field(default_factory=list)


class RecomputeOperator:
    """Runs a `Recompute` node; without keys, over everything that there is.

    Keys of closed windows are kept only if late rows may come.
    """

    def __init__(self, node: Recompute, worker: Worker) -> None:
        self._node, self._session, self._ledger = node, worker.session, worker.ledger
        self._memory = worker.memory
        self._inputs = [
            RowStore(side.schema, keys, append_only=side.appends, memory=worker.memory)
            for side, keys in zip(node.inputs, node.keys, strict=True)
        ]
        # Rows leave it by their slots, so that it need not find them by their values.
        self._result = RowStore(node.schema, node.output_keys, append_only=True, memory=worker.memory)
        self._netting = Netting(node.schema)
        self._failing = RowStore(_failing_schema(node), node.output_keys, memory=worker.memory)
        self._ends = WindowEnds(node, node.closes, worker.session) if worker.frees and node.closes else None

    def initial(self) -> pa.Table | None:
        result = self._run([side.schema.empty_table() for side in self._node.inputs])
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
        now = self._compute(keys)
        return self._replaced(self._result.slots_of(keys) if self._node.output_keys else self._result.slots(), now)

    def _replaced(self, slots: Longs, now: pa.Table | None) -> pa.Table | None:
        """Puts rows in the place of those of slots of the result; what changes by that."""
        before = weighted(self._result.take(slots), np.full(len(slots), -1))
        both = concat([before, now])
        if both is None:
            return None
        paired = self._netting.paired(self._netting.hashed(both), len(slots))
        change, gone = mask(both, ~paired), slots[~paired[: len(slots)]]
        self._result.replace(gone, change.slice(len(gone)))
        return change if change.num_rows else None

    def _compute(self, keys: pa.Table) -> pa.Table | None:
        """The result of the keys as their rows are now; keys that fail have none, and are told of."""
        if not self._node.output_keys:
            return self._whole()
        outcome = Outcome()
        failed = self._failing.contains(keys)
        # Keys that failed before are likely to fail again: apart, they do not make the others run twice.
        for part in (mask(keys, ~failed), mask(keys, failed)) if failed.any() else (keys,):
            if part.num_rows:
                self._isolate(part, outcome)
        if outcome.failing or failed.any():
            self._tell(outcome)
        return concat(outcome.results)

    def _whole(self) -> pa.Table:
        try:
            return self._run([expanded(store.rows()) for store in self._inputs])
        except ROW_ERRORS as error:
            raise self._failed(error) from error

    def _isolate(self, keys: pa.Table, outcome: Outcome) -> None:
        """Computes the keys, halving them as long as it fails."""
        try:
            outcome.results.append(self._run([expanded(self._of_keys(i, keys)) for i in range(len(self._inputs))]))
            outcome.fine.append(keys)
        except ROW_ERRORS as error:
            if keys.num_rows == 1:
                outcome.failing.append(self._told(keys, failure(0, error)))
                return
            half = keys.num_rows // 2
            self._isolate(keys.slice(0, half), outcome)
            self._isolate(keys.slice(half), outcome)

    def _told(self, key: pa.Table, why: Failure) -> pa.Table:
        """A key that fails, with what its reject says."""
        message = f"{self._node.title} fails for this key, which has no result until it can: {why.message}"
        return key.append_column("reason", pa.array([why.reason])).append_column("message", pa.array([message]))

    def _tell(self, outcome: Outcome) -> None:
        """Rejects the keys that have begun to fail, and takes back the rejects of those that do not any more."""
        begun = [mask(rows, ~self._failing.contains(rows)) for rows in outcome.failing]
        change = concat([*begun, *(negated(self._failing.rows_of(rows)) for rows in outcome.fine)])
        if change is None:
            return
        change = conform(change, self._failing.columns)
        self._failing.apply(change)
        reasons, messages = (change.column(name).to_pylist() for name in ("reason", "message"))
        rows = change.select([*self._node.output_keys, WEIGHT])
        self._ledger.reject(self._node.name, rows, "evaluate", reasons, messages)

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

    def _run(self, rows: Sequence[pa.Table]) -> pa.Table:
        result = self._session.run(self._node.sql, dict(zip(self._node.inputs, rows, strict=True)))
        return conform(weighted(result, np.ones(result.num_rows, np.int64)), self._node.schema)

    def _failed(self, error: duckdb.Error) -> SqlError:
        hint = "use TRY_CAST or TRY(...) where a row may not fit, or compute the expression in a CTE of its own, "
        return SqlError(
            f"{self._node.title} fails, and it has no key to tell the rows at fault by: {str(error).splitlines()[0]}",
            hint=hint + "so that only the row at fault is rejected",
        )

    def advance(self, closed_us: int) -> pa.Table | None:
        if self._ends is not None and self._ends.advance(closed_us):
            own = self._node.output_keys
            for store, keys in ((self._inputs[0], self._node.keys[0]), (self._result, own), (self._failing, own)):
                slots = store.slots()
                named = store.take(slots, keys).rename_columns(list(own))
                store.discard(slots[self._ends.closed(self._ends.of(named))])
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        for name, store in self._stores().items():
            store.checkpoint(folder / name, previous / name if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        if share is None:
            memory = self._memory
            self._inputs = [
                RowStore.restore(parts[0] / f"input{i}", append_only=store.append_only, memory=memory)
                for i, store in enumerate(self._inputs)
            ]
            self._result = RowStore.restore(parts[0] / "result", append_only=True, memory=memory)
            if self._node.output_keys:
                self._failing = RowStore.restore(parts[0] / "failing", memory=memory)
        else:
            for name, store in self._stores().items():
                store.gather([part / name for part in parts], share, store.key)
        rows = self._result.rows()
        if (weights(rows) > 1).any():  # written before every row of the result had a slot of its own
            self._result.clear()
            ones = expanded(rows)
            self._result.apply(weighted(ones, np.ones(ones.num_rows, np.int64)))
        if self._ends is not None:
            self._ends.note(self._ends.of(self._keys_of(self._inputs[0].rows(), 0)))

    def _stores(self) -> dict[str, RowStore]:
        failing = {"failing": self._failing} if self._node.output_keys else {}
        return {**{f"input{i}": store for i, store in enumerate(self._inputs)}, "result": self._result, **failing}

    def keeps(self) -> str:
        rows = " + ".join(str(store.num_rows) for store in self._inputs) or "0"
        failing = f", {self._failing.num_rows} keys fail" if self._failing.num_rows else ""
        return f"{rows} rows in, {self._result.num_rows} out{failing}"


def _keys_only(columns: pa.Schema, node: Recompute) -> pa.Schema:
    return pa.schema([columns.field(name) for name in node.output_keys])


def _failing_schema(node: Recompute) -> pa.Schema:
    """What is kept of a key that fails: the key, and what its reject said."""
    return pa.schema([*_keys_only(node.schema, node), ("reason", pa.string()), ("message", pa.string())])
