"""Rows that only ever come: an append stream remembered, in case that it is truncated or must be read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, delta_schema
from headwater.engine.state import row_checkpoint
from headwater.engine.state.chunks import Chunk, Chunks
from headwater.errors import InvariantBroken
from headwater.index.key_index import grown


class RowBag:
    """A multiset of rows without any index: appends cost a copy, and memory is the rows and some 33 bytes each.

    Unlike in `RowStore`, equal rows stay apart and none can be looked up or retracted. One thread at a time.

    Args:
        columns: the rows' columns, without `_weight`.
    """

    key: tuple[str, ...] = ()

    def __init__(self, columns: pa.Schema) -> None:
        self.columns = columns
        self._reset()
        self._checkpoint_name = ""

    def _reset(self) -> None:
        self._chunks = Chunks(self.columns)
        self._weights = np.zeros(0, np.int64)
        self.num_rows = 0

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._chunks.nbytes + self._weights.nbytes

    def apply(self, delta: pa.Table) -> None:
        """Adds rows (the columns by name, and int64 `_weight`).

        Raises:
            InvariantBroken: a row has no positive weight. The bag stays as it is.
        """
        weights = delta.column(WEIGHT).to_numpy()
        if (weights <= 0).any():
            raise InvariantBroken(
                "an append stream takes a row back",
                hint="The source does not keep to its changelog kind: capture the stream again, and report this.",
            )
        columns = [delta.column(field.name).cast(field.type) for field in self.columns]
        rows = pa.Table.from_arrays(columns, schema=self.columns)
        slots = np.arange(self.num_rows, self.num_rows + len(weights))
        self._make_room(self.num_rows + len(weights))
        self._weights[slots] = weights
        # A take of all rows is a copy: else the rows would keep the whole log segment that they came in mapped.
        self._chunks.add(rows.take(pa.array(np.arange(len(weights)))), slots)
        self._chunks.tidy()

    def rows(self) -> pa.Table:
        """All rows and their `_weight`, oldest first."""
        rows, slots = self._chunks.living()
        columns = [*rows.columns, pa.chunked_array([self._weights[slots]], pa.int64())]
        return pa.Table.from_arrays(columns, schema=delta_schema(self.columns))

    def clear(self) -> pa.Table:
        """Forgets everything and returns what was there, as `rows` does."""
        rows = self.rows()
        self._reset()
        return rows

    def checkpoint(self, folder: Path, previous: Path | None = None) -> None:
        """As `RowStore.checkpoint`.

        Raises:
            StorageFailed: the folder is of no use; the bag is as before.
            CorruptCheckpoint: `previous` cannot be read.
        """
        base = self._checkpoint_name
        weights_of = self._chunk_weights
        self._checkpoint_name = row_checkpoint.save(folder, self._chunks, (), weights_of, previous, base)

    @classmethod
    def restore(cls, folder: Path) -> RowBag:
        """Reads a bag back from the folder of a checkpoint.

        Raises:
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        saved = row_checkpoint.load_manifest(folder)
        bag = cls(saved.columns)
        for name, rows, weights in row_checkpoint.load_chunks(folder, saved):
            slots = np.arange(bag.num_rows, bag.num_rows + len(weights))
            bag._make_room(bag.num_rows + len(weights))
            bag._weights[slots] = weights
            bag._chunks.adopt(Chunk(rows, slots, len(slots), name))
        bag._checkpoint_name = saved.name
        return bag

    def _make_room(self, num_rows: int) -> None:
        self._weights = grown(self._weights, num_rows)
        self._chunks.reserve(num_rows)
        self.num_rows = num_rows

    def _chunk_weights(self, chunk: Chunk) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return self._weights[chunk.slots]
