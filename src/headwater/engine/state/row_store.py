"""A Z-set of rows, found by key: what an operator remembers of its input.

The theory is DBSP's (Budiu et al., VLDB 2023): a row has a weight, a delta adds weights, and a row whose weight is 0 is
not there. Rows are equal as `headwater.index.row_encoding` says; no hash is ever taken for a row or a key.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.change import WEIGHT, delta_schema
from headwater.engine.state import row_checkpoint
from headwater.engine.state.checkpoint_files import corrupt
from headwater.engine.state.chunks import Chunk, Chunks
from headwater.engine.state.key_chains import KeyChains
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs
from headwater.index.key_index import KeyIndex, grown

_SHOWN_CHARACTERS = 200


class RowStore:
    """Rows with positive weights; one thread at a time.

    `apply`, `rows_of` and `contains` cost what the delta and the rows of the keys touched cost, not what is there.

    Args:
        columns: the rows' columns, without `_weight`.
        key: names of the columns that rows are found by; empty: all rows have the one key ().
        hash_bits: less than 64 only to force collisions in tests.
    """

    def __init__(self, columns: pa.Schema, key: tuple[str, ...], *, hash_bits: int = 64) -> None:
        self.columns = columns
        self.key = key
        self._hash_bits = hash_bits
        self._reset()
        self._checkpoint_name = ""

    def _reset(self) -> None:
        key_columns = pa.schema([self.columns.field(name) for name in self.key])
        self._index = KeyIndex(self.columns, hash_bits=self._hash_bits)
        self._chains = KeyChains(key_columns, hash_bits=self._hash_bits) if self.key else None
        self._chunks = Chunks(self.columns)
        self._weights = np.zeros(0, np.int64)

    @property
    def num_rows(self) -> int:
        """Number of distinct rows."""
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        chains = self._chains.nbytes if self._chains else 0
        return self._index.nbytes + self._chunks.nbytes + chains + self._weights.nbytes

    def apply(self, delta: pa.Table) -> None:
        """Adds a delta (the columns by name, and int64 `_weight`); equal rows' weights are summed first.

        Raises:
            InvariantBroken: a row that is not there is retracted (its weight would be negative). The store stays as is.
        """
        rows = self._own_columns(delta)
        weights = delta.column(WEIGHT).to_numpy()
        slots, created = self._index.find_or_insert(rows)
        self._make_room()
        np.add.at(self._weights, slots, weights)
        net = self._weights[slots]
        if (net < 0).any():
            np.subtract.at(self._weights, slots, weights)
            self._index.remove(slots[created])
            raise self._never_there(rows, int(np.argmax(net < 0)))
        self._chunks.touch(slots[(net > 0) & self._chunks.holds(slots)])
        self._add(rows, slots, np.flatnonzero(created & (net > 0)))
        self._drop(np.unique(slots[net == 0]))
        self._chunks.tidy()

    def rows_of(self, keys: pa.Table) -> pa.Table:
        """All rows with the given keys and their `_weight`, each row once, in no order.

        Args:
            keys: holds the key columns; keys may repeat, and need not be there.
        """
        if self._chains is None:
            return self.rows() if keys.num_rows else self._weighted(*self._chunks.take(np.zeros(0, np.int64)))
        return self._weighted(*self._chunks.take(self._chains.rows_of(keys)))

    def rows(self) -> pa.Table:
        """All rows and their `_weight`, in no order."""
        return self._weighted(*self._chunks.living())

    def contains(self, keys: pa.Table) -> NDArray[np.bool_]:
        """Which of the keys have rows."""
        if self._chains is None:
            return np.full(keys.num_rows, self.num_rows > 0)
        return self._chains.contains(keys)

    def clear(self) -> pa.Table:
        """Forgets everything and returns what was there, as `rows` does."""
        rows = self.rows()
        self._reset()
        return rows

    def checkpoint(self, folder: Path, previous: Path | None = None) -> None:
        """Writes the store into `folder` and fsyncs everything in it.

        Args:
            folder: new or empty; it may be renamed afterwards.
            previous: the folder of an earlier checkpoint of this store. If it is the last one taken or restored, what
                has not changed since is hard-linked from there, and the bytes written are in proportion to what has.

        Raises:
            StorageFailed: the folder is of no use; the store is as before.
            CorruptCheckpoint: `previous` cannot be read.
        """
        base = self._checkpoint_name
        self._checkpoint_name = row_checkpoint.save(folder, self._chunks, self.key, self._chunk_weights, previous, base)
        for chunk in self._chunks:
            chunk.changed[:] = False

    @classmethod
    def restore(cls, folder: Path, *, hash_bits: int = 64) -> RowStore:
        """Reads a store back from the folder of a checkpoint.

        Raises:
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        saved = row_checkpoint.load_manifest(folder)
        store = cls(saved.columns, saved.key, hash_bits=hash_bits)
        for name, rows, weights in row_checkpoint.load_chunks(folder, saved):
            if not store._adopt(name, rows, weights):
                raise corrupt(folder, f"chunk {name} repeats a row")
        store._checkpoint_name = saved.name
        return store

    def _adopt(self, name: str, batch: pa.RecordBatch, weights: Longs) -> bool:
        """Takes in a chunk as it was; False if a row of it is there already."""
        at = np.flatnonzero(weights > 0)
        rows = pa.Table.from_batches([batch.take(pa.array(at))])
        living, created = self._index.find_or_insert(rows)
        self._make_room()
        self._weights[living] = weights[at]
        slots = np.full(len(weights), -1, np.int64)
        slots[at] = living
        self._chunks.adopt(Chunk(batch, slots, len(at), name))
        if self._chains:
            self._chains.link(rows, living, self._index.capacity)
        return bool(created.all())

    def _own_columns(self, delta: pa.Table) -> pa.Table:
        """The store's columns of a delta, in its order and types."""
        columns = [delta.column(field.name).cast(field.type) for field in self.columns]
        return pa.Table.from_arrays(columns, schema=self.columns)

    def _make_room(self) -> None:
        self._weights = grown(self._weights, self._index.capacity)
        self._chunks.reserve(self._index.capacity)

    def _add(self, rows: pa.Table, slots: Longs, new: Longs) -> None:
        """Stores the rows numbered `new`, of which nothing is stored yet."""
        if not len(new):
            return
        fresh, fresh_slots = rows.take(pa.array(new)), slots[new]
        self._chunks.add(fresh, fresh_slots)
        if self._chains:
            self._chains.link(fresh, fresh_slots, self._index.capacity)

    def _drop(self, dead: Longs) -> None:
        """Forgets rows whose weight has become 0, whether or not they have been stored."""
        stored = dead[self._chunks.holds(dead)]
        self._chunks.discard(stored)
        if self._chains:
            self._chains.unlink(stored)
        self._index.remove(dead)

    def _weighted(self, rows: pa.Table, slots: Longs) -> pa.Table:
        columns = [*rows.columns, pa.chunked_array([self._weights[slots]], pa.int64())]
        return pa.Table.from_arrays(columns, schema=delta_schema(self.columns))

    def _chunk_weights(self, chunk: Chunk) -> Longs:
        weights = np.zeros(len(chunk.slots), np.int64)
        living = chunk.slots >= 0
        weights[living] = self._weights[chunk.slots[living]]
        return weights

    def _never_there(self, rows: pa.Table, row: int) -> InvariantBroken:
        shown = repr(rows.select(list(self.key)).slice(row, 1).to_pylist()[0] if self.key else "()")
        if len(shown) > _SHOWN_CHARACTERS:
            shown = shown[:_SHOWN_CHARACTERS] + "..."
        return InvariantBroken(
            f"a row with the key {shown} is retracted more often than it was added",
            hint="The input is broken or this is a bug: rebuild the model from the log, and report it.",
        )
