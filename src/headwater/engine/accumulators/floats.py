"""sum and avg of floats: exact, so that they depend on the values alone, whatever came, went and in what order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.engine.accumulators import float_bits
from headwater.engine.accumulators.counts import longs_of
from headwater.engine.accumulators.float_bits import BIN_WORDS, CODES
from headwater.engine.accumulators.part import Batch, Claim, KeysOf
from headwater.engine.accumulators.records import Records, Taken
from headwater.engine.state.memory import Memory
from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import KeyIndex
from headwater.sql.plan import Accumulator, Column

_KEYS = pa.schema([("bin", pa.int64())])
_SAVED = pa.list_(pa.struct([("bin", pa.int64()), *((f"word{i}", pa.int64()) for i in range(BIN_WORDS))]))


class FloatSum:
    """A count of doubles that are not null, and their sum, rounded only when it is shown.

    A record holds the count, how many other bins the group has, and the bin that most values fall into. The other bins,
    and the counts of NaN and of the infinities, stand in an index of their own by group and bin; they are there as long
    as they are not zero.
    """

    words = 2 + BIN_WORDS

    def __init__(self, argument: str, memory: Memory) -> None:
        self._argument = argument
        self._index = KeyIndex(_KEYS, memory=memory)
        self._bins = Records(BIN_WORDS, memory)

    def place(self, records: Records, offset: int) -> None:
        self._records, self._offset = records, offset

    def reserve(self, slots: int) -> None:
        return None

    def add(self, batch: Batch) -> None:
        self.add_values(batch, longs_of(batch.values(self._argument)), batch.valid(self._argument))

    def add_values(self, batch: Batch, values: Longs, valid: Mask) -> None:
        """Adds to the groups of a batch, for each row, the double with these bits."""
        others = np.empty(len(values), np.int64)
        at = (batch.words, self._records.width, self._offset)
        found = float_bits.add_home(*at, batch.places, values, valid, batch.weights, others)
        if found:
            self._add_others(batch, values, others[:found])

    def _add_others(self, batch: Batch, values: Longs, rows: Longs) -> None:
        """Adds values that fall into other bins, or are not finite."""
        keys = np.empty(len(rows), np.int64)
        float_bits.bins_of(batch.slots, values, rows, keys)
        bins, created = self._index.find_or_insert(_bin_table(keys))
        self._bins.reserve(self._index.capacity)
        float_bits.add_others(self._bins.flat.view(np.uint64), bins, values, rows, batch.weights)
        counts = batch.taken[:, self._offset + 1]
        np.add.at(counts, batch.places[rows[created]], 1)
        touched, firsts = np.unique(bins, return_index=True)
        empty = ~self._bins.take(touched).any(axis=1)
        if empty.any():
            self._index.remove(touched[empty])
            np.add.at(counts, batch.places[rows[firsts[empty]]], -1)

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        counts, others = taken[:, self._offset], taken[:, self._offset + 1] != 0
        homes = np.array(taken[:, self._offset + 2 : self._offset + 2 + BIN_WORDS], order="C").view(np.uint64)
        sums = np.empty(len(slots), np.float64)
        with np.errstate(over="ignore"):
            far = self._sums_of_all(homes[others], slots[others]) if others.any() else None
            float_bits.rounded_home(homes.reshape(-1), sums)
        if far is not None:
            sums[others] = far
        if call.kind in ("avg", "favg"):
            sums = sums / np.maximum(counts, 1)
        if call.kind in ("fsum", "favg"):
            # Kahan's way, which DuckDB goes, makes NaN of infinities.
            sums[np.isinf(sums)] = np.nan
        return pa.array(sums, mask=counts <= 0)

    def counts(self, taken: Taken) -> Longs:
        """How many values there are in groups, given their records."""
        return taken[:, self._offset]

    def pairs(self, taken: Taken, slots: Longs) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The sums of groups to twice a double's precision: rounded, and what that leaves."""
        others = np.flatnonzero(taken[:, self._offset + 1])
        which = np.full(len(slots), -1, np.int64)
        which[others] = np.arange(len(others))
        homes = np.array(taken[:, self._offset + 2 : self._offset + 2 + BIN_WORDS], order="C").view(np.uint64)
        high, low = np.empty(len(slots), np.float64), np.empty(len(slots), np.float64)
        bins, words = self._bins_of(slots[others]), self._bins.flat.view(np.uint64)
        with np.errstate(over="ignore"):
            float_bits.paired(homes.reshape(-1), words, which, bins, high, low)
        return high, low

    def _sums_of_all(self, homes: NDArray[np.uint64], slots: Longs) -> NDArray[np.float64]:
        """The sums of groups that have other bins."""
        sums = np.empty(len(slots), np.float64)
        float_bits.rounded_all(np.ascontiguousarray(homes), self._bins.flat.view(np.uint64), self._bins_of(slots), sums)
        return sums

    def _bins_of(self, slots: Longs) -> NDArray[np.int64]:
        """Where the other bins of groups stand, by code; -1 where they are zero."""
        keys = (slots[:, None] * CODES + np.arange(CODES)).ravel()
        return self._index.find(_bin_table(keys)).reshape(-1, CODES)

    def forget(self, slots: Longs, closed: bool) -> None:
        marked = slots[self._records.column(self._offset + 1)[slots] != 0]
        if len(marked):
            bins = self._bins_of(marked)
            there = bins[bins >= 0]
            self._index.remove(there)
            self._bins.clear(there)

    def saved(self, slots: Longs) -> Mapping[str, pa.Array]:
        others = self._records.column(self._offset + 1)[slots] != 0
        bins = np.full((len(slots), CODES), -1, np.int64)
        bins[others] = self._bins_of(slots[others])
        _, codes = there = np.nonzero(bins >= 0)
        words = self._bins.take(bins[there])
        columns = [pa.array(codes), *(pa.array(np.ascontiguousarray(words[:, i])) for i in range(BIN_WORDS))]
        offsets = np.concatenate([[0], np.cumsum((bins >= 0).sum(axis=1))]).astype(np.int32)
        items = pa.StructArray.from_arrays(columns, fields=list(_SAVED.value_type))
        return {"bins": pa.ListArray.from_arrays(pa.array(offsets), items).cast(_SAVED)}

    def restored(self, slots: Longs, columns: Mapping[str, pa.Array]) -> None:
        lists = columns["bins"]
        parents, items = np.asarray(lists.value_parent_indices()), lists.flatten()
        if not len(items):
            return
        keys = slots[parents] * CODES + np.asarray(items.field("bin"))
        bins, _ = self._index.find_or_insert(_bin_table(keys))
        self._bins.reserve(self._index.capacity)
        words = [np.asarray(items.field(f"word{i}")) for i in range(BIN_WORDS)]
        self._bins.put(bins, np.stack(words, axis=1))

    def checkpoint(self, folder: Path, previous: Path | None, keys_of: KeysOf) -> None:
        return None

    def restore(self, folder: Path, claim: Claim) -> None:
        return None


def _bin_table(keys: Longs) -> pa.Table:
    return pa.Table.from_arrays([pa.array(keys)], schema=_KEYS)
