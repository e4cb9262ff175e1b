"""min, max, arg_min, arg_max, any_value, median and quantiles where rows go again: the values of each group in order.

A value is an entry, with the weight of its rows; what is first, last or at a rank is found in logarithmic time. Calls
that order by the same column and show the same column share the entries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.engine.accumulators.entry_log import EntryLog
from headwater.engine.accumulators.part import Batch, Claim, KeysOf
from headwater.engine.accumulators.records import Records, Taken, number
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

_LOWEST = ("min", "arg_min", "any_value", "mode", "first")


@dataclass(frozen=True)
class _Place:
    """An entry of each group that is looked for.

    Attributes:
        kind: first, last, or one next to a fraction of the way from the first to the last: below, above; or at which a
            fraction of all rows is reached: at.
        fraction: of the way, or of the rows.
    """

    kind: Literal["first", "last", "below", "above", "at"]
    fraction: float = 0.0

    def ranks(self, counts: Longs) -> Longs:
        """The rank in each group, given how many rows it has."""
        way = np.maximum(counts - 1, 0)
        match self.kind:
            case "first":
                found = np.zeros(len(counts), np.float64)
            case "last":
                found = way
            case "below":
                found = np.floor(way * self.fraction)
            case "above":
                found = np.ceil(way * self.fraction)
            case "at":
                found = np.maximum(np.ceil(counts * self.fraction) - 1, 0)
        return np.asarray(found, np.int64)


def _places(call: Accumulator) -> tuple[_Place, ...]:
    if call.kind == "quantile_cont":
        return (_Place("below", call.fraction), _Place("above", call.fraction))
    if call.kind == "quantile_disc":
        return (_Place("at", call.fraction),)
    return (_Place("first" if call.kind in _LOWEST else "last"),)


class Ordered:
    """The values of some columns per group, in order; NULL in one of them is no value.

    A record holds the count of rows and the entries that the calls show.

    Args:
        columns: what entries are ordered by, the first counting most; the last one is what is shown.
        calls: what will be shown.
        node: the aggregate's input.
        session: for texts, whose order DuckDB knows.
    """

    def __init__(
        self, columns: tuple[str, ...], calls: Sequence[Accumulator], node: Node, session: Session, memory: Memory
    ) -> None:
        kinds = {column.name: column.arrow for column in node.columns}
        self._columns, self._memory = columns, memory
        fields = [pa.field(name, kinds[name]) for name in columns]
        self._index = KeyIndex(pa.schema([pa.field("#group", pa.int64()), *fields]), memory=memory)
        self._values = {name: slot_values(kinds[name], memory) for name in columns}
        self._order = OrderKey([Ordering(name) for name in columns], node, session, nulls=False)
        self._rows = self._empty_rows()
        self._held: Longs = np.zeros(0, np.int64)
        self._group_of: Longs = np.zeros(0, np.int64)
        self._numbers = np.zeros(0, np.int32)
        self._log = EntryLog(memory)
        self._places = tuple(dict.fromkeys(place for call in calls for place in _places(call)))
        self.words = 1 + len(self._places)

    def _empty_rows(self) -> OrderedRows:
        return OrderedRows(self._order.width, self._memory, self._tails if self._order.has_tails else None)

    def place(self, records: Records, offset: int) -> None:
        self._records, self._offset = records, offset

    def reserve(self, slots: int) -> None:
        self._rows.reserve(slots, 0)

    def add(self, batch: Batch) -> None:
        batch = self._counted(batch)
        if len(batch.places):
            rows = pa.Table.from_arrays([batch.values(name) for name in self._columns], names=list(self._columns))
            self._weigh(batch.slots, rows, batch.weights)
            np.add.at(batch.taken[:, self._offset], batch.places, batch.weights)
            touched = np.zeros(len(batch.touched), np.bool_)
            touched[batch.places] = True
            groups = np.flatnonzero(touched)
            self._look_up(batch.taken, groups, batch.touched[groups])

    def _counted(self, batch: Batch) -> Batch:
        """The rows that have a value."""
        masks = [mask for name in self._columns if len(mask := batch.valid(name))]
        return batch.of(np.flatnonzero(np.logical_and.reduce(masks))) if masks else batch

    def _look_up(self, taken: Taken, at: Longs, slots: Longs) -> None:
        """Notes in records, those numbered `at`, the entries that groups show."""
        counts = taken[at, self._offset]
        known = np.flatnonzero(counts > 0)
        at, slots, counts = at[known], slots[known], counts[known]
        for i, place in enumerate(self._places):
            taken[at, self._offset + 1 + i] = self._rows.select(slots, place.ranks(counts))

    def _weigh(self, groups: Longs, rows: pa.Table, weights: Longs) -> Longs:
        """Adds rows to the weights of their entries, which are returned."""
        found, created = self._index.find_or_insert(rows.add_column(0, "#group", pa.array(groups)))
        self._reserve()
        new = np.flatnonzero(created)
        if len(new):
            self._group_of[found[new]] = groups[new]
            for name, values in self._values.items():
                values.put(found[new], rows.column(name).take(pa.array(new)).combine_chunks())
        firsts, numbers = np.empty(len(found), np.int64), np.empty(len(found), np.int64)
        firsts = firsts[: number(found, self._numbers, firsts, numbers)]
        entries = found[firsts]
        net = np.zeros(len(entries), np.int64)
        np.add.at(net, numbers, weights)
        before = self._held[entries]
        after = before + net
        if (after < 0).any():
            hint = "The input is broken or this is a bug: rebuild the model from the log, and report it."
            raise InvariantBroken("a value of a group is retracted more often than it was added", hint=hint)
        self._held[entries] = after
        self._log.note(entries)
        self._set_in_order(entries, groups[firsts], before, after, lambda some: rows.take(pa.array(firsts[some])))
        self._drop(entries[(before > 0) & (after == 0)], entries[(before == 0) & (after == 0)])
        return found

    def _set_in_order(
        self, entries: Longs, groups: Longs, before: Longs, after: Longs, rows_of: Callable[[Longs], pa.Table]
    ) -> None:
        """Gives entries that stay or come their weights and places; `rows_of` gives rows of those with some numbers."""
        fresh = np.flatnonzero((before == 0) & (after > 0))
        if len(fresh):
            self._rows.insert(groups[fresh], entries[fresh], self._order.words(rows_of(fresh)), after[fresh])
        stay = (before > 0) & (after > 0) & (before != after)
        if stay.any():
            self._rows.reweigh(entries[stay], (after - before)[stay])

    def _reserve(self) -> None:
        capacity = self._index.capacity
        self._held = self._memory.grown(self._held, capacity)
        self._group_of = self._memory.grown(self._group_of, capacity)
        self._numbers = self._memory.grown(self._numbers, capacity)
        self._rows.reserve(0, capacity)
        for values in self._values.values():
            values.reserve(capacity)

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
        counts = taken[:, self._offset]
        known = counts > 0
        columns = [self._offset + 1 + self._places.index(place) for place in _places(call)]
        ends = [self._shown_of(taken[:, at], known) for at in columns]
        return ends[0] if len(ends) == 1 else _between(ends[0], ends[1], call.fraction, counts, column)

    def _shown_of(self, entries: Longs, known: Mask) -> pa.Array:
        """What is shown of entries; NULL for those that are none."""
        if not known.any():
            return pa.nulls(len(entries), self._index.columns.field(self._columns[-1]).type)
        if known.all():
            return self._values[self._columns[-1]].get(entries)
        values = self._values[self._columns[-1]].get(np.where(known, entries, entries[known][0]))
        return pc.if_else(pa.array(known), values, None)

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
        found: list[Longs] = []

        def add(groups: Longs, rows: pa.Table) -> Longs:
            found.append(groups)
            return self._weigh(groups, rows.select(list(self._columns)), np.asarray(rows.column("#weight")))

        self._log.load(folder, claim, add)
        if found:
            slots = np.unique(np.concatenate(found))
            taken = self._records.take(slots)
            self._look_up(taken, np.arange(len(slots)), slots)
            self._records.put(slots, taken)


def _between(low: pa.Array, high: pa.Array, fraction: float, counts: Longs, column: Column) -> pa.Array:
    """As DuckDB's quantile_cont: between the values at the ranks next to the place."""
    way = np.maximum(counts - 1, 0) * fraction
    part = way - np.floor(way)
    least, most = (np.asarray(v.cast(pa.float64(), safe=False).fill_null(0.0)) for v in (low, high))
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.where(part == 0, least, least * (1.0 - part) + most * part)
    return pa.array(found, mask=counts <= 0).cast(column.arrow, safe=False)
