"""TUMBLE, HOP and CUMULATE: gives each row its windows, and judges against the watermark which of them are closed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.engine.delta import ORIGIN, absolute, as_us, has_origin, mask
from headwater.engine.evaluation import Evaluator
from headwater.engine.operator import Stateless
from headwater.engine.operators.closing import WindowEnds
from headwater.engine.operators.window_kernels import last_multiples
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs
from headwater.sql.bind import quote
from headwater.sql.plan import Hop, Windowed

_FAR_US = 1 << 61
"""Times as far as this from 1970 (infinity among them) are left to DuckDB."""


class WindowedOperator(Stateless):
    """Runs a `Windowed` node.

    Rows without a time are in no window and count as filtered. With `reject` or `drop` a row goes into those of its
    windows that are open; a row whose windows are all closed is late. Graph calls `advance` after `step`, so a batch is
    judged against the watermark before it.

    Args:
        direct: as in `LinearOperator`.
    """

    def __init__(self, node: Windowed, worker: Worker, direct: str) -> None:
        self._node, self._ledger, self._late = node, worker.ledger, worker.late
        self._ends = WindowEnds(node, 'epoch_us("window_end")', worker.session)
        self._direct = direct
        self._evaluator = Evaluator(worker.session, worker.ledger, node.inputs[0], direct, node.name)
        source = node.inputs[0].name
        carried = ", ".join([*map(quote, node.names), WEIGHT, *([ORIGIN] if direct else [])])
        self._sql = f"SELECT {carried} FROM ({node.function.format(stream=quote(source))})"
        self._closed_us: int | None = None

    def advance(self, closed_us: int) -> pa.Table | None:
        self._closed_us = closed_us
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None:
            return None
        rejected = self._ledger.counts.rejected
        placed = self._even(delta) if self._node.even is not None else None
        if placed is None:
            placed = self._evaluator.run(self._sql, delta)
        if self._direct and (self._node.even is None or placed.num_rows < delta.num_rows):
            before, after = (self._ledger.weigh(self._direct, rows) for rows in (delta, placed))
            self._ledger.counts.filtered += before - after - (self._ledger.counts.rejected - rejected)
        judged = self._late != "update" and not self._node.clock
        if self._closed_us is not None and judged and placed.num_rows:
            placed = self._timely(placed, self._closed_us)
        return placed if placed.num_rows else None

    def _even(self, delta: pa.Table) -> pa.Table | None:
        """The rows with their windows, computed; None if a time is too far off for that."""
        even = self._node.even
        assert even is not None
        if delta.column(even.time).null_count:
            delta = delta.filter(delta.column(even.time).is_valid())
        times = as_us(delta.column(even.time))
        if len(times) and not -_FAR_US < times.min() <= times.max() < _FAR_US:
            return None
        starts = times
        if even.step_us > 1:
            starts = np.empty_like(times)
            last_multiples(times, even.step_us, starts)
        kinds = self._node.schema.types[-2:]
        bounds = [pa.array(us).cast(kind) for us, kind in zip((starts, starts + even.length_us), kinds, strict=True)]
        names = self._node.names[:-2]
        carried = [WEIGHT, ORIGIN] if has_origin(delta) else [WEIGHT]
        columns = [*delta.select(names).columns, *bounds, *delta.select(carried).columns]
        return pa.Table.from_arrays(columns, names=[*self._node.names, *carried])

    def _timely(self, placed: pa.Table, closed_us: int) -> pa.Table:
        """The (row, window) pairs whose window is open; what is not is counted, and rejected if so asked."""
        ends = self._ends.of(placed)
        if self._node.hop is not None:
            return self._timely_hop(placed, ends, closed_us, self._node.hop)
        if not (ends <= closed_us).any():
            return placed
        timely, gone = mask(placed, ends > closed_us), mask(placed, ends <= closed_us)
        self._tell(timely, gone, ends[ends <= closed_us], closed_us)
        return timely

    def _tell(self, timely: pa.Table, gone: pa.Table, gone_ends: Longs, closed_us: int) -> None:
        """Counts and rejects (row, window) pairs that are too late."""
        if self._direct:
            self._count_late(timely, gone, gone_ends, closed_us)
        elif self._late == "reject":
            rows, whys = gone.select([*self._node.names[:-2], WEIGHT]), ["late"] * gone.num_rows
            self._ledger.reject(self._node.name, rows, "late", whys, _messages(gone_ends, closed_us))

    def _timely_hop(self, placed: pa.Table, ends: Longs, closed_us: int, hop: Hop) -> pa.Table:
        """As `_timely`, where rows come with their last window only: the rows that have an open window. Their reader
        leaves out the windows that are closed."""
        missed = np.clip(hop.windows + (closed_us - ends) // hop.slide_us, 0, hop.windows)
        if not missed.any():
            return placed
        timely = mask(placed, ends > closed_us)
        pairs = np.repeat(np.arange(len(ends)), missed)
        back = hop.windows - 1 - (np.arange(len(pairs)) - np.repeat(np.cumsum(missed) - missed, missed))
        self._tell(timely, placed.take(pa.array(pairs)), ends[pairs] - back * hop.slide_us, closed_us)
        return timely

    def _count_late(self, timely: pa.Table, gone: pa.Table, gone_ends: Longs, closed_us: int) -> None:
        """A row of input is late if none of its windows was open; it is told of its last."""
        still = set(timely.column(ORIGIN).to_pylist())
        order = np.argsort(gone_ends, kind="stable")
        gone, gone_ends = gone.take(pa.array(order)), gone_ends[order]
        origins = gone.column(ORIGIN).to_numpy()
        last_end = {int(o): int(end) for o, end in zip(origins, gone_ends, strict=True) if int(o) not in still}
        rows = self._ledger.originals(self._direct, np.array(list(last_end), np.int64))
        self._ledger.counts.late += absolute(rows)
        self._ledger.counts.missed_windows += int(sum(int(o) in still for o in origins))
        if self._late == "reject":
            ends = np.array(list(last_end.values()), np.int64)
            self._ledger.reject(self._direct, rows, "late", ["late"] * len(ends), _messages(ends, closed_us))


def _messages(ends: Longs, closed_us: int) -> list[str]:
    """For each row, which window it missed and by how much."""
    stamps = np.datetime_as_string(ends.astype("datetime64[us]"), unit="ms")
    behind = ((closed_us - ends) / 1e6).tolist()
    return [
        f"its window that ended at {stamp} UTC was closed {seconds:g} s before in event time"
        for stamp, seconds in zip(stamps, behind, strict=True)
    ]
