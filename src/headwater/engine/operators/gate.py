"""`emit: final`: holds rows back until their window closes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from headwater.change import delta_schema
from headwater.engine.delta import concat, mask, negated, shaped
from headwater.engine.operators.closing import NEVER, WindowEnds
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.sql.plan import Gate

_MOST_WAITING = 1 << 16
"""So many changes are left as they came: of a group that changes again and again little is left to be stored."""


class GateOperator:
    """Runs a `Gate` node. Changes to windows that are closed already (late rows, policy `update`) pass at once."""

    def __init__(self, node: Gate, worker: Worker) -> None:
        self._node, self._memory, self._schema = node, worker.memory, delta_schema(node.schema)
        self._held = RowStore(node.schema, (), memory=worker.memory)
        self._ends = WindowEnds(node, node.closes, worker.session)
        self._waiting: list[pa.Table] = []

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None:
            return None
        rows = shaped(delta, self._schema)
        ends = self._ends.of(rows)
        passing = self._ends.closed(ends) | (ends == NEVER)
        self._ends.note(ends[~passing])
        if not passing.any():
            self._hold(rows)
            return None
        self._hold(mask(rows, ~passing))
        return mask(rows, passing)

    def _hold(self, rows: pa.Table) -> None:
        """Keeps changes back."""
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) > _MOST_WAITING:
            self._store()

    def _store(self) -> None:
        """Stores what is left of the changes that wait."""
        changes, self._waiting = concat(self._waiting), []
        if changes is not None:
            self._held.apply(changes)

    def advance(self, closed_us: int) -> pa.Table | None:
        if not self._ends.advance(closed_us):
            return None
        self._store()
        held = self._held.rows()
        released = mask(held, self._ends.closed(self._ends.of(held)))
        self._held.apply(negated(released))
        return released

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        self._store()
        self._held.checkpoint(folder / "held", previous / "held" if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        if share is None:
            self._held = RowStore.restore(parts[0] / "held", memory=self._memory)
        else:
            self._held.gather([folder / "held" for folder in parts], share, self._node.names)
        self._ends.note(self._ends.of(self._held.rows()))

    def keeps(self) -> str:
        self._store()
        return f"{self._held.num_rows} rows of open windows"
