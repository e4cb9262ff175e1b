"""min, max, arg_min, arg_max, any_value, first and last over rows that only come: one best row per group."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import types

from headwater.engine.accumulators.merging import keep_greatest
from headwater.engine.accumulators.order_values import values_of
from headwater.engine.accumulators.part import Batch, Claim, KeysOf
from headwater.engine.accumulators.records import Records, Taken, longs_in, mask_in
from headwater.engine.accumulators.slot_values import TextValues, slot_values, texts_of
from headwater.engine.order_key import OrderKey
from headwater.engine.state.memory import Memory
from headwater.index.kernels import Bytes, Longs, Mask, Words, compiled
from headwater.sql.plan import Accumulator, Column

_words_in = types.Array(types.uint64, 1, "C", readonly=True)
_bytes_in = types.Array(types.uint8, 1, "C", readonly=True)
_record = (types.uint64[::1], types.int64, types.int64, longs_in, mask_in)


@compiled(types.void(*_record, _words_in, types.int64, types.boolean))
def _by_words(
    words: Words, width: int, offset: int, places: Longs, wanted: Mask, keys: Words, size: int, later: bool
) -> None:
    """Notes in each record the row that is best: whose words are greatest, as one big number. Of equal ones the first
    is best, or with `later` the last.

    A record has the row's number in this batch, plus 2 (0: there is none; 1: it came in an earlier batch), and its
    words.
    """
    everywhere = len(wanted) == 0
    for row in range(len(places)):
        if not (everywhere or wanted[row]):
            continue
        at = places[row] * width + offset
        better = words[at] == 0
        if not better:
            i = 0
            while i < size and keys[row * size + i] == words[at + 1 + i]:
                i += 1
            better = later if i == size else keys[row * size + i] > words[at + 1 + i]
        if better:
            words[at] = np.uint64(row + 2)
            for i in range(size):
                words[at + 1 + i] = keys[row * size + i]


_texts = (_bytes_in, longs_in, longs_in)


@compiled(types.void(*_record, longs_in, *_texts, *_texts, types.boolean))
def _by_texts(
    words: Words, width: int, offset: int, places: Longs, wanted: Mask, touched: Longs,
    data: Bytes, begins: Longs, sizes: Longs, arena: Bytes, starts: Longs, lengths: Longs, least: bool,
) -> None:  # fmt: skip
    """As `_by_words`, by texts: those of the rows, and those of the best rows of earlier batches by slot."""
    everywhere = len(wanted) == 0
    for row in range(len(places)):
        if not (everywhere or wanted[row]):
            continue
        at = places[row] * width + offset
        better = words[at] == 0
        if not better:
            known, slot = np.int64(words[at]) - 2, touched[places[row]]
            other, start, size = (
                (data, begins[known], sizes[known]) if known >= 0 else (arena, starts[slot], lengths[slot])
            )
            i, begin, shorter = 0, begins[row], min(size, sizes[row])
            while i < shorter and data[begin + i] == other[start + i]:
                i += 1
            if i < shorter:
                better = (data[begin + i] > other[start + i]) != least
            else:
                better = sizes[row] < size if least else sizes[row] > size
        if better:
            words[at] = np.uint64(row + 2)


class Best:
    """The row of each group that is best, and a value of it.

    Args:
        call: its kind says which row that is, `order` and `argument` of which columns.
        order: compares rows so that the greatest is best; None if they are compared by time or as texts.
        order_type: the Arrow type of the column compared; None if rows are compared by time.
        type_: the Arrow type of the argument.
    """

    def __init__(
        self,
        call: Accumulator,
        order: OrderKey | None,
        order_type: pa.DataType | None,
        type_: pa.DataType,
        memory: Memory,
    ) -> None:
        self._call, self._order = call, order
        self._type = type_
        # The least and the greatest value of fixed width can be told from its words.
        self._values = slot_values(type_, memory) if call.kind not in ("min", "max") or order is None else None
        texts = order_type is not None and order is None
        self._texts = TextValues(order_type, memory) if texts else None
        self.words = 1 + (order.width if order is not None else 0)

    def place(self, records: Records, offset: int) -> None:
        self._records, self._offset = records, offset

    def reserve(self, slots: int) -> None:
        if self._values is not None:
            self._values.reserve(slots)
        if self._texts is not None:
            self._texts.reserve(slots)

    def add(self, batch: Batch) -> None:
        compared = self._call.order or self._call.argument
        at = (batch.words, self._records.width, self._offset, batch.places, self._wanted(batch))
        if self._texts is not None:
            texts = self._texts
            known = (texts.arena, texts.starts, texts.lengths)
            _by_texts(
                *at, batch.touched, *texts_of(batch.values(compared)), *known, self._call.kind in ("min", "arg_min")
            )
        else:
            keys = self._order.words(batch.delta) if self._order is not None else np.zeros(0, np.uint64)
            _by_words(*at, keys, self.words - 1, self._call.kind == "last")
        self._note(batch)

    def merge(self, batch: Batch) -> None:
        """As `Mergeable` has it, where all that is kept is words."""
        words, width, places, records = batch.given
        keep_greatest(words, width, self._offset, places, records, self.words - 1)

    def _wanted(self, batch: Batch) -> Mask:
        """Rows that may be best. An argument that is NULL may only be so for first and last."""
        masks = [batch.valid(self._call.order)] if self._call.order else []
        if self._call.kind not in ("first", "last"):
            masks.append(batch.valid(self._call.argument))
        if self._call.where:
            masks.append(batch.true(self._call.where))
        given = [mask for mask in masks if len(mask)]
        return np.logical_and.reduce(given) if given else np.zeros(0, np.bool_)

    def _note(self, batch: Batch) -> None:
        """Keeps what groups show whose best row is new."""
        if self._values is None:
            return
        row_of = batch.taken[:, self._offset]
        found = np.flatnonzero(row_of > 1)
        if len(found):
            rows, slots = pa.array(row_of[found] - 2), batch.touched[found]
            row_of[found] = 1
            self._values.put(slots, batch.values(self._call.argument).take(rows))
            if self._texts is not None:
                self._texts.put(slots, batch.values(self._call.order or self._call.argument).take(rows))

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        if self._values is not None:
            return self._values.get(slots)
        at = self._offset
        words = np.ascontiguousarray(taken[:, at + 1 : at + self.words]).view(np.uint64)
        return values_of(words, self._type, taken[:, at] == 0, descending=self._call.kind == "min")

    def forget(self, slots: Longs, closed: bool) -> None:
        if self._values is not None:
            self._values.clear(slots)
        if self._texts is not None:
            self._texts.clear(slots)

    def saved(self, slots: Longs) -> Mapping[str, pa.Array]:
        texts = {"order": self._texts.get(slots)} if self._texts is not None else {}
        values = {"value": self._values.get(slots)} if self._values is not None else {}
        return {**values, **texts}

    def restored(self, slots: Longs, columns: Mapping[str, pa.Array]) -> None:
        if self._values is not None:
            self._values.put(slots, columns["value"])
        if self._texts is not None:
            self._texts.put(slots, columns["order"])

    def checkpoint(self, folder: Path, previous: Path | None, keys_of: KeysOf) -> None:
        return None

    def restore(self, folder: Path, claim: Claim) -> None:
        return None
