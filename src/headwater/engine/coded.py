"""Columns that stand as numbers of values: they are filtered as such, and become values where these are looked at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.index.text_index import TextWriter
from headwater.index.text_kernels import Ints

_MANY = 4
"""With so many values to a row it does not pay to look at them all."""


def coded(numbers: Ints, values: pa.Array) -> pa.DictionaryArray:
    """A column of which row i is `values[numbers[i]]`; values may repeat, and be NULL."""
    return pa.DictionaryArray.from_arrays(pa.array(numbers), values, safe=False)


def plain(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """The column in a type, which is that of its values if they stand as numbers."""
    if column.type == kind or not pa.types.is_dictionary(column.type):
        return column
    chunks = [chunk for part in column.chunks for chunk in _values(part)]
    return pa.chunked_array(chunks, kind)


def plain_table(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """Rows whose columns of these names are plain."""
    for at, field in enumerate(rows.schema):
        wanted = columns.field(field.name).type if field.name in columns.names else field.type
        if field.type != wanted:
            rows = rows.set_column(at, pa.field(field.name, wanted), plain(rows.column(at), wanted))
    return rows


def numbers_of(column: pa.DictionaryArray) -> Ints:
    """The number of each row's value."""
    numbers: Ints = column.indices.to_numpy(zero_copy_only=False)
    return numbers


def _values(part: pa.DictionaryArray) -> list[pa.Array]:
    values = part.dictionary
    if pa.types.is_string(values.type) and len(values) <= _MANY * len(part):
        return list(TextWriter(values).written(np.ascontiguousarray(numbers_of(part))).chunks)
    return [values.take(part.indices)]
