"""The time of arrival: gives each row the time at which its batch was applied."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.delta import concat, conform, consolidate, mask, weighted, weights
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs
from headwater.index.key_index import group
from headwater.sql.window_plan import Stamped


class StampedOperator:
    """Runs a `Stamped` node. A row that is taken back gets the latest time at which such a row came that is there."""

    def __init__(self, node: Stamped, worker: Worker) -> None:
        self._node, self._worker = node, worker
        self._source = node.inputs[0]
        self._rows = None if node.appends else RowStore(node.schema, tuple(self._source.names), memory=worker.memory)

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        given = conform(delta, self._source.schema)
        if self._rows is None:
            return self._stamped(given)
        net = consolidate(given)
        gone = weights(net) < 0
        taken = self._latest(mask(net, gone), self._rows) if gone.any() else None
        change = concat([self._stamped(mask(net, ~gone)), taken])
        if change is not None:
            self._rows.apply(change)
        return change

    def _stamped(self, rows: pa.Table) -> pa.Table:
        """Rows that come in now."""
        now = pa.repeat(pa.scalar(self._worker.arrival.now_us, pa.timestamp("us")), rows.num_rows)
        return conform(rows.add_column(len(self._source.names), self._node.stamp, now), self._node.schema)

    def _latest(self, gone: pa.Table, kept: RowStore) -> pa.Table:
        """Rows that go, each with the times at which the latest of its kind came."""
        there = kept.rows_of(gone)
        both = pa.concat_tables([gone.select(self._source.names), there.select(self._source.names)])
        numbers, firsts = group(both, self._source.schema)
        wanted = np.zeros(len(firsts), np.int64)
        np.add.at(wanted, numbers[: gone.num_rows], -weights(gone))
        own = numbers[gone.num_rows :]
        times: Longs = there.column(self._node.stamp).cast(pa.int64()).to_numpy()
        order = np.lexsort((-times, own))
        held, own = weights(there)[order], own[order]
        upto = np.cumsum(held)
        begins = np.r_[True, own[1:] != own[:-1]] if len(own) else np.zeros(0, np.bool_)
        before = (upto - held)[begins][np.cumsum(begins) - 1] if len(own) else upto
        earlier = upto - held - before
        taken = np.clip(wanted[own] - earlier, 0, held)
        if taken.sum() != wanted.sum():
            raise InvariantBroken("a row is retracted more often than it was added")
        rows = there.take(pa.array(order)).drop_columns([WEIGHT])
        return mask(weighted(rows, -taken), taken > 0)

    def advance(self, closed_us: int) -> pa.Table | None:
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        if self._rows is not None:
            self._rows.checkpoint(folder / "rows", previous / "rows" if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        if self._rows is None:
            return
        if share is None:
            self._rows = RowStore.restore(parts[0] / "rows", memory=self._worker.memory)
        else:
            self._rows.gather([folder / "rows" for folder in parts], share, self._source.names)

    def keeps(self) -> str:
        return "nothing" if self._rows is None else f"{self._rows.num_rows} rows with their times"
