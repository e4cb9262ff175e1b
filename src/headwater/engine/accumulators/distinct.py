"""DISTINCT aggregates: which values a group has, and for each FILTER how often; the parts inside are told of firsts.

All calls over one argument share one index from (group, value) to how often the value is there, one count per FILTER.
A value that comes to a group or leaves it, under a FILTER, is a row of weight 1 or -1 for the part of that call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import types
from numpy.typing import NDArray

from headwater.engine.accumulators.entry_log import EntryLog
from headwater.engine.accumulators.part import Batch, Claim, KeysOf, Showing
from headwater.engine.accumulators.records import Records, Taken, longs_in, longs_out
from headwater.engine.accumulators.slot_values import slot_values
from headwater.engine.state.memory import Memory
from headwater.index.kernels import Longs, Mask, compiled
from headwater.index.key_index import KeyIndex

_steps = types.Array(types.int64, 2, "C")
_masks = types.Array(types.boolean, 2, "C", readonly=True)

MOST_BITS = 63
"""So many FILTERs a word has bits for."""


@compiled(types.int64(longs_out, types.int64, longs_in, _masks, longs_in, longs_out, _steps))
def _count(
    flat: Longs, width: int, pairs: Longs, masks: NDArray[np.bool_], weights: Longs, rows: Longs, steps: Taken
) -> int:
    """Counts values: in word 0 of a pair all rows, in the next those of each mask. Step +1: it is there now, -1: it is
    not any more. Writes down the rows with a step, and returns how many there are."""
    found = 0
    for row in range(len(pairs)):
        at, weight, moved = pairs[row] * width, weights[row], False
        flat[at] += weight
        for i in range(len(masks)):
            steps[i, found] = 0
            if masks[i, row]:
                before = flat[at + 1 + i] > 0
                flat[at + 1 + i] += weight
                steps[i, found] = np.int64(flat[at + 1 + i] > 0) - np.int64(before)
                moved = moved or steps[i, found] != 0
        if moved:
            rows[found] = row
            found += 1
    return found


@compiled(types.int64(longs_out, longs_in, _masks, longs_out, _steps))
def _mark(bits: Longs, pairs: Longs, masks: NDArray[np.bool_], rows: Longs, steps: Taken) -> int:
    """As `_count` for rows that only come: a bit for each mask."""
    found = 0
    for row in range(len(pairs)):
        known, fresh = bits[np.uint64(pairs[row])], np.int64(0)
        for i in range(len(masks)):
            if masks[i, row] and not (known >> i) & 1:
                fresh |= np.int64(1) << i
        if fresh:
            bits[np.uint64(pairs[row])] = known | fresh
            for i in range(len(masks)):
                steps[i, found] = (fresh >> i) & 1
            rows[found] = row
            found += 1
    return found


@dataclass(frozen=True)
class Member:
    """The part of the calls with one FILTER.

    Attributes:
        where: column of booleans, "" for no FILTER.
        part: is given each distinct value once.
    """

    where: str
    part: Showing


class Distinct:
    """The values of one column per group.

    Args:
        column: the argument.
        type_: its Arrow type.
        members: the parts; their words of a record follow each other.
        appends: no row is ever retracted.
    """

    def __init__(
        self, column: str, type_: pa.DataType, members: Sequence[Member], appends: bool, memory: Memory
    ) -> None:
        self._column, self._members = column, members
        self.wheres = list(dict.fromkeys(member.where for member in members))
        self._keys = pa.schema([("group", pa.int64()), ("value", type_)])
        self._index = KeyIndex(self._keys, memory=memory)
        self._appends = appends and len(self.wheres) <= MOST_BITS
        self._pairs = Records(1 if self._appends else 1 + len(self.wheres), memory)
        self._memory = memory
        self._group_of: Longs = np.zeros(0, np.int64)
        self._values = slot_values(type_, memory)
        self._log = EntryLog(memory)
        self.words = sum(member.part.words for member in members)

    def place(self, records: Records, offset: int) -> None:
        for member in self._members:
            member.part.place(records, offset)
            offset += member.part.words

    def reserve(self, slots: int) -> None:
        for member in self._members:
            member.part.reserve(slots)

    def add(self, batch: Batch) -> None:
        pairs = self._find(batch.slots, batch.values(self._column))
        self._log.note(pairs)
        masks = self._masks(batch)
        rows, steps = np.empty(len(pairs), np.int64), np.empty(masks.shape, np.int64)
        if self._appends:
            found = _mark(self._pairs.flat, pairs, masks, rows, steps)
        else:
            found = _count(self._pairs.flat, self._pairs.width, pairs, masks, batch.weights, rows, steps)
            self._drop(pairs)
        if found:
            moved = batch.narrowed([self._column]).of(rows[:found])
            for member in self._members:
                member.part.add(moved.weighing(steps[self.wheres.index(member.where), :found]))

    def _find(self, slots: Longs, values: pa.Array) -> Longs:
        """The pair of each row, new ones included."""
        pairs, created = self._index.find_or_insert(pa.Table.from_arrays([pa.array(slots), values], schema=self._keys))
        self._pairs.reserve(self._index.capacity)
        self._group_of = self._memory.grown(self._group_of, self._index.capacity)
        self._values.reserve(self._index.capacity)
        new = np.flatnonzero(created)
        if len(new):
            self._group_of[pairs[new]] = slots[new]
            self._values.put(pairs[new], values.take(pa.array(new)))
        return pairs

    def _masks(self, batch: Batch) -> Mask:
        """For each FILTER its rows; those whose value is null are none."""
        valid = batch.valid(self._column)
        masks = np.ones((len(self.wheres), len(batch.places)), np.bool_)
        for i, where in enumerate(self.wheres):
            if where:
                masks[i] = batch.true(where)
            if len(valid):
                masks[i] &= valid
        return masks

    def _drop(self, pairs: Longs) -> None:
        """Forgets the values that no row has any more."""
        self._remove(np.unique(pairs[self._pairs.column(0)[pairs] == 0]))

    def _remove(self, gone: Longs) -> None:
        if len(gone):
            self._pairs.clear(gone)
            self._index.remove(gone)
            self._values.clear(gone)
            self._group_of[gone] = -1
            self._log.forget(gone)

    def forget(self, slots: Longs, closed: bool) -> None:
        for member in self._members:
            member.part.forget(slots, closed)
        if not closed:
            return
        used = self._group_of[: self._index.capacity]
        going = np.zeros(int(max(used.max(initial=0), slots.max(initial=0))) + 1, np.bool_)
        going[slots] = True
        self._remove(np.flatnonzero((used >= 0) & going[used]))

    def saved(self, slots: Longs) -> Mapping[str, pa.Array]:
        return {
            f"{number}:{name}": column
            for number, member in enumerate(self._members)
            for name, column in member.part.saved(slots).items()
        }

    def restored(self, slots: Longs, columns: Mapping[str, pa.Array]) -> None:
        for number, member in enumerate(self._members):
            own = {name: column for name, column in columns.items() if name.startswith(f"{number}:")}
            member.part.restored(slots, {name.partition(":")[2]: column for name, column in own.items()})

    def checkpoint(self, folder: Path, previous: Path | None, keys_of: KeysOf) -> None:
        self._log.save(folder, previous, keys_of, self._group_of, self._entry)

    def _entry(self, pairs: Longs) -> pa.Table:
        counts = self._pairs.take(pairs)
        columns = [pa.array(np.ascontiguousarray(counts[:, i])) for i in range(self._pairs.width)]
        names = ["value", *(f"count{i}" for i in range(self._pairs.width))]
        return pa.Table.from_arrays([self._values.get(pairs), *columns], names=names)

    def restore(self, folder: Path, claim: Claim) -> None:
        self._log.load(folder, claim, self._put)

    def _put(self, groups: Longs, rows: pa.Table) -> Longs:
        pairs = self._find(groups, rows.column("value").combine_chunks())
        counts = [np.asarray(rows.column(f"count{i}")) for i in range(self._pairs.width)]
        self._pairs.put(pairs, np.stack(counts, axis=1))
        return pairs
