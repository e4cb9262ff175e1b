"""GROUP BY: what is kept per group are parts (`headwater.engine.accumulators`), each exact under retraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import delta_schema
from headwater.engine.accumulators.layout import layout
from headwater.engine.accumulators.merging import RECORD, records_in
from headwater.engine.accumulators.part import Batch
from headwater.engine.accumulators.records import Taken, number
from headwater.engine.accumulators.slot_values import slot_values
from headwater.engine.delta import mask, shaped, weights
from headwater.engine.differing import differing
from headwater.engine.operators.closing import WindowEnds
from headwater.engine.operators.hop import spread, told_apart_by
from headwater.engine.share import Share
from headwater.engine.state.slot_log import SlotLog
from headwater.engine.worker import Worker
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import KeyIndex
from headwater.sql.plan import Aggregate

_ROW = "#row"


@dataclass(frozen=True)
class Shown:
    """What groups show at one moment.

    Attributes:
        there: which of them are there.
        columns: the results of the calls.
    """

    there: Mask
    columns: list[pa.Array]


class AggregateOperator:
    """Runs an `Aggregate` node. A group is there while its rows' weights sum to more than 0; the global one always is.

    Groups of closed windows are kept only if late rows may come.
    """

    def __init__(self, node: Aggregate, worker: Worker) -> None:
        self._node, self._memory = node, worker.memory
        self._keys = pa.schema([pa.field(c.name, c.arrow) for c in node.columns[: len(node.keys)]])
        self._schema, self._source = delta_schema(node.schema), delta_schema(node.inputs[0].schema)
        self._apart = told_apart_by(node, self._keys)
        self._index = KeyIndex(self._apart, memory=worker.memory)
        self._layout = layout(node, worker)
        self._records = self._layout.records
        self._values = {field.name: slot_values(field.type, worker.memory) for field in self._keys}
        self._log = SlotLog(worker.memory)
        self._numbers = np.zeros(0, np.int32)
        self._ends = WindowEnds(node, node.closes, worker.session) if worker.frees and node.closes else None
        self._end_of = np.zeros(0, np.int64)
        if not node.keys:
            self._reserve(1)

    def initial(self) -> pa.Table | None:
        if self._node.keys:
            return None
        alone = np.zeros(1, np.int64)
        return self._table([], self._shown(alone, self._records.take(alone)).columns, np.ones(1, np.int64))

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is None or not delta.num_rows:
            return None
        delta = (delta if RECORD in delta.column_names else shaped(delta, self._source)).combine_chunks()
        if self._node.hop is not None:
            return self._step_hop(delta)
        kept = self._open(delta)
        if kept is not None:
            delta = mask(delta, kept).combine_chunks()
            if not delta.num_rows:
                return None
        slots = self._slots(delta)
        firsts, places = self._numbered(slots)
        touched = slots[firsts]
        batch = Batch(delta, weights(delta), touched, self._records.take(touched), places, records_in(delta))
        return self._add(batch, [batch], delta, firsts)

    def _numbered(self, slots: Longs) -> tuple[Longs, Longs]:
        """The first row of each distinct slot, and each row's number among these."""
        firsts, places = np.empty(len(slots), np.int64), np.empty(len(slots), np.int64)
        return firsts[: number(slots, self._numbers, firsts, places)], places

    def _step_hop(self, delta: pa.Table) -> pa.Table | None:
        """As `step`, where a row stands for several windows: what is looked up is each window of each distinct key."""
        assert self._node.hop is not None
        windows = spread(delta, self._keys, self._apart, self._node.hop)
        kept = self._open(windows.keys)
        keys = windows.keys if kept is None else mask(windows.keys, kept)
        if not keys.num_rows:
            return None
        slots = self._slots(keys)
        firsts, numbers = self._numbered(slots)
        touched = slots[firsts]
        taken = self._records.take(touched)
        whole = Batch(delta, weights(delta), touched, taken, windows.numbers, records_in(delta))
        placed = windows.placed(kept)
        batches = [(whole if rows is None else whole.of(rows)).placed(numbers[places]) for rows, places in placed]
        return self._add(whole, batches, keys, firsts)

    def _add(self, whole: Batch, batches: Sequence[Batch], keys: pa.Table, firsts: Longs) -> pa.Table | None:
        """Adds batches to the groups that `whole` names, whose keys stand in the rows `firsts`; what changes by it."""
        touched, taken = whole.touched, whole.taken
        before = self._shown(touched, taken.copy())
        for batch in batches:
            self._layout.add(batch)
        self._records.put(touched, taken)
        self._log.note(touched)
        after = self._shown(touched, taken)
        change = self._change(keys, firsts, before, after)
        if not after.there.all():
            self._forget(touched[~after.there], closed=False)
        return change

    def _shown(self, slots: Longs, taken: Taken) -> Shown:
        """What groups show now, given their records."""
        there = taken[:, 0] > 0 if self._node.keys else np.ones(len(slots), np.bool_)
        self._check(taken)
        return Shown(there, [call.part.shown(call.call, call.column, taken, slots) for call in self._layout.calls])

    def _check(self, taken: Taken) -> None:
        if (taken[:, 0] < 0).any():
            hint = "The input is broken or this is a bug: rebuild the model from the log, and report it."
            raise InvariantBroken("a group's rows are retracted more often than they were added", hint=hint)

    def _open(self, keys: pa.Table) -> Mask | None:
        """Which keys are not those of windows whose groups are gone; None stands for all."""
        if self._ends is None:
            return None
        ends = self._ends.of(keys.select(list(self._node.keys)))
        self._ends.note(ends)
        closed = self._ends.closed(ends)
        return ~closed if closed.any() else None

    def _slots(self, delta: pa.Table) -> Longs:
        """Each row's slot; new groups get one."""
        if not self._node.keys:
            return np.zeros(delta.num_rows, np.int64)
        slots, created = self._index.find_or_insert(delta)
        if created.any():
            self._reserve(self._index.capacity)
            new = np.flatnonzero(created)
            keys = delta.select(list(self._node.keys)).take(pa.array(new))
            for name, values in self._values.items():
                values.put(slots[new], keys.column(name).combine_chunks())
            if self._ends is not None:
                self._end_of[slots[new]] = self._ends.of(keys)
        return slots

    def _reserve(self, slots: int) -> None:
        self._records.reserve(slots)
        self._numbers = self._memory.grown(self._numbers, slots)
        if self._ends is not None:
            self._end_of = self._memory.grown(self._end_of, slots)
        for values in self._values.values():
            values.reserve(slots)
        for part in self._layout.parts:
            part.reserve(slots)

    def _change(self, keys: pa.Table, firsts: Longs, before: Shown, after: Shown) -> pa.Table | None:
        """What changes of groups, whose keys stand in the rows `firsts`: the old rows go, the new ones come, where they
        differ."""
        same = before.there & after.there
        for old, new in zip(before.columns, after.columns, strict=True):
            if not same.any():
                break
            same &= ~differing(old, new)
        gone, new_ = np.flatnonzero(before.there & ~same), np.flatnonzero(after.there & ~same)
        if not (len(gone) or len(new_)):
            return None
        at = pa.array(firsts[np.concatenate([gone, new_])])
        listed = [keys.column(name).take(at) for name in self._node.keys]
        pairs = zip(before.columns, after.columns, strict=True)
        results = [pa.chunked_array([_at(old, gone), _at(new, new_)]) for old, new in pairs]
        return self._table(listed, results, np.repeat([-1, 1], [len(gone), len(new_)]))

    def _table(self, keys: list[pa.ChunkedArray], results: list[pa.Array], signs: Longs) -> pa.Table:
        return pa.Table.from_arrays([*keys, *results, pa.array(signs)], schema=self._schema)

    def _forget(self, slots: Longs, *, closed: bool) -> None:
        if len(slots) and self._node.keys:
            for part in self._layout.parts:
                part.forget(slots, closed)
            for values in self._values.values():
                values.clear(slots)
            self._index.remove(slots)
            self._records.clear(slots)
            self._log.forget(slots)

    def advance(self, closed_us: int) -> pa.Table | None:
        if self._ends is not None and self._ends.advance(closed_us):
            used = self._log.living()
            self._forget(used[self._ends.closed(self._end_of[used])], closed=True)
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        self._log.save(folder / "groups", previous / "groups" if previous else None, self._rows_of)
        for i, part in enumerate(self._layout.parts):
            name = f"part{i}"
            part.checkpoint(folder / name, previous / name if previous else None, self._keys_of)

    def _keys_of(self, slots: Longs) -> pa.Table:
        """The keys of groups; without any, a column in their place."""
        columns = [values.get(slots) for values in self._values.values()]
        return pa.Table.from_arrays([pa.nulls(len(slots)), *columns], names=[_ROW, *self._values])

    def _rows_of(self, slots: Longs) -> pa.Table:
        """What is kept of groups."""
        taken, rows = self._records.take(slots), self._keys_of(slots)
        for i in range(self._records.width):
            rows = rows.append_column(f"#word{i}", pa.array(np.ascontiguousarray(taken[:, i])))
        for i, part in enumerate(self._layout.parts):
            for name, column in part.saved(slots).items():
                rows = rows.append_column(f"#part{i}:{name}", column)
        return rows

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        for folder in parts:
            for ids, rows in self._log.load(folder / "groups"):
                mine = None if share is None else share.mine(rows, self._node.spread[0] or ())
                slots = self._take_back(rows if mine is None else mask(rows, mine))
                if mine is None:
                    self._log.adopt(ids, slots)
                else:
                    self._log.note(slots)
        for i, part in enumerate(self._layout.parts):
            for folder in parts:
                part.restore(folder / f"part{i}", lambda rows: self._claim(rows, share))

    def _claim(self, rows: pa.Table, share: Share | None) -> tuple[Mask | None, Longs]:
        """Which rows with keys are this worker's, and the slots of these."""
        mine = None if share is None else share.mine(rows, self._node.spread[0] or ())
        kept = rows if mine is None else mask(rows, mine)
        return mine, self._index.find(kept) if self._node.keys else np.zeros(kept.num_rows, np.int64)

    def _take_back(self, rows: pa.Table) -> Longs:
        """Adds groups to those that are there; none of them is."""
        slots = self._slots(rows)
        words = [np.asarray(rows.column(f"#word{i}")) for i in range(self._records.width)]
        self._records.put(slots, np.stack(words, axis=1))
        for i, part in enumerate(self._layout.parts):
            prefix = f"#part{i}:"
            names = [name for name in rows.column_names if name.startswith(prefix)]
            part.restored(slots, {n.removeprefix(prefix): rows.column(n).combine_chunks() for n in names})
        if self._ends is not None:
            self._ends.note(self._end_of[slots])
        return slots

    def keeps(self) -> str:
        return f"{len(self._index)} groups" if self._node.keys else "1 group"


def _at(column: pa.Array, positions: Longs) -> pa.Array:
    """The values at the positions given, in their order; positions ascend."""
    return column if len(positions) == len(column) else column.take(pa.array(positions))
