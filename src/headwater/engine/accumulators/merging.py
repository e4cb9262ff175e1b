"""The compiled loops that add up records that workers have made of their own rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import types

from headwater.change import WEIGHT
from headwater.engine.accumulators.records import Taken, longs_in
from headwater.index.kernels import Longs, Words, compiled

RECORD = "#record"
"""The column of records, each row one of a group; the rows that it was made of are not there then."""

_ONE = np.uint64(1)
_words_in = types.Array(types.uint64, 1, "C", readonly=True)
_record = (types.uint64[::1], types.int64, types.int64, longs_in, _words_in)


@compiled(types.void(*_record, types.int64))
def add_counts(words: Words, width: int, offset: int, places: Longs, records: Words, count: int) -> None:
    """Adds `count` words, each on its own."""
    for row in range(len(places)):
        at, given = places[row] * width + offset, row * width + offset
        for j in range(count):
            words[at + j] += records[given + j]


@compiled(types.void(*_record))
def add_sums(words: Words, width: int, offset: int, places: Longs, records: Words) -> None:
    """Adds a count, and behind it a sum of 128 bits."""
    for row in range(len(places)):
        at, given = places[row] * width + offset, row * width + offset
        words[at] += records[given]
        low = words[at + 1] + records[given + 1]
        words[at + 2] += records[given + 2] + (_ONE if low < records[given + 1] else np.uint64(0))
        words[at + 1] = low


@compiled(types.void(*_record))
def flip(words: Words, width: int, offset: int, places: Longs, records: Words) -> None:
    """Adds a count, and flips the bits behind it."""
    for row in range(len(places)):
        at, given = places[row] * width + offset, row * width + offset
        words[at] += records[given]
        words[at + 1] ^= records[given + 1]


@compiled(types.void(*_record, types.int64))
def keep_greatest(words: Words, width: int, offset: int, places: Longs, records: Words, size: int) -> None:
    """Keeps the greater of two numbers of `size` words behind a word that is 0 if there is none."""
    for row in range(len(places)):
        at, given = places[row] * width + offset, row * width + offset
        if records[given] == 0:
            continue
        i = 1
        while i < size and records[given + i] == words[at + i]:
            i += 1
        if words[at] == 0 or records[given + i] > words[at + i]:
            for j in range(size + 1):
                words[at + j] = records[given + j]


def with_records(keys: pa.Table, records: Taken) -> pa.Table:
    """A delta of records of the groups whose keys are given."""
    kind, count = pa.binary(8 * records.shape[1]), len(records)
    held = pa.Array.from_buffers(kind, count, [None, pa.py_buffer(np.ascontiguousarray(records))])
    arrays = [*keys.columns, held, pa.array(np.ones(count, np.int64))]
    fields = [*keys.schema, pa.field(RECORD, kind), pa.field(WEIGHT, pa.int64(), nullable=False)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def records_in(delta: pa.Table) -> Taken | None:
    """The records of a delta in one piece; None if it is of rows."""
    if RECORD not in delta.column_names:
        return None
    column = delta.column(RECORD)
    held = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    width = held.type.byte_width // 8
    words = np.frombuffer(held.buffers()[1], np.int64)[held.offset * width : (held.offset + len(held)) * width]
    return words.reshape(-1, width)
