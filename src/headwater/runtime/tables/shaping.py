"""From an epoch's output to what it changes in its table, by the kind of the table.

| kind | what is asked of the output | what the table remembers |
|---|---|---|
| mirror | its delta | the rows that are there |
| mirror, soft deletes | its trace | those, and of each key that is gone the last row |
| changelog | its trace | every change |
| history | its trace | every version of every row |
| append | its delta | every row that ever came |
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, Op
from headwater.engine.delta import expanded, settled
from headwater.engine.trace import ALTERED, RESTARTED, At, place, trace_schema, traced
from headwater.index.key_index import group
from headwater.lake.columns import cast_rows, lake_columns
from headwater.lake.table_format import Table
from headwater.project.definition import TableDefinition
from headwater.project.table_shape import CHANGE, OP
from headwater.runtime.tables.history import History
from headwater.runtime.tables.soft_deletes import SoftDeletes

_OPS = {
    Op.READ: "read", Op.INSERT: "insert", Op.UPDATE: "update", Op.DELETE: "delete", Op.TRUNCATE: "truncate",
    Op.SNAPSHOT_END: "read", ALTERED: "alter", RESTARTED: "restart",
}  # fmt: skip
_NAMES = pa.array([_OPS.get(number) for number in range(max(_OPS) + 1)], pa.string())


class Shaper:
    """Makes changes of one table. Used by one thread at a time.

    Args:
        definition: what the table is to be.
        table: open, with the columns of `definition`.
        key: of the rows.
    """

    def __init__(self, definition: TableDefinition, table: Table, key: tuple[str, ...]) -> None:
        self._definition, self._table, self._key = definition, table, key
        self._state: History | SoftDeletes | None = None
        self.retracted = 0

    def shape(self, output: pa.Table, columns: pa.Schema, epoch: int, *, replace: bool) -> pa.Table:
        """What an output changes in the table.

        Args:
            output: a trace, or for a table that none is asked for a delta.
            columns: of the rows.
            epoch: which takes it in.
            replace: the output is all the rows that there are now.
        """
        kind = self._definition.kind
        if kind == "append":
            return self._appended(output)
        if kind == "changelog":
            return self._changelog(output, columns, epoch, replace=replace)
        if not self._definition.soft and kind == "mirror":
            return output
        own = lake_columns(columns)
        state = self._opened(own)
        if replace:
            output = _difference(state.current(self._table, own), output, own, self._definition.name)
        return state.change(output, own, epoch)

    @property
    def rows(self) -> int | None:
        """How many rows the table had when it was opened; None if nobody looked."""
        return self._state.rows if self._state is not None else None

    def _opened(self, columns: pa.Schema) -> History | SoftDeletes:
        if self._state is None:
            make = History if self._definition.kind == "history" else SoftDeletes
            self._state = make(self._table, columns, self._key)
        self._state.follow(columns)
        return self._state

    def _appended(self, delta: pa.Table) -> pa.Table:
        """The rows that come; those that go are counted."""
        weights = delta.column(WEIGHT).to_numpy()
        self.retracted += -int(weights[weights < 0].sum())
        return delta.filter(pa.array(weights > 0)) if (weights < 0).any() else delta

    def _changelog(self, trace: pa.Table, columns: pa.Schema, epoch: int, *, replace: bool) -> pa.Table:
        if replace and self._table.committed() is not None:
            at = _first_place(trace)
            void = place(RESTARTED, int(at.commit[0]), int(at.ordinal[0]), at.time[0].value)
            nothing = pa.table([pa.nulls(1, field.type) for field in columns], schema=_nullable(columns))
            restart = traced(nothing.append_column(WEIGHT, pa.array([0])), void)
            trace = pa.concat_tables([restart, trace.cast(restart.schema)])
        count = trace.num_rows
        change = [
            _NAMES.take(trace.column("_op").combine_chunks()),
            trace.column(WEIGHT).cast(pa.int32()),
            trace.column("_commit").cast(pa.int64()),
            trace.column("_ordinal"),
            trace.column("_time"),
            pa.array(np.full(count, epoch, np.int64)),
        ]
        rows = [trace.column(name) for name in columns.names]
        ones = pa.array(np.ones(count, np.int64))
        return pa.table([*change, *rows, ones], names=[*CHANGE.names, *columns.names, WEIGHT])


assert CHANGE.names[0] == OP


def _nullable(columns: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in columns])


def _first_place(trace: pa.Table) -> At:
    """Where a trace begins."""
    if not trace.num_rows:
        return place(Op.READ, 0, 0, None)
    first = trace.slice(0, 1)
    op, commit, ordinal = (first.column(name).to_numpy() for name in ("_op", "_commit", "_ordinal"))
    return At(op, commit, ordinal, first.column("_time"))


def _difference(held: pa.Table, wanted: pa.Table, columns: pa.Schema, table: str) -> pa.Table:
    """The trace that leads from the rows a table shows to those that there are."""
    rows = cast_rows(wanted, columns, table)
    both = pa.concat_tables([held, rows])
    numbers, _ = group(both, columns)
    here, there = numbers[: len(held)], numbers[len(held) :]
    gone, new = ~np.isin(here, there), ~np.isin(there, here)
    parts = [held.filter(pa.array(gone)), rows.filter(pa.array(new))]
    signs = np.repeat(np.array([-1, 1]), [len(part) for part in parts])
    delta = pa.concat_tables(parts).append_column(WEIGHT, pa.array(signs))
    return traced(delta, _first_place(wanted).times(len(delta), Op.READ))


def model_trace(delta: pa.Table, key: tuple[str, ...], epoch: int, time_us: int | None, op: int | None) -> pa.Table:
    """What an epoch changed in a model, as a trace: a model's position is (epoch, 0).

    Args:
        delta: the change.
        key: of the model; empty if it has none.
        epoch: its number.
        time_us: the latest commit time of what the epoch took in.
        op: what happened; None: to be seen from the delta.
    """
    net = settled(delta)
    if net is None:
        return trace_schema(delta.drop_columns([WEIGHT]).schema).empty_table()
    weights = net.column(WEIGHT).to_numpy()
    order = np.argsort(weights > 0, kind="stable")
    net, weights = net.take(pa.array(order)), weights[order]
    at = place(Op.READ if op is None else op, epoch, 0, time_us).times(net.num_rows)
    if op is None:
        at = At(_ops(net, weights, key), at.commit, at.ordinal, at.time)
    return traced(net, at)


def _ops(net: pa.Table, weights: np.ndarray, key: tuple[str, ...]) -> np.ndarray:
    ops = np.where(weights > 0, np.uint8(Op.INSERT), np.uint8(Op.DELETE)).astype(np.uint8)
    if key:
        numbers, firsts = group(net, pa.schema([net.schema.field(name) for name in key]))
        ways = np.zeros((2, len(firsts)), np.bool_)
        ways[(weights > 0).astype(np.int64), numbers] = True
        ops[(ways[0] & ways[1])[numbers]] = int(Op.UPDATE)
    return ops


def read_trace(rows: pa.Table, at: At) -> pa.Table:
    """All rows that there are, as a snapshot at that place would bring them."""
    plain = expanded(rows)
    whole = plain.append_column(WEIGHT, pa.array(np.ones(plain.num_rows, np.int64)))
    return traced(whole, at.times(plain.num_rows, Op.READ))
