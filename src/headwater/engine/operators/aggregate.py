"""GROUP BY with count, and sum and avg of integers and decimals: accumulators per group, exact under retraction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.engine import kernels
from headwater.engine.accumulators import Accumulators, Taken, differing, shown
from headwater.engine.delta import concat, conform, mask, rows_at, weighted
from headwater.engine.group_files import GroupFiles
from headwater.engine.operators.closing import WindowEnds
from headwater.engine.share import Share
from headwater.engine.worker import Worker
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import KeyIndex, grown
from headwater.sql.plan import Aggregate


class AggregateOperator:
    """Runs an `Aggregate` node. A group is there while its rows' weights sum to more than 0; the global one always is.

    Groups of closed windows are kept only if late rows may come.
    """

    def __init__(self, node: Aggregate, worker: Worker) -> None:
        self._node = node
        self._keys = pa.schema([pa.field(c.name, c.arrow) for c in node.columns[: len(node.keys)]])
        self._index = KeyIndex(self._keys)
        self._accumulators = Accumulators(node.accumulators)
        self._groups = GroupFiles(self._keys)
        self._seen = np.zeros(0, np.bool_)
        self._ends = WindowEnds(node, node.closes, worker.session) if worker.frees and node.closes else None
        self._end_of = np.zeros(0, np.int64)
        if not node.keys:
            self._make_room(1)

    def initial(self) -> pa.Table | None:
        if self._node.keys:
            return None
        alone = np.zeros(1, np.int64)
        return self._changes(None, alone, self._accumulators.take(alone), 1)

    def step(self, deltas: Sequence[pa.Table | None]) -> pa.Table | None:
        (delta,) = deltas
        if delta is not None:
            delta = self._wanted(conform(delta, self._node.inputs[0].schema))
        if delta is None or not delta.num_rows:
            return None
        slots = self._slots(delta)
        firsts = np.empty(len(slots), np.int64)
        firsts = firsts[: kernels.first_rows(slots, self._seen, firsts)]
        touched = slots[firsts]
        before = self._accumulators.take(touched)
        self._accumulators.add(delta, slots)
        after = self._accumulators.take(touched)
        change = self._difference(rows_at(delta, firsts), before, after)
        self._forget(touched[~self._there(after)])
        return change

    def _wanted(self, delta: pa.Table) -> pa.Table:
        """The delta without rows of windows whose groups are gone."""
        if self._ends is None or not delta.num_rows:
            return delta
        ends = self._ends.of(delta.select(list(self._node.keys)))
        self._ends.note(ends)
        closed = self._ends.closed(ends)
        return mask(delta, ~closed) if closed.any() else delta

    def _slots(self, delta: pa.Table) -> Longs:
        """Each row's slot; new groups get one."""
        if not self._node.keys:
            return np.zeros(delta.num_rows, np.int64)
        slots, created = self._index.find_or_insert(delta)
        self._make_room(self._index.capacity)
        if created.any():
            keys = mask(delta.select(list(self._node.keys)), created)
            self._groups.add(slots[created], keys)
            if self._ends is not None:
                self._end_of[slots[created]] = self._ends.of(keys)
        return slots

    def _make_room(self, slots: int) -> None:
        self._accumulators.make_room(slots)
        self._seen = grown(self._seen, slots)
        self._end_of = grown(self._end_of, slots)

    def _there(self, taken: Taken) -> Mask:
        if not self._node.keys:
            return np.ones(len(taken["rows"]), np.bool_)
        return taken["rows"] > 0

    def _difference(self, keys: pa.Table, before: Taken, after: Taken) -> pa.Table | None:
        """What changes of the touched groups: the old rows go, the new ones come, where they differ."""
        if (after["rows"] < 0).any():
            hint = "The input is broken or this is a bug: rebuild the model from the log, and report it."
            raise InvariantBroken("a group's rows are retracted more often than they were added", hint=hint)
        differs = differing(before, after) if self._node.accumulators else np.zeros(len(after["rows"]), np.bool_)
        was, is_ = self._there(before), self._there(after)
        gone, new = np.flatnonzero(was & (differs | ~is_)), np.flatnonzero(is_ & (differs | ~was))
        return concat([self._changes(keys, gone, before, -1), self._changes(keys, new, after, 1)])

    def _changes(self, keys: pa.Table | None, at: Longs, taken: Taken, weight: int) -> pa.Table | None:
        """The result rows of the touched groups numbered `at`."""
        if not len(at):
            return None
        node = self._node
        grouped = [rows_at(keys, at).column(name) for name in node.keys] if keys is not None else []
        results = shown(taken, at, node.accumulators, node.columns[len(node.keys) :])
        rows = pa.Table.from_arrays([*grouped, *results], schema=node.schema)
        return weighted(rows, np.full(len(at), weight, np.int64))

    def _forget(self, slots: Longs) -> None:
        if len(slots) and self._node.keys:
            self._index.remove(slots)
            self._accumulators.clear(slots)

    def advance(self, closed_us: int) -> pa.Table | None:
        if self._ends is not None and self._ends.advance(closed_us):
            used = np.flatnonzero(self._accumulators.rows[: self._index.capacity] > 0)
            self._forget(used[self._ends.closed(self._end_of[used])])
        return None

    def checkpoint(self, folder: Path, previous: Path | None) -> None:
        used = self._used()
        self._groups.save(folder, used, self._accumulators.take(used))

    def restore(self, parts: Sequence[Path], share: Share | None) -> None:
        (folder,) = parts
        keys, taken = self._groups.load(folder)
        slots = np.zeros(len(taken["rows"]), np.int64)
        if self._node.keys:
            slots, _ = self._index.find_or_insert(keys)
            self._make_room(self._index.capacity)
            self._groups.add(slots, keys)
        self._accumulators.put(slots, taken)
        if self._ends is not None and len(slots):
            self._end_of[slots] = self._ends.of(keys)
            self._ends.note(self._end_of[slots])

    def _used(self) -> Longs:
        if not self._node.keys:
            return np.zeros(1, np.int64)
        return np.flatnonzero(self._accumulators.rows[: self._index.capacity] > 0)

    def keeps(self) -> str:
        return f"{len(self._index)} groups" if self._node.keys else "1 group"
