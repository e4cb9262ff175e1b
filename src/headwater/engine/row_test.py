"""Evaluates a filter over columns without SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.engine.coded import numbers_of
from headwater.index.kernels import Mask
from headwater.sql.row_plan import RowTest

_COMPARE: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "=": np.equal, "<>": np.not_equal, "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal,
}  # fmt: skip


def passes(test: RowTest, rows: pa.Table) -> Mask:
    """Which rows pass: a comparison with NULL is not true, and nothing here negates."""
    if test.parts:
        found = passes(test.parts[0], rows)
        for part in test.parts[1:]:
            found = found & passes(part, rows) if test.word == "and" else found | passes(part, rows)
        return found
    column = rows.column(test.column)
    if pa.types.is_dictionary(column.type):
        return _coded(test, column)
    if test.word == "true":
        return np.asarray(column.fill_null(False).to_numpy())
    if pa.types.is_integer(column.type):
        return _integers(test, column)
    return _texts(test, column)


def _coded(test: RowTest, column: pa.ChunkedArray) -> Mask:
    """Looks at each value once."""
    found = [
        passes(test, pa.table({test.column: part.dictionary}))[numbers_of(part)] for part in column.chunks if len(part)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.bool_)


def _integers(test: RowTest, column: pa.ChunkedArray) -> Mask:
    valid = column.is_valid().to_numpy() if column.null_count else None
    numbers = (column.fill_null(0) if column.null_count else column).to_numpy().astype(np.int64, copy=False)
    if test.modulus:
        # As in SQL the remainder has the sign of what is divided.
        numbers = np.fmod(numbers, test.modulus)
    if test.word == "in":
        found = np.isin(numbers, np.array(test.values, np.int64))
    else:
        found = _COMPARE[test.word](numbers, int(test.values[0]))
    return np.asarray(found if valid is None else found & valid)


def _texts(test: RowTest, column: pa.ChunkedArray) -> Mask:
    found = pc.is_in(column, value_set=pa.array(test.values, column.type))
    if test.word == "<>":
        found = pc.and_(pc.invert(found), column.is_valid())
    return np.asarray(found.to_numpy())
