"""SESSION over rows that may be taken back: the sessions of the rows that changed are made again.

Time is cut into stretches as long as the gap. The rows of a key within one stretch are of one session, and a session
is a run of stretches of which each begins at most a gap after the one before ends. So the sessions that a change can
have touched are found from stretch to stretch, by key, however many rows or sessions the key has besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.engine.delta import concat, conform, expanded, negated, settled, weighted
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs
from headwater.index.key_index import KeyIndex
from headwater.sql.bind import quote
from headwater.sql.window_plan import Session

STRETCH = "stretch#"


def as_microseconds(times: pa.ChunkedArray) -> Longs:
    """Times or dates without nulls, in microseconds since 1970 UTC."""
    zone = getattr(times.type, "tz", None)
    array: Longs = times.cast(pa.timestamp("us", zone)).cast(pa.int64()).to_numpy()
    return array


class SessionOperator:
    """Runs a `Session` node. Its input are rows that each are a session of their own (`window_start`, `window_end`)."""

    def __init__(self, node: Session, worker: Worker) -> None:
        self._node, self._session, self._worker = node, worker.session, worker
        self._stream = node.inputs[0].columns[:-2]
        self._columns = pa.schema([*((c.name, c.arrow) for c in self._stream), (STRETCH, pa.int64())])
        self._found_by = (*node.keys, STRETCH)
        self._keys = pa.schema([self._columns.field(name) for name in self._found_by])
        self._rows = self._store()
        self._relation = node.inputs[0]
        listed = ", ".join(map(quote, node.names))
        source = f"(SELECT * EXCLUDE (window_start, window_end) FROM {quote(self._relation.name)})"
        self._sql = f"SELECT {listed} FROM ({node.function.format(stream=source)})"
        self._last_us: int | None = None
        self._purged_rows = 0

    def _store(self) -> RowStore:
        return RowStore(self._columns, self._found_by, memory=self._worker.memory)

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        rows = self._cut(delta)
        touched = self._region(rows)
        before = self._rows.rows_of(touched)
        self._rows.apply(rows)
        after = self._rows.rows_of(touched)
        times = as_microseconds(rows.column(self._node.time))
        last_us = int(times.max())
        self._last_us = last_us if self._last_us is None else max(last_us, self._last_us)
        gone = self._sessions(before)
        return settled(concat([self._sessions(after), negated(gone) if gone is not None else None]))

    def _cut(self, delta: pa.Table) -> pa.Table:
        """The rows without windows, with the number of their stretch."""
        numbers = as_microseconds(delta.column(self._node.time)) // self._node.gap_us
        plain = delta.select([*(c.name for c in self._stream), WEIGHT])
        return conform(plain.append_column(STRETCH, pa.array(numbers)), self._columns)

    def _region(self, changed: pa.Table) -> pa.Table:
        """The keys and stretches of every session that rows coming or going may belong to, before or after."""
        known, low, high = KeyIndex(self._keys), np.zeros(0, np.int64), np.zeros(0, np.int64)
        found = [changed.select(list(self._found_by))]
        frontier = pa.concat_tables([rows.drop_columns([WEIGHT]) for rows in (changed, self._rows.rows_of(changed))])
        while frontier.num_rows:
            slots, created = known.find_or_insert(frontier)
            low, high = _spans(slots, as_microseconds(frontier.column(self._node.time)), low, high)
            edge = frontier.filter(pa.array(created)).select(list(self._found_by))
            found.append(edge)
            parts = [self._next(edge, side, known, low, high) for side in (-1, 1)]
            frontier = pa.concat_tables(parts)
        return pa.concat_tables(found)

    def _next(self, edge: pa.Table, side: int, known: KeyIndex, low: Longs, high: Longs) -> pa.Table:
        """The rows of the stretches next to `edge`, before (-1) or after (1), that go on the session."""
        beside = _moved(edge, side)
        beside = beside.filter(pa.array(known.find(beside) < 0))
        rows = self._rows.rows_of(beside).drop_columns([WEIGHT])
        if not rows.num_rows:
            return rows
        index = KeyIndex(self._keys)
        slots, _ = index.find_or_insert(rows)
        first, last = _spans(slots, as_microseconds(rows.column(self._node.time)), low[:0], high[:0])
        own = known.find(_moved(rows, -side))
        apart = first[slots] - high[own] if side > 0 else low[own] - last[slots]
        return rows.filter(pa.array(apart <= self._node.gap_us))

    def _sessions(self, rows: pa.Table) -> pa.Table | None:
        """The rows with the windows of the sessions that they are."""
        if not rows.num_rows:
            return None
        bounds = [pa.nulls(rows.num_rows, bound.arrow) for bound in self._relation.columns[-2:]]
        stream = rows.select([c.name for c in self._stream]).columns
        given = pa.Table.from_arrays([*stream, *bounds], schema=self._relation.schema)
        alone = expanded(weighted(given, rows.column(WEIGHT).to_numpy()))
        made = self._session.run(self._sql, {self._relation: alone})
        return conform(weighted(made, np.ones(made.num_rows, np.int64)), self._node.schema)

    def advance(self, closed_us: int) -> pa.Table | None:
        if not self._worker.frees or self._last_us is None:
            return None
        gap = self._node.gap_us
        if self._last_us + gap <= closed_us:
            self._rows, self._last_us, self._purged_rows = self._store(), None, 0
        elif self._rows.num_rows > 2 * self._purged_rows:
            self._purge(closed_us)
            self._purged_rows = self._rows.num_rows
        return None

    def _purge(self, closed_us: int) -> None:
        """Forgets the rows of sessions that are closed."""
        rows = self._rows.rows()
        made = self._sessions(rows)
        if made is None:
            return
        ends = as_microseconds(made.column("window_end"))
        gone = made.filter(pa.array(ends <= closed_us))
        if gone.num_rows:
            self._rows.apply(negated(self._cut(gone)))

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        self._rows.checkpoint(folder / "rows", previous / "rows" if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        if share is None:
            self._rows = RowStore.restore(parts[0] / "rows", memory=self._worker.memory)
        else:
            self._rows.gather([folder / "rows" for folder in parts], share, self._node.keys)
        times = as_microseconds(self._rows.rows().column(self._node.time))
        self._last_us = int(times.max()) if len(times) else None

    def keeps(self) -> str:
        return f"{self._rows.num_rows} rows"


def _moved(rows: pa.Table, by: int) -> pa.Table:
    """The rows with the numbers of other stretches."""
    at = rows.schema.get_field_index(STRETCH)
    return rows.set_column(at, STRETCH, pc.add(rows.column(STRETCH), pa.scalar(by, pa.int64())))


def _spans(slots: Longs, times: Longs, low: Longs, high: Longs) -> tuple[Longs, Longs]:
    """Least and greatest time by slot, with those of more rows taken in."""
    size = max(len(low), int(slots.max()) + 1)
    most = np.iinfo(np.int64)
    lows, highs = np.full(size, most.max), np.full(size, most.min)
    lows[: len(low)], highs[: len(high)] = low, high
    np.minimum.at(lows, slots, times)
    np.maximum.at(highs, slots, times)
    return lows, highs
