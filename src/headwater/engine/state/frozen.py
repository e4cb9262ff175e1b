"""The rows of a store as they were at one moment, to be read by another thread while the store goes on.

Chunks never change, so only which rows lived then is copied, and their weights where they are not all 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.change import delta_schema
from headwater.index.kernels import Longs, Mask


@dataclass(frozen=True)
class FrozenChunk:
    """Rows of one chunk.

    Attributes:
        rows: with the dead ones.
        alive: which of them lived; None if all did.
        weights: of the living, in order; None if all are 1.
    """

    rows: pa.RecordBatch
    alive: Mask | None
    weights: Longs | None

    @property
    def num_rows(self) -> int:
        """How many rows lived."""
        return len(self.rows) if self.alive is None else int(np.count_nonzero(self.alive))


@dataclass(frozen=True)
class FrozenRows:
    """Rows with weights, at one moment.

    Attributes:
        columns: the rows' columns.
        chunks: where they are.
    """

    columns: pa.Schema
    chunks: tuple[FrozenChunk, ...]

    @property
    def num_rows(self) -> int:
        """How many rows there are, each counted once whatever its weight."""
        return sum(chunk.num_rows for chunk in self.chunks)

    @property
    def nbytes(self) -> int:
        """About how many bytes they take."""
        return sum(int(chunk.rows.nbytes) * chunk.num_rows // max(len(chunk.rows), 1) for chunk in self.chunks)

    def slices(self, most: int) -> Iterator[pa.Table]:
        """The rows with `_weight`, at most `most` of them at a time."""
        for chunk in self.chunks:
            at = np.arange(len(chunk.rows)) if chunk.alive is None else np.flatnonzero(chunk.alive)
            for start in range(0, len(at), most):
                some = at[start : start + most]
                rows = chunk.rows.slice(start, len(some)) if chunk.alive is None else chunk.rows.take(pa.array(some))
                ones = np.ones(len(some), np.int64)
                weights = ones if chunk.weights is None else chunk.weights[start : start + most]
                batch = pa.Table.from_batches([rows], self.columns)
                yield pa.Table.from_arrays([*batch.columns, pa.array(weights)], schema=delta_schema(self.columns))

    def rows(self) -> pa.Table:
        """All rows with `_weight`."""
        return pa.concat_tables([delta_schema(self.columns).empty_table(), *self.slices(1 << 20)])
