"""Computes columns of whole numbers without SQL: as 64-bit numbers, wherever their bounds say that these will do."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.engine.coded import plain
from headwater.engine.row_test import passes
from headwater.index.kernels import Longs, Mask
from headwater.index.text_kernels import count_bytes
from headwater.sql.row_plan import Formula, RowTest

_MOST = (1 << 63) - 1
_APPLY: Mapping[str, Callable[..., Longs]] = {"+": np.add, "-": np.subtract, "*": np.multiply, "%": np.fmod}
_BOUND: Mapping[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_LENGTHS = {"length": pc.utf8_length, "strlen": pc.binary_length}


class _Values(NamedTuple):
    """Numbers, one for all rows if it is a literal; which of them are not NULL, None for all; and their bounds."""

    numbers: Longs | int
    valid: Mask | None
    low: int
    high: int


def computed(formula: Formula, rows: pa.Table, kind: pa.DataType) -> pa.ChunkedArray | None:
    """The column of a formula, an integer or a decimal; None if DuckDB is to be asked, for the numbers are too large.

    Args:
        rows: one at least.
        kind: the column's type.
    """
    if formula.test is not None:
        return _tested(formula.test, rows)
    found = _values(formula, rows)
    if found is None:
        return None
    numbers = np.ascontiguousarray(np.broadcast_to(found.numbers, rows.num_rows), np.int64)
    nulls = None if found.valid is None else pa.py_buffer(np.packbits(found.valid, bitorder="little"))
    if pa.types.is_decimal(kind):
        wide = np.empty((len(numbers), 2), np.int64)
        wide[:, 0] = numbers
        np.right_shift(numbers, 63, out=wide[:, 1])
        data = wide
    else:
        data = numbers if pa.types.is_timestamp(kind) else numbers.astype(kind.to_pandas_dtype(), copy=False)
    return pa.chunked_array([pa.Array.from_buffers(kind, rows.num_rows, [nulls, pa.py_buffer(data)])])


def _tested(test: RowTest, rows: pa.Table) -> pa.ChunkedArray | None:
    if any(rows.column(name).null_count or _codes_null(rows.column(name)) for name in test.columns):
        return None
    bits = np.packbits(passes(test, rows), bitorder="little")
    return pa.chunked_array([pa.Array.from_buffers(pa.bool_(), rows.num_rows, [None, pa.py_buffer(bits)])])


def _codes_null(column: pa.ChunkedArray) -> bool:
    """Whether a number may stand for NULL."""
    return pa.types.is_dictionary(column.type) and any(part.dictionary.null_count for part in column.chunks)


def _values(formula: Formula, rows: pa.Table) -> _Values | None:
    if formula.word == "literal":
        return _Values(formula.value, None, formula.value, formula.value)
    if not formula.parts:
        return _of_column(formula, rows)
    sides = [_values(part, rows) for part in formula.parts]
    left, right = (
        side and (side if formula.word in "*%" else _scaled(side, formula.scale - part.scale))
        for side, part in zip(sides, formula.parts, strict=True)
    )
    if left is None or right is None:
        return None
    low, high = _bounds(formula.word, left, right)
    if low < formula.least or high > formula.most:
        return None
    numbers = _APPLY[formula.word](left.numbers, right.numbers)
    return _Values(numbers, _both(left.valid, right.valid), low, high)


def _bounds(word: str, left: _Values, right: _Values) -> tuple[int, int]:
    """The least and the greatest that may come out."""
    if word == "%":
        # As in SQL the remainder has the sign of what is divided.
        return min(0, max(left.low, 1 - right.high)), max(0, min(left.high, right.high - 1))
    corners = [_BOUND[word](a, b) for a, b in product((left.low, left.high), (right.low, right.high))]
    return min(corners), max(corners)


def _scaled(values: _Values, places: int) -> _Values | None:
    """The same numbers with more decimal places."""
    factor = 10**places
    low, high = values.low * factor, values.high * factor
    if max(-low, high) > _MOST:
        return None
    return _Values(values.numbers * factor, values.valid, low, high) if places else values


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    both: Mask = one & other
    return both


def _of_column(formula: Formula, rows: pa.Table) -> _Values:
    """The numbers of a column, or those that say something about its texts; 0 in place of NULL."""
    given = rows.column(formula.column)
    column = plain(given, given.type.value_type) if pa.types.is_dictionary(given.type) else given
    valid = column.is_valid().to_numpy() if column.null_count else None
    if formula.word == "occurrences":
        numbers = np.concatenate([_occurrences(chunk, formula.value) for chunk in column.chunks])
    else:
        found = _LENGTHS[formula.word](column) if formula.word in _LENGTHS else column
        found = found.cast(pa.int64()) if pa.types.is_timestamp(found.type) else found
        numbers = (found if valid is None else found.fill_null(0)).to_numpy().astype(np.int64, copy=False)
    return _Values(numbers, valid, int(numbers.min()), int(numbers.max()))


def _occurrences(texts: pa.StringArray, letter: int) -> Longs:
    _, offsets, buffer = texts.buffers()
    spans = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    counts = np.zeros(len(texts), np.int64)
    if buffer is not None:
        count_bytes(np.frombuffer(buffer, np.uint8), spans, np.uint8(letter), counts)
    return counts
