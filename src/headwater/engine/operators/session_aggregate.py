"""SESSION and its GROUP BY in one, over rows that only come: an entry per session, and one per stretch of the gap.

Stretches are those of `headwater.engine.operators.session`. A row finds its stretch by key, a new stretch its two
neighbours, and stretches that meet become one session; so a row costs the same wherever it falls, and however many
rows or sessions its key has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.engine.accumulators.slot_values import slot_values
from headwater.engine.delta import expanded, settled, weighted
from headwater.engine.operators import session_kernels as kernels
from headwater.engine.operators.session import STRETCH, as_microseconds, as_times, beside
from headwater.engine.share import Share
from headwater.engine.state.slot_log import SlotLog
from headwater.engine.worker import Worker
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import KeyIndex
from headwater.sql.window_plan import SessionAggregate

_KINDS = {"count": kernels.COUNT, "sum": kernels.SUM, "min": kernels.LEAST, "max": kernels.GREATEST}
_NO_ROWS = np.zeros(0, np.int64)
_ALL = np.zeros(0, np.bool_)
_FAR = np.iinfo(np.int64).max
_LINKS = (kernels.PARENT, kernels.BEFORE, kernels.AFTER)
"""Words that follow from the others."""


class SessionAggregateOperator:
    """Runs a `SessionAggregate` node."""

    def __init__(self, node: SessionAggregate, worker: Worker) -> None:
        self._node, self._worker = node, worker
        source = node.inputs[0].schema
        keys = [source.field(name) for name, _ in node.keys]
        self._keys = pa.schema([*keys, pa.field(STRETCH, pa.int64())])
        self._kinds = np.array([_KINDS[v.kind] for v in node.values if v.kind != "rows"], np.int64)
        self._width = kernels.WIDTH + sum(kernels.WORDS[kind] for kind in self._kinds.tolist())
        self._reset()

    def _reset(self) -> None:
        self._index = KeyIndex(self._keys)
        self._log = SlotLog(self._worker.memory)
        self._values = {field.name: slot_values(field.type, self._worker.memory) for field in self._keys}
        self._flat, self._marks, self._seen = _NO_ROWS, _NO_ROWS, _ALL
        self._next_us = _FAR

    def initial(self) -> pa.Table | None:
        return None

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        rows = expanded(delta).combine_chunks()
        times = as_microseconds(rows.column(self._node.time))
        self._next_us = min(self._next_us, int(times.min()) + self._node.gap_us)
        slots, firsts, stretches = self._stretches(rows, times)
        before, before_rows = self._touched(stretches, firsts)
        old = self._records(before)
        kernels.join_stretches(self._flat, self._width, stretches, self._node.gap_us, self._kinds)
        self._add(rows, slots, times)
        found, found_rows = np.empty_like(stretches), np.empty_like(stretches)
        count = kernels.sessions_of(self._flat, self._width, stretches, firsts, self._marks, found, found_rows)
        new = self._records(found[:count])
        self._log.note(np.concatenate([stretches, before, found[:count]]))
        at = np.concatenate([before_rows, found_rows[:count]])
        signs = np.repeat([-1, 1], [len(before), count])
        change = weighted(self._shown(rows, at, np.concatenate([old, new])), signs)
        return change if any(value.kind == "rows" for value in self._node.values) else settled(change)

    def _stretches(self, rows: pa.Table, times: Longs) -> tuple[Longs, Longs, Longs]:
        """Each row's stretch, widened to hold it; the first row of each stretch, and those stretches."""
        keyed = self._keyed(rows, times)
        slots, created = self._index.find_or_insert(keyed)
        self._reserve()
        kernels.place(self._flat, self._width, slots, times, created)
        firsts = np.empty(len(slots), np.int64)
        firsts = firsts[: kernels.first_rows(slots, self._seen, firsts)]
        stretches = slots[firsts]
        if created.any():
            new = keyed.filter(pa.array(created))
            self._put_keys(slots[created], new)
            self._link(new, slots[created])
        return slots, firsts, stretches

    def _put_keys(self, slots: Longs, keys: pa.Table) -> None:
        for name, values in self._values.items():
            values.put(slots, keys.column(name).combine_chunks())

    def _keyed(self, rows: pa.Table, times: Longs) -> pa.Table:
        columns = [rows.column(name) for name, _ in self._node.keys]
        return pa.Table.from_arrays([*columns, pa.array(times // self._node.gap_us)], schema=self._keys)

    def _link(self, new: pa.Table, slots: Longs) -> None:
        """Finds the neighbours of new stretches."""
        for by, word in ((-1, kernels.BEFORE), (1, kernels.AFTER)):
            kernels.link(self._flat, self._width, slots, self._index.find(beside(new, by)), word)

    def _reserve(self) -> None:
        slots = self._index.capacity
        self._flat = self._worker.memory.grown(self._flat, slots * self._width)
        self._marks = self._worker.memory.grown(self._marks, slots)
        self._seen = self._worker.memory.grown(self._seen, slots)
        for values in self._values.values():
            values.reserve(slots)

    def _touched(self, stretches: Longs, firsts: Longs) -> tuple[Longs, Longs]:
        """The sessions with rows that change, and a row of each one's key."""
        found, rows = np.empty(3 * len(stretches), np.int64), np.empty(3 * len(stretches), np.int64)
        count = kernels.touched_sessions(
            self._flat, self._width, stretches, firsts, self._node.gap_us, self._marks, found, rows
        )
        return found[:count].copy(), rows[:count].copy()

    def _add(self, rows: pa.Table, slots: Longs, times: Longs) -> None:
        kernels.count_rows(self._flat, self._width, slots, times)
        word, counted = kernels.WIDTH, [value for value in self._node.values if value.kind != "rows"]
        for value, kind in zip(counted, self._kinds.tolist(), strict=True):
            column = rows.column(value.argument)
            valid = column.is_valid().to_numpy() if column.null_count else _ALL
            values = _NO_ROWS if kind == kernels.COUNT else _as_longs(column)
            kernels.add_values(self._flat, self._width, slots, word, kind, values, valid)
            word += kernels.WORDS[kind]

    def _records(self, slots: Longs) -> Longs:
        out = np.empty(len(slots) * self._width, np.int64)
        kernels.take_records(self._flat, self._width, slots, out)
        return out.reshape(len(slots), self._width)

    def _shown(self, rows: pa.Table, at: Longs, records: Longs) -> pa.Table:
        """Result rows of sessions; `at` names a row of each one's key."""
        given = {own: rows.column(name).take(pa.array(at)) for name, own in self._node.keys}
        bounds = {self._node.start: records[:, kernels.FIRST]}
        bounds[self._node.end] = records[:, kernels.LAST] + self._node.gap_us
        types = {field.name: field.type for field in self._node.schema}
        given |= {name: as_times(us, types[name]) for name, us in bounds.items() if name}
        word = kernels.WIDTH
        for value in self._node.values:
            if value.kind == "rows":
                given[value.output] = pa.array(np.ascontiguousarray(records[:, kernels.ROWS]))
                continue
            kind = _KINDS[value.kind]
            given[value.output] = _shown_value(records, word, kind, types[value.output])
            word += kernels.WORDS[kind]
        return pa.Table.from_arrays([given[name] for name in self._node.names], schema=self._node.schema)

    def advance(self, closed_us: int) -> pa.Table | None:
        if not self._worker.frees or closed_us < self._next_us:
            return None
        used = self._used()
        last = np.empty_like(used)
        kernels.last_times(self._flat, self._width, used, last)
        closed = last + self._node.gap_us <= closed_us
        gone = used[closed]
        kernels.unlink(self._flat, self._width, gone)
        self._index.remove(gone)
        self._log.forget(gone)
        for values in self._values.values():
            values.clear(gone)
        self._next_us = int(last[~closed].min()) + self._node.gap_us if len(gone) < len(used) else _FAR
        return None

    def _used(self) -> Longs:
        parents = self._flat[kernels.PARENT :: self._width][: self._index.capacity]
        return np.flatnonzero(parents >= 0)

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        self._log.save(folder, previous, self._rows_of)

    def _rows_of(self, slots: Longs) -> pa.Table:
        """Stretches as a checkpoint has them: keys, and the words that do not follow from others."""
        records = self._records(slots)
        words = {f"#word{i}": pa.array(np.ascontiguousarray(records[:, i])) for i in self._words()}
        return pa.table({name: values.get(slots) for name, values in self._values.items()} | words)

    def _words(self) -> list[int]:
        return [i for i in range(self._width) if i not in _LINKS]

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        self._reset()
        for folder in parts:
            # Stretches of one session may stand in any of the pieces, and are joined once all are there.
            pieces = list(self._log.load(folder))
            if not pieces:
                continue
            rows, ids = pa.concat_tables([rows for _, rows in pieces]), np.concatenate([ids for ids, _ in pieces])
            if share is None:
                self._log.adopt(ids, self._take_back(rows))
            else:
                mine = share.mine(rows, [name for name, _ in self._node.keys])
                self._log.note(self._take_back(rows.filter(pa.array(mine))))

    def _take_back(self, rows: pa.Table) -> Longs:
        """Adds stretches that are not there, and returns them; sessions are joined again."""
        keys = rows.select(self._keys.names).cast(self._keys).combine_chunks()
        slots, _ = self._index.find_or_insert(keys)
        if not len(slots):
            return slots
        self._reserve()
        for word in self._words():
            self._flat[slots * self._width + word] = rows.column(f"#word{word}").to_numpy()
        for word, value in ((kernels.PARENT, slots), (kernels.BEFORE, -1), (kernels.AFTER, -1)):
            self._flat[slots * self._width + word] = value
        self._put_keys(slots, keys)
        self._link(keys, slots)
        kernels.join_stretches(self._flat, self._width, slots, self._node.gap_us, self._kinds)
        last = rows.column(f"#word{kernels.LAST}").to_numpy()
        self._next_us = min(self._next_us, int(last.min()) + self._node.gap_us)
        return slots

    def keeps(self) -> str:
        used = self._used()
        roots = self._flat[kernels.ROWS :: self._width][: self._index.capacity][used] > 0
        return f"{int(roots.sum())} sessions in {len(used)} stretches"


def _as_longs(column: pa.ChunkedArray) -> Longs:
    """Integers and times as int64, anything where null."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32() if pa.types.is_date32(column.type) else pa.int64())
    filled = pc.fill_null(column.cast(pa.int64()), 0)
    array: Longs = filled.to_numpy()
    return array


def _shown_value(records: Longs, word: int, kind: int, type_: pa.DataType) -> pa.Array:
    counts = np.ascontiguousarray(records[:, word])
    if kind == kernels.COUNT:
        return pa.array(counts)
    empty: Mask = counts == 0
    if kind == kernels.SUM:
        words = np.ascontiguousarray(records[:, word + 1 : word + 3])
        bits = pa.py_buffer(np.packbits(~empty, bitorder="little"))
        return pa.Array.from_buffers(type_, len(words), [bits, pa.py_buffer(words)])
    values = pa.array(np.ascontiguousarray(records[:, word + 1]), mask=empty)
    return values.cast(pa.int32()).cast(type_) if pa.types.is_date32(type_) else values.cast(type_)
