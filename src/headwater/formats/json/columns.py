"""Arrow columns of what the scan of JSON messages found.

A field that holds values of several types comes as several columns of its name, one for each; the schema's policy
decides what becomes of them (`headwater.capture.messages`). What has no type yet is of Arrow's null type, an empty
array a list of it, an empty object a struct without fields.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.formats.json.kernels_columns import gather_texts
from headwater.formats.json.kernels_paths import (
    CODE,
    END,
    ENTRIES,
    ITEMS,
    OBJECT_COUNT,
    PARENT,
    PATHS,
    START,
    TAPE,
    TAPE_WIDTH,
    VALUE,
    Table,
)
from headwater.formats.json.kernels_scan import sort_tape
from headwater.formats.json.kernels_text import BOOL, DOUBLE, INT, JSON, LIST, NULL, OBJECT, TEXT, Bytes, Longs
from headwater.formats.json.paths import PathTable

Codes = NDArray[np.uint8]
BIG = pa.decimal128(38, 0)


class Columns:
    """Builds columns from a tape.

    Args:
        data: the bytes that were scanned.
        table: the paths.
        tape: what the scan filled.
    """

    def __init__(self, data: Bytes, table: PathTable, tape: Table) -> None:
        self._data = data
        self._table = table
        self._children = table.children()
        self._begins = np.concatenate([[0], np.cumsum(table.paths[: table.counts[PATHS], ENTRIES])])
        count = int(table.counts[TAPE])
        self._tape = np.empty((TAPE_WIDTH, count), np.int64)
        sort_tape(tape, count, self._begins[:-1].copy(), self._tape)

    def fields(self, path: int, count: int, chosen: Longs | None = None) -> pa.StructArray:
        """The fields of objects as a struct of columns.

        Args:
            path: of the objects.
            count: how many there are.
            chosen: only these of them, ascending.
        """
        arrays: list[pa.Array] = []
        names: list[str] = []
        rows = count if chosen is None else len(chosen)
        for field in sorted(self._children.get(path, ()), key=self._begin_of):
            for column in self._variants(field, rows, chosen):
                arrays.append(column)
                names.append(self._table.name(field))
        if not arrays:
            return pa.array([{}] * rows, pa.struct([]))
        return pa.StructArray.from_arrays(
            arrays, fields=[pa.field(n, a.type) for n, a in zip(names, arrays, strict=True)]
        )

    def _begin_of(self, path: int) -> int:
        """Where the first value of a path that is more than null begins: fields come in the order of the messages."""
        begin, end = int(self._begins[path]), int(self._begins[path + 1])
        said = self._tape[CODE][begin:end] % LIST != NULL
        first = int(np.argmax(said))
        return int(self._tape[START][begin + first]) if said[first] else len(self._data)

    def _variants(self, path: int, rows: int, chosen: Longs | None) -> list[pa.Array]:
        """The columns of a field, by the place of each one's first value."""
        begin, end = int(self._begins[path]), int(self._begins[path + 1])
        entries, parents = np.arange(begin, end), self._tape[PARENT][begin:end]
        if chosen is not None:
            at = np.searchsorted(chosen, parents)
            inside = (
                (at < rows) & (chosen[np.minimum(at, rows - 1)] == parents) if rows else np.zeros(len(at), np.bool_)
            )
            entries, parents = entries[inside], at[inside]
        codes = self._tape[CODE][entries]
        kinds, firsts = np.unique(codes, return_index=True)
        found = [int(kinds[number]) for number in np.argsort(firsts)]
        columns = []
        for code in [code for code in found if code != NULL] or found:
            if len(found) == 1:
                columns.append(_spread(self._typed(path, entries, code), parents, rows))
            else:
                of = np.flatnonzero(codes == code)
                columns.append(_spread(self._typed(path, entries[of], code), parents[of], rows))
        return columns

    def _typed(self, path: int, entries: Longs, code: int) -> pa.Array:
        """Values of one path as an array of one type, which holds them all."""
        if code >= LIST:
            return self._lists(path, entries, code)
        if code == OBJECT:
            return self._objects(path, entries)
        if code == NULL:
            return pa.nulls(len(entries))
        own = self._tape[CODE][entries]
        nulls = own == NULL
        mask = nulls if nulls.any() else None
        if code == INT:
            return pa.array(self._tape[VALUE][entries], pa.int64(), mask=mask)
        if code == BOOL:
            return pa.array(self._tape[VALUE][entries] != 0, mask=mask)
        if code == TEXT:
            return self._texts(entries, mask)
        if code == JSON:
            return self._written(entries, mask)
        if code == DOUBLE:
            return _doubles(self._texts(entries, mask))
        return self._texts(entries, mask).cast(BIG)

    def _texts(self, entries: Longs, mask: NDArray[np.bool_] | None) -> pa.Array:
        """Texts, and numbers as they are written."""
        escaped = np.where(self._tape[CODE][entries] == TEXT, self._tape[VALUE][entries], 0)
        return self._gathered(self._tape[START][entries], self._tape[END][entries], escaped, mask)

    def _written(self, entries: Longs, mask: NDArray[np.bool_] | None) -> pa.Array:
        """Values as JSON, as they stand in the message."""
        quoted = self._tape[CODE][entries] == TEXT
        starts, ends = self._tape[START][entries] - quoted, self._tape[END][entries] + quoted
        return self._gathered(starts, ends, np.zeros(len(entries), np.int64), mask)

    def _gathered(self, starts: Longs, ends: Longs, escaped: Longs, mask: NDArray[np.bool_] | None) -> pa.Array:
        if mask is not None:
            ends = np.where(mask, starts, ends)
        offsets = np.empty(len(starts) + 1, np.int32)
        out = np.empty(int((ends - starts).sum()), np.uint8)
        size = gather_texts(self._data, starts, ends, escaped, offsets, out)
        valid = None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little"))
        return pa.Array.from_buffers(pa.string(), len(starts), [valid, pa.py_buffer(offsets), pa.py_buffer(out[:size])])

    def _objects(self, path: int, entries: Longs) -> pa.Array:
        count = int(self._table.paths[path, OBJECT_COUNT])
        held = self._tape[CODE][entries] == OBJECT
        chosen = self._tape[VALUE][entries[held]]
        found = self.fields(path, count, None if len(chosen) == count else chosen)
        return found if held.all() else _spread(found, np.flatnonzero(held), len(entries))

    def _lists(self, path: int, entries: Longs, code: int) -> pa.Array:
        """Lists whose items are all of the code that `code` is made of."""
        held = self._tape[CODE][entries] >= LIST
        chosen = self._tape[VALUE][entries[held]]
        items = int(self._table.paths[path, ITEMS])
        begin, end = (int(self._begins[items]), int(self._begins[items + 1])) if items >= 0 else (0, 0)
        parents = self._tape[PARENT][begin:end]
        lengths = np.zeros(len(entries), np.int64)
        first, last = np.searchsorted(parents, chosen), np.searchsorted(parents, chosen, side="right")
        lengths[held] = last - first
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        within = np.repeat(first - offsets[:-1][held], last - first) + np.arange(int(offsets[-1]))
        values = self._typed(items, begin + within, code - LIST) if len(within) else pa.nulls(0, _empty(code - LIST))
        mask = None if held.all() else pa.array(~held)
        return pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)


def _empty(code: int) -> pa.DataType:
    """The type of the items of lists that are all empty."""
    return pa.null() if code < LIST else pa.list_(_empty(code - LIST))


def _doubles(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:  # NaN and Infinity, in some spellings
        return pa.array([None if text is None else float(text) for text in texts.to_pylist()], pa.float64())


def _spread(values: pa.Array, rows: Longs, count: int) -> pa.Array:
    """Values at their rows, null elsewhere."""
    if len(values) == count:
        return values
    numbers = np.zeros(count, np.int64)
    missing = np.ones(count, np.bool_)
    numbers[rows], missing[rows] = np.arange(len(values)), False
    return pc.take(values, pa.array(numbers, mask=missing))
