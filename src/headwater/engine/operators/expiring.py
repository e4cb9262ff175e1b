"""A declared time to live: rows of an input leave the view once event time has left them far enough behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import delta_schema
from headwater.engine.delta import as_us, concat, mask, shaped, weighted
from headwater.engine.operators.join_order import SideOrder
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs
from headwater.sql.window_plan import Expiring

_MOST_ROWS = 1 << 18
_NO_TIME = np.iinfo(np.int64).min


class ExpiringOperator:
    """Runs an `Expiring` node: keeps the rows that will go, in order of time, and takes back those that are due.

    What comes of a row that is due already, a retraction of it among them, is late: rejected or left out, and counted.
    Rows without a time stay for ever, and are not kept here.
    """

    def __init__(self, node: Expiring, worker: Worker) -> None:
        self._node, self._worker = node, worker
        self._schema = delta_schema(node.schema)
        self._limit_us: int | None = None
        self._reset()

    def _reset(self) -> None:
        memory = self._worker.memory
        self._rows = RowStore(self._node.schema, (), append_only=self._node.inputs[0].appends, memory=memory)
        self._order = SideOrder(self._node, self._node.time, "", self._worker)

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        given = shaped(delta, self._schema)
        times = as_us(given.column(self._node.time))
        timed = times != _NO_TIME
        if self._limit_us is not None:
            late = timed & (times <= self._limit_us)
            if late.any():
                self._tell(mask(given, late), times[late], self._limit_us)
                given, timed = mask(given, ~late), timed[~late]
        self._keep(given if timed.all() else mask(given, timed))
        return given

    def _tell(self, late: pa.Table, times: Longs, limit_us: int) -> None:
        messages = None
        if self._worker.late == "reject":
            behind = ((limit_us - times) / 1e6).tolist()
            messages = [f"its time to live was over {seconds:g} s before in event time" for seconds in behind]
        self._worker.ledger.expire(self._node.stream, late, messages)

    def _keep(self, delta: pa.Table) -> None:
        order, rows = self._order, self._rows
        slots = rows.apply(delta, lambda gone, taken: order.lose(gone, taken, rows.weights_of(gone)))
        self._set_in_order(slots)

    def _set_in_order(self, slots: Longs) -> None:
        times = self._rows.take(slots, self._order.columns)
        self._order.insert(times, slots, self._rows.weights_of(slots), self._rows.capacity)

    def advance(self, closed_us: int) -> pa.Table | None:
        self._limit_us = closed_us - self._node.ttl_us
        until = self._order.words(pa.chunked_array([pa.array([self._limit_us], pa.int64())]))
        due = [slots for _, slots in self._order.slots(*self._order.ranks("<=", until), _MOST_ROWS)]
        return concat([self._gone(slots) for slots in due])

    def _gone(self, slots: Longs) -> pa.Table:
        """Forgets rows; their retractions."""
        weights = self._rows.weights_of(slots)
        rows = weighted(self._rows.take(slots), -weights)
        self._order.lose(slots, weights, weights)
        self._rows.discard(slots)
        return rows

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        self._rows.checkpoint(folder / "rows", previous / "rows" if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        self._reset()
        if share is None:
            memory, only = self._worker.memory, self._rows.append_only
            self._rows = RowStore.restore(parts[0] / "rows", append_only=only, memory=memory)
        else:
            self._rows.gather([folder / "rows" for folder in parts], share, self._node.names)
        self._set_in_order(self._rows.slots())

    def keeps(self) -> str:
        return f"{self._rows.num_rows} rows that will go"
