"""Mirrors in which deleted rows stay, marked with the time of the change that deleted them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.engine.state.row_store import RowStore
from headwater.lake.columns import cast_rows
from headwater.lake.table_format import Table
from headwater.project.table_shape import DELETED, DELETED_AT
from headwater.runtime.tables.runs import NEVER, as_times, runs_of


class SoftDeletes:
    """The deleted rows of one table, by key. They are what the table says, and are read from it when it is opened.

    Args:
        table: open; read once.
        columns, key: of the rows, in lake types.
    """

    def __init__(self, table: Table, columns: pa.Schema, key: tuple[str, ...]) -> None:
        self._name, self.key = table.spec.name, key
        held = table.read()
        self.rows = held.num_rows
        gone = held.filter(held.column(DELETED))
        self._gone = RowStore(self._columns(columns), key)
        self._gone.apply(_weighted(gone.select(list(key)).cast(self._gone.columns), 1))

    def _columns(self, columns: pa.Schema) -> pa.Schema:
        return pa.schema([columns.field(name).with_nullable(True) for name in self.key])

    def follow(self, columns: pa.Schema) -> None:
        """The columns of the rows have changed: a key column's type may have become wider."""
        wanted = self._columns(columns)
        if not wanted.equals(self._gone.columns):
            rows = self._gone.rows().drop_columns([WEIGHT])
            self._gone = RowStore(wanted, self.key)
            cast = [rows.column(place).cast(field.type) for place, field in enumerate(wanted)]
            self._gone.apply(_weighted(pa.table(cast, schema=wanted), 1))

    def change(self, trace: pa.Table, columns: pa.Schema, epoch: int) -> pa.Table:
        """What a trace changes in the table: of each key touched the former row goes and the last one comes, deleted or
        not. `epoch` says nothing here."""
        rows = cast_rows(trace, columns, self._name)
        runs = runs_of(trace, rows, self.key, by_commit=False)
        keys = rows.take(pa.array(runs.first)).select(list(self.key))
        deleted = self._gone.contains(keys)
        plain = runs.effective()
        touched = np.isin(runs.keys, plain.keys) | ~(runs.was | runs.is_there)
        runs, keys, deleted = runs.take(touched), keys.filter(pa.array(touched)), deleted[touched]
        held = deleted | runs.was
        before = _marked(rows.take(pa.array(runs.first[held])), None, np.full(int(held.sum()), NEVER))
        after = _marked(rows.take(pa.array(runs.last)), ~runs.is_there, np.where(runs.is_there, NEVER, runs.times))
        self._gone.apply(
            pa.concat_tables(
                [_weighted(keys.filter(pa.array(deleted)), -1), _weighted(keys.filter(pa.array(~runs.is_there)), 1)]
            )
        )
        return pa.concat_tables([_weighted(before, -1), _weighted(after, 1)])

    def current(self, table: Table, columns: pa.Schema) -> pa.Table:
        """The rows that are not deleted, read from the table."""
        held = table.read()
        return cast_rows(held.filter(pc.invert(held.column(DELETED))), columns, self._name)


def _marked(rows: pa.Table, deleted: np.ndarray | None, times: np.ndarray) -> pa.Table:
    flags = pa.nulls(len(rows), pa.bool_()) if deleted is None else pa.array(deleted)
    return rows.append_column(DELETED, flags).append_column(DELETED_AT, as_times(times))


def _weighted(rows: pa.Table, sign: int) -> pa.Table:
    return rows.append_column(WEIGHT, pa.array(np.full(rows.num_rows, sign, np.int64)))
