"""SESSION over rows that may be taken back: the sessions of the rows that changed are made again.

Time is cut into stretches as long as the gap. The rows of a key within one stretch are of one session, and a session
is a run of stretches of which each begins at most a gap after the one before ends. Of each stretch its first and last
time and its neighbours are known, so that the sessions that a change can have touched are found from stretch to
stretch, however many rows or sessions the key has besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.engine.delta import concat, conform, negated, settled
from headwater.engine.operators import session_kernels as kernels
from headwater.engine.share import Share
from headwater.engine.state.row_store import RowStore
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs
from headwater.index.key_index import KeyIndex, group
from headwater.sql.window_plan import Session

STRETCH = "stretch#"
_WIDTH = kernels.WIDTH
_NONE = np.zeros(0, np.int64)
_FAR = np.iinfo(np.int64).max


def as_microseconds(times: pa.ChunkedArray) -> Longs:
    """Times or dates without nulls, in microseconds since 1970 UTC."""
    zone = getattr(times.type, "tz", None)
    array: Longs = times.cast(pa.timestamp("us", zone)).cast(pa.int64()).to_numpy()
    return array


def as_times(us: Longs, kind: pa.DataType) -> pa.Array:
    """Microseconds since 1970 UTC as times of a type."""
    exact = pa.array(np.ascontiguousarray(us)).cast(pa.timestamp("us", getattr(kind, "tz", None)))
    return exact if exact.type == kind else exact.cast(kind)


def beside(keys: pa.Table, by: int | Longs) -> pa.Table:
    """Keys and stretches with other stretches: so many after (before, if negative)."""
    at = keys.schema.get_field_index(STRETCH)
    offset = pa.scalar(by, pa.int64()) if isinstance(by, int) else pa.array(by)
    return keys.set_column(at, STRETCH, pc.add(keys.column(STRETCH), offset))


class SessionOperator:
    """Runs a `Session` node. Its input are rows that each are a session of their own (`window_start`, `window_end`)."""

    def __init__(self, node: Session, worker: Worker) -> None:
        self._node, self._worker = node, worker
        self._stream = node.inputs[0].names[:-2]
        own = [field for field in node.inputs[0].schema if field.name in self._stream]
        self._columns = pa.schema([*own, pa.field(STRETCH, pa.int64())])
        self._found_by = (*node.keys, STRETCH)
        self._keys = pa.schema([self._columns.field(name) for name in self._found_by])
        self._reset()

    def _reset(self) -> None:
        self._rows = RowStore(self._columns, self._found_by, memory=self._worker.memory)
        self._index = KeyIndex(self._keys)
        self._flat = _NONE
        self._next_us = _FAR

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        rows = self._cut(delta)
        touched, slots = self._widen(rows)
        region = self._region(touched, slots)
        before = self._rows.rows_of(region)
        self._rows.apply(rows)
        self._narrow(touched, slots)
        after = self._sessions(self._rows.rows_of(region))
        gone = self._sessions(before)
        return settled(concat([after, negated(gone) if gone is not None else None]))

    def _cut(self, delta: pa.Table) -> pa.Table:
        """The rows without windows, with the number of their stretch."""
        numbers = as_microseconds(delta.column(self._node.time)) // self._node.gap_us
        plain = delta.select([*self._stream, WEIGHT])
        return conform(plain.append_column(STRETCH, pa.array(numbers)), self._columns)

    def _widen(self, rows: pa.Table) -> tuple[pa.Table, Longs]:
        """Makes the stretches of rows that come or go wide enough for all of them; returns each once, and its slot."""
        times = as_microseconds(rows.column(self._node.time))
        self._next_us = min(self._next_us, int(times.min()) + self._node.gap_us)
        keys = rows.select(list(self._found_by))
        slots, created = self._index.find_or_insert(keys)
        self._flat = self._worker.memory.grown(self._flat, self._index.capacity * _WIDTH)
        kernels.place(self._flat, _WIDTH, slots, times, created)
        if created.any():
            self._link(keys.filter(pa.array(created)), slots[created])
        distinct, firsts = np.unique(slots, return_index=True)
        return keys.take(pa.array(firsts)), distinct

    def _link(self, new: pa.Table, slots: Longs) -> None:
        """Finds the neighbours of new stretches."""
        for by, word in ((-1, kernels.BEFORE), (1, kernels.AFTER)):
            kernels.link(self._flat, _WIDTH, slots, self._index.find(beside(new, by)), word)

    def _region(self, touched: pa.Table, slots: Longs) -> pa.Table:
        """The keys and stretches of every session that these stretches may be of, before or after."""
        before, after = np.empty_like(slots), np.empty_like(slots)
        kernels.reach(self._flat, _WIDTH, slots, self._node.gap_us, before, after)
        counts = before + after + 1
        ends = np.cumsum(counts)
        offsets = np.arange(ends[-1]) - np.repeat(ends - counts + before, counts)
        return beside(touched.take(pa.array(np.repeat(np.arange(len(slots)), counts))), offsets)

    def _narrow(self, touched: pa.Table, slots: Longs) -> None:
        """Makes the stretches as narrow as the rows that are there; forgets those without."""
        rows = self._rows.rows_of(touched)
        own = self._index.find(rows)
        kernels.bound(self._flat, _WIDTH, own, as_microseconds(rows.column(self._node.time)))
        empty = np.setdiff1d(slots, own)
        if len(empty):
            kernels.unlink(self._flat, _WIDTH, empty)
            self._index.remove(empty)

    def _sessions(self, rows: pa.Table) -> pa.Table | None:
        """The rows with the windows of the sessions that they are of."""
        if not rows.num_rows:
            return None
        start, end = self._bounds(rows)
        kinds = [self._node.schema.field(name).type for name in self._node.names[-2:]]
        bounds = [as_times(us, kind) for us, kind in zip((start, end), kinds, strict=True)]
        columns = [*rows.select(self._stream).columns, *bounds, rows.column(WEIGHT)]
        return conform(pa.Table.from_arrays(columns, names=[*self._node.names, WEIGHT]), self._node.schema)

    def _bounds(self, rows: pa.Table) -> tuple[Longs, Longs]:
        """Start and end of each row's session, where all rows of the sessions are given."""
        times = as_microseconds(rows.column(self._node.time))
        numbers, _ = group(rows, pa.schema([self._keys.field(name) for name in self._node.keys]))
        order = np.lexsort((times, numbers))
        sorted_, keys = times[order], numbers[order]
        begins = np.r_[True, (np.diff(sorted_) > self._node.gap_us) | (np.diff(keys) != 0)]
        session = np.cumsum(begins) - 1
        firsts = np.flatnonzero(begins)
        lasts = np.r_[firsts[1:], len(times)] - 1
        start, end = np.empty_like(times), np.empty_like(times)
        start[order] = sorted_[firsts][session]
        end[order] = sorted_[lasts][session] + self._node.gap_us
        return start, end

    def advance(self, closed_us: int) -> pa.Table | None:
        if self._worker.frees and closed_us >= self._next_us:
            rows = self._rows.rows()
            ends = self._bounds(rows)[1] if rows.num_rows else _NONE
            gone = rows.filter(pa.array(ends <= closed_us))
            if gone.num_rows:
                slots = np.unique(self._index.find(gone))
                kernels.unlink(self._flat, _WIDTH, slots)
                self._index.remove(slots)
                self._rows.apply(negated(gone))
            left = ends[ends > closed_us]
            self._next_us = int(left.min()) if len(left) else _FAR
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        self._rows.checkpoint(folder / "rows", previous / "rows" if previous else None)

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        self._reset()
        if share is None:
            self._rows = RowStore.restore(parts[0] / "rows", memory=self._worker.memory)
        else:
            self._rows.gather([folder / "rows" for folder in parts], share, self._node.keys)
        rows = self._rows.rows()
        if rows.num_rows:
            self._narrow(*self._widen(rows))

    def keeps(self) -> str:
        return f"{self._rows.num_rows} rows"
