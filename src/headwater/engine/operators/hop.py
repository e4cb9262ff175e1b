"""Hopping windows for an aggregate: rows come with the last of their windows only, and are looked up once per key and
window, not once per row and window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import group
from headwater.sql.plan import Aggregate, Hop
from headwater.sql.window_bounds import told_by_others


@dataclass(frozen=True)
class Windows:
    """The windows of a batch.

    Attributes:
        keys: the key columns of every (distinct key, window), window by window.
        numbers: each row's number among the distinct keys.
        count: how many windows a row is in.
    """

    keys: pa.Table
    numbers: Longs
    count: int

    def placed(self, kept: Mask | None) -> Iterator[tuple[Longs | None, Longs]]:
        """By window, the rows that are in it and for each its place among the keys kept. None stands for all."""
        size = len(self.keys) // self.count
        place = np.arange(len(self.keys)) if kept is None else np.where(kept, np.cumsum(kept) - 1, -1)
        for window in range(self.count):
            places = place[window * size : (window + 1) * size][self.numbers]
            if kept is None:
                yield None, places
                continue
            rows = np.flatnonzero(places >= 0)
            if len(rows):
                yield rows, places[rows]


def told_apart_by(node: Aggregate, keys: pa.Schema) -> pa.Schema:
    """The key columns by which groups differ: of a window's start and end one is enough."""
    told = told_by_others(node)
    return pa.schema([field for field in keys if field.name not in told])


def spread(delta: pa.Table, keys: pa.Schema, apart: pa.Schema, hop: Hop) -> Windows:
    """The windows of rows whose window columns are those of the last one.

    Args:
        delta: has the key columns.
        keys: the key columns.
        apart: those that tell groups apart.
        hop: how windows follow each other.
    """
    numbers, firsts = group(delta, apart)
    last = delta.select(keys.names).take(pa.array(firsts))
    again = pa.array(np.tile(np.arange(len(firsts)), hop.windows))
    back = np.repeat(np.arange(hop.windows) * hop.slide_us, len(firsts))
    columns = []
    for field in keys:
        column = last.column(field.name).take(again)
        if field.name in hop.columns:
            column = pa.chunked_array([_earlier(column.combine_chunks(), back)])
        columns.append(column)
    return Windows(pa.Table.from_arrays(columns, schema=keys), numbers, hop.windows)


def _earlier(times: pa.Array, by_us: Longs) -> pa.Array:
    """Timestamps so many microseconds earlier."""
    return pa.array(np.asarray(times.cast(pa.int64())) - by_us).cast(times.type)
