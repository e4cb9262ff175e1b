"""min, max, arg_min, arg_max, any_value, median and quantiles where rows go again: the values of each group in order.

A value is an entry, with the weight of its rows; what is first, last or at a rank is found in logarithmic time. Calls
that order by the same column and show the same column share the entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.engine.accumulators.entry_log import EntryLog
from headwater.engine.accumulators.part import Batch, Claim, KeysOf
from headwater.engine.accumulators.records import Records, Taken
from headwater.engine.accumulators.slot_values import slot_values
from headwater.engine.order_key import OrderKey
from headwater.engine.session import Session
from headwater.engine.state.memory import Memory
from headwater.engine.state.ordered import OrderedRows
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import KeyIndex
from headwater.index.row_encoding import EncodedRows
from headwater.sql.plan import Accumulator, Column, Node, Ordering

_LOWEST = ("min", "arg_min", "any_value")


class Ordered:
    """The values of some columns per group, in order; NULL in one of them is no value.

    Args:
        columns: what entries are ordered by, the first counting most; the last one is what is shown.
        node: the aggregate's input.
        session: for texts, whose order DuckDB knows.
    """

    words = 1

    def __init__(self, columns: tuple[str, ...], node: Node, session: Session, memory: Memory) -> None:
        kinds = {column.name: column.arrow for column in node.columns}
        self._columns, self._memory = columns, memory
        fields = [pa.field(name, kinds[name]) for name in columns]
        self._index = KeyIndex(pa.schema([pa.field("#group", pa.int64()), *fields]), memory=memory)
        self._values = {name: slot_values(kinds[name], memory) for name in columns}
        self._order = OrderKey([Ordering(name) for name in columns], node, session, nulls=False)
        self._rows = OrderedRows(self._order.width, memory, self._tails if self._order.has_tails else None)
        self._held: Longs = np.zeros(0, np.int64)
        self._group_of: Longs = np.zeros(0, np.int64)
        self._log = EntryLog(memory)

    def place(self, records: Records, offset: int) -> None:
        self._records, self._offset = records, offset

    def reserve(self, slots: int) -> None:
        self._rows.reserve(slots, 0)

    def add(self, batch: Batch) -> None:
        masks = [mask for name in self._columns if len(mask := batch.valid(name))]
        if masks:
            batch = batch.of(np.flatnonzero(np.logical_and.reduce(masks)))
        if not len(batch.slots):
            return
        entries, numbers, firsts = self._entries(batch)
        net = np.zeros(len(entries), np.int64)
        np.add.at(net, numbers, batch.weights)
        np.add.at(self._records.column(self._offset), batch.slots, batch.weights)
        self._weigh(batch, entries, firsts, net)

    def _entries(self, batch: Batch) -> tuple[Longs, Longs, Longs]:
        """The distinct entries of rows, new ones included; each row's number among them, and each one's first row."""
        rows = pa.Table.from_arrays(
            [pa.array(batch.slots), *(batch.values(name) for name in self._columns)], schema=self._index.columns
        )
        found, created = self._index.find_or_insert(rows)
        self._reserve()
        new = np.flatnonzero(created)
        if len(new):
            self._group_of[found[new]] = batch.slots[new]
            for name, values in self._values.items():
                values.put(found[new], batch.values(name).take(pa.array(new)))
        entries, firsts, numbers = np.unique(found, return_index=True, return_inverse=True)
        return entries, numbers, firsts

    def _reserve(self) -> None:
        capacity = self._index.capacity
        self._held = self._memory.grown(self._held, capacity)
        self._group_of = self._memory.grown(self._group_of, capacity)
        self._rows.reserve(0, capacity)
        for values in self._values.values():
            values.reserve(capacity)

    def _weigh(self, batch: Batch, entries: Longs, firsts: Longs, net: Longs) -> None:
        """Adds to the weights of entries, whose values stand in the rows `firsts`."""
        before = self._held[entries]
        after = before + net
        if (after < 0).any():
            hint = "The input is broken or this is a bug: rebuild the model from the log, and report it."
            raise InvariantBroken("a value of a group is retracted more often than it was added", hint=hint)
        self._held[entries] = after
        self._log.note(entries)
        new = np.flatnonzero((before == 0) & (after > 0))
        if len(new):
            words = self._order.words(batch.delta.select(list(self._columns)).take(pa.array(firsts[new])))
            self._rows.insert(batch.slots[firsts[new]], entries[new], words, after[new])
        stay = (before > 0) & (after > 0) & (net != 0)
        if stay.any():
            self._rows.reweigh(entries[stay], net[stay])
        self._drop(entries[(before > 0) & (after == 0)], entries[(before == 0) & (after == 0)])

    def _drop(self, ordered: Longs, others: Longs) -> None:
        """Forgets entries, those in order and those that are not."""
        if len(ordered):
            self._rows.remove(ordered)
        gone = np.concatenate([ordered, others])
        if len(gone):
            self._held[gone] = 0
            self._index.remove(gone)
            self._log.forget(gone)

    def _tails(self, entries: Longs) -> EncodedRows:
        columns = [self._values[name].get(entries) for name in self._order.tail_columns]
        return self._order.tails(pa.Table.from_arrays(columns, names=self._order.tail_columns))

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        counts = np.ascontiguousarray(taken[:, self._offset])
        known = counts > 0
        if call.kind == "quantile_cont":
            return self._interpolated(call, column, slots, counts)
        if call.kind == "quantile_disc":
            ranks = np.maximum(np.ceil(call.fraction * counts).astype(np.int64) - 1, 0)
        else:
            ranks = np.zeros(len(slots), np.int64) if call.kind in _LOWEST else counts - 1
        return self._at(slots, ranks, known)

    def _at(self, slots: Longs, ranks: Longs, known: Mask) -> pa.Array:
        """What is shown of the entry at each rank; NULL where there is none."""
        entries = np.zeros(len(slots), np.int64)
        if not known.any():
            return pa.nulls(len(slots), self._index.columns.field(self._columns[-1]).type)
        entries[known] = self._rows.select(slots[known], ranks[known])
        entries[~known] = entries[known][0]
        values = self._values[self._columns[-1]].get(entries)
        return values if known.all() else pc.if_else(pa.array(known), values, None)

    def _interpolated(self, call: Accumulator, column: Column, slots: Longs, counts: Longs) -> pa.Array:
        """As DuckDB's quantile_cont: between the values at the ranks next to the place."""
        places = (np.maximum(counts, 1) - 1) * call.fraction
        low, high = np.floor(places).astype(np.int64), np.ceil(places).astype(np.int64)
        known = counts > 0
        ends = [_doubles(self._at(slots, ranks, known)) for ranks in (low, high)]
        part = places - low
        with np.errstate(invalid="ignore", over="ignore"):
            between = np.where(low == high, ends[0], ends[0] * (1.0 - part) + ends[1] * part)
        return pa.array(between, mask=~known).cast(column.arrow, safe=False)

    def forget(self, slots: Longs, closed: bool) -> None:
        if closed:
            entries, _, _ = self._rows.window(slots, 0, self._rows.counts(slots))
            self._drop(entries, entries[:0])

    def saved(self, slots: Longs) -> Mapping[str, pa.Array]:
        return {}

    def restored(self, slots: Longs, columns: Mapping[str, pa.Array]) -> None:
        return None

    def checkpoint(self, folder: Path, previous: Path | None, keys_of: KeysOf) -> None:
        self._log.save(folder, previous, keys_of, self._group_of, self._entry)

    def _entry(self, entries: Longs) -> pa.Table:
        columns = [self._values[name].get(entries) for name in self._columns]
        return pa.Table.from_arrays([pa.array(self._held[entries]), *columns], names=["#weight", *self._columns])

    def restore(self, folder: Path, claim: Claim) -> None:
        self._log.load(folder, claim, self._put)

    def _put(self, groups: Longs, rows: pa.Table) -> Longs:
        batch = Batch(rows.combine_chunks(), groups, np.asarray(rows.column("#weight")), groups)
        entries, numbers, firsts = self._entries(batch)
        self._weigh(batch, entries, firsts, batch.weights[firsts])
        return entries[numbers]


def _doubles(values: pa.Array) -> NDArray[np.float64]:
    return np.asarray(values.cast(pa.float64(), safe=False).fill_null(0.0).to_numpy(zero_copy_only=False))
