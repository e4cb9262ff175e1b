"""A Z-set of rows, found by key: what an operator remembers of its input.

The theory is DBSP's (Budiu et al., VLDB 2023): a row has a weight, a delta adds weights, and a row whose weight is 0 is
not there. Rows are equal as `headwater.index.row_encoding` says; no hash is ever taken for a row or a key.

Each row stands once, in an Arrow chunk, under a *slot*: a small number that stays the row's as long as it lives, and
is used again afterwards. Equal rows that came in different deltas may stand under several slots; the row's weight is
the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, delta_schema
from headwater.engine.delta import mask, rows_at
from headwater.engine.lazy import Delta, Lazy, table
from headwater.engine.netting import HashedRows
from headwater.engine.share import Share
from headwater.engine.state import row_checkpoint
from headwater.engine.state.chunks import DEAD, Chunk, Chunks
from headwater.engine.state.frozen import FrozenChunk, FrozenRows
from headwater.engine.state.key_chains import KeyChains
from headwater.engine.state.memory import Memory
from headwater.engine.state.row_finder import RowFinder
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask, Words

Losing = Callable[[Longs, Longs], None]
_SHOWN_CHARACTERS = 200
_ALL_ONES = np.zeros(0, np.int64)


class RowStore:
    """Rows with positive weights; one thread at a time.

    What costs are the delta, and the rows of the keys touched; not what is there. Memory besides the rows themselves:
    4 to 5 bytes a row for its key (and what `KeyIndex` takes for each key), and 16 to 22 to find it when it is
    retracted, which `append_only` saves. The first row to go costs another 8 bytes a row (12 with a key).

    Args:
        columns: the rows' columns, without `_weight`.
        key: names of the columns that rows are found by; empty: all rows have the one key ().
        append_only: no row is ever retracted; `discard` is allowed.
        memory: where rows and arrays are kept; the heap if not given.
        hash_bits: less than 64 only to force collisions in tests.

    Raises:
        TypeError: a column that must be compared is of a type that cannot be.
    """

    def __init__(
        self,
        columns: pa.Schema,
        key: tuple[str, ...],
        *,
        append_only: bool = False,
        memory: Memory | None = None,
        hash_bits: int = 64,
    ) -> None:
        self.columns, self._delta_schema = columns, delta_schema(columns)
        self.key = key
        self.append_only = append_only
        self._hash_bits = hash_bits
        self._memory = memory or Memory()
        self._reset()
        self._checkpoint_name = ""

    def _reset(self) -> None:
        key_columns = pa.schema([self.columns.field(name) for name in self.key])
        self._chunks = Chunks(self.columns, self._memory)
        self._chains = KeyChains(key_columns, self._memory, hash_bits=self._hash_bits) if self.key else None
        self._finder = None if self.append_only else RowFinder(self.columns, self._memory, hash_bits=self._hash_bits)
        self._weights = _ALL_ONES

    @property
    def num_rows(self) -> int:
        """Number of slots in use: of rows, where equal rows of different deltas may count apart."""
        return self._chunks.num_rows

    @property
    def capacity(self) -> int:
        """Highest slot ever given out, plus one: how long arrays addressed by slot must be."""
        return self._chunks.capacity

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        parts = (self._chains, self._finder, self._weights, self._chunks)
        return sum(part.nbytes for part in parts if part is not None)

    def apply(self, delta: Delta, losing: Losing | None = None) -> Longs:
        """Adds a delta (the columns by name, and int64 `_weight`), in which rows may take each other back.

        Args:
            delta: what to add.
            losing: told, before anything changes, which slots lose how much weight; those left with none are then used
                again.

        Returns:
            The slots of the rows added, in the order of the delta; of a delta with retractions its net additions only.

        Raises:
            InvariantBroken: a row that is not there is retracted (its weight would be negative), or any row if the
                store is append-only. The store stays as it is.
            StorageFailed: the memory budget is used up, and so is the disk. The store is of no more use.
        """
        rows = self._own_columns(delta)
        weights = delta.column(WEIGHT).to_numpy()
        if len(weights) and (self._finder is None or weights.min() >= 0) and not weights.all():
            rows, weights = mask(rows, weights != 0), weights[weights != 0]
        if not len(weights) or weights.min() > 0:
            return self._add(rows, weights)
        rows = table(rows)
        if self._finder is None:
            raise self._taken_back(rows, int(np.argmin(weights)))
        given = self._finder.netting.hashed(rows)
        at, weights = self._finder.netting.netted(given, weights)
        gone, come = np.flatnonzero(weights < 0), np.flatnonzero(weights > 0)
        self._retract(self._finder, rows, given, at[gone], -weights[gone], losing)
        if not len(come):
            self._chunks.tidy()
            return np.zeros(0, np.int64)
        return self._add(rows_at(rows, at[come]), weights[come], given.hashes[at[come]])

    def pairs(self, keys: pa.Table, *, nulls_match: bool = True) -> tuple[Longs, Longs]:
        """All matches of keys with rows.

        Args:
            keys: holds the key columns, under the store's names.
            nulls_match: NULL is equal to NULL; else a key with a NULL in it matches nothing.

        Returns:
            Positions in `keys`, ascending, and for each the slot of a row of that key.
        """
        if self._chains is None:
            slots = self._chunks.living_slots()
            return np.repeat(np.arange(keys.num_rows), len(slots)), np.tile(slots, keys.num_rows)
        if nulls_match or not any(keys.column(name).null_count for name in self.key):
            return self._chains.pairs(keys)
        whole = np.flatnonzero(np.logical_and.reduce([keys.column(name).is_valid().to_numpy() for name in self.key]))
        positions, slots = self._chains.pairs(keys.take(pa.array(whole)))
        return whole[positions], slots

    def pairs_in_parts(self, keys: pa.Table, most: int) -> Iterator[tuple[Longs, Longs]]:
        """`pairs`, some at a time: at most `most`, or the rows of the store with one key. No row may come or go in
        between."""
        if self._chains is not None:
            yield from self._chains.pairs_in_parts(keys, most)
            return
        slots = self._chunks.living_slots()
        step = max(1, most // max(1, len(slots)))
        for start in range(0, keys.num_rows if len(slots) else 0, step):
            positions = np.arange(start, min(start + step, keys.num_rows))
            yield np.repeat(positions, len(slots)), np.tile(slots, len(positions))

    def take(self, slots: Longs, columns: Sequence[str] | None = None) -> pa.Table:
        """The named columns (None: all, without `_weight`) of the rows of these slots, in their order."""
        return self._chunks.take(slots, columns)

    def pick(self, slots: Longs, columns: Sequence[str]) -> Lazy:
        """As `take`, but nothing is copied yet."""
        return self._chunks.pick(slots, columns)

    def weights_of(self, slots: Longs) -> Longs:
        """The weights of the rows of these slots."""
        return self._weights[slots] if len(self._weights) else np.ones(len(slots), np.int64)

    def slots(self) -> Longs:
        """The slots of all rows, ascending in age as far as rows have not gone."""
        return self._chunks.living_slots()

    def slots_of(self, keys: pa.Table) -> Longs:
        """The slots of all rows with the given keys, each once, in no order.

        Args:
            keys: holds the key columns; keys may repeat, and need not be there.
        """
        if self._chains is None:
            return self.slots() if keys.num_rows else np.zeros(0, np.int64)
        return self._chains.rows_of(keys)

    def rows_of(self, keys: pa.Table) -> pa.Table:
        """As `slots_of`: the rows and their `_weight`."""
        slots = self.slots_of(keys)
        return self._weighted(self._chunks.take(slots), slots)

    def rows(self) -> pa.Table:
        """All rows and their `_weight`, in no order."""
        return self._weighted(*self._chunks.living())

    def frozen(self) -> FrozenRows:
        """All rows as they are now, for another thread to read; costs a few bytes a row."""
        return FrozenRows(self.columns, tuple(map(self._frozen, (chunk for chunk in self._chunks if chunk.living))))

    def _frozen(self, chunk: Chunk) -> FrozenChunk:
        slots = chunk.all_slots()
        alive = None if chunk.slots is None else slots != DEAD
        living = slots if alive is None else slots[alive]
        weights = self.weights_of(living.astype(np.int64)) if len(self._weights) else None
        return FrozenChunk(chunk.rows, alive, weights)

    def contains(self, keys: pa.Table) -> Mask:
        """Which of the keys have rows."""
        if self._chains is None:
            return np.full(keys.num_rows, self.num_rows > 0)
        return self._chains.contains(keys)

    def discard(self, slots: Longs) -> None:
        """Forgets the rows of these slots, each in use and named once, whatever their weights."""
        self._forget(slots)
        self._chunks.tidy()

    def replace(self, slots: Longs, come: pa.Table) -> None:
        """`discard`, and then `apply` of rows of positive weights."""
        self._forget(slots)
        if come.num_rows:
            self.apply(come)
        else:
            self._chunks.tidy()

    def _forget(self, slots: Longs) -> None:
        if self._finder is not None and len(slots):
            self._finder.unlink(self._finder.netting.hashed(self._chunks.take(slots)).hashes, slots)
        self._drop(slots)

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
        self._chunks.part()
        base = self._checkpoint_name
        self._checkpoint_name = row_checkpoint.save(folder, self._chunks, self.key, self._chunk_weights, previous, base)
        for chunk in self._chunks:
            chunk.changed = None

    @classmethod
    def restore(
        cls, folder: Path, *, append_only: bool = False, memory: Memory | None = None, hash_bits: int = 64
    ) -> RowStore:
        """Reads a store back from the folder of a checkpoint.

        Raises:
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        saved = row_checkpoint.load_manifest(folder)
        store = cls(saved.columns, saved.key, append_only=append_only, memory=memory, hash_bits=hash_bits)
        for name, rows, weights in row_checkpoint.load_chunks(folder, saved):
            store._adopt(name, rows, weights)
        store._checkpoint_name = saved.name
        return store

    def gather(self, parts: Sequence[Path], share: Share, by: Sequence[str]) -> None:
        """Adds the rows in `share` of the stores checkpointed in `parts`.

        Args:
            parts: folders of checkpoints of stores with these columns, one per worker of then.
            share: of which keys the rows are to be taken.
            by: the columns by which rows are shared out among workers.

        Raises:
            CorruptCheckpoint: a file is missing, or is not as it was written.
        """
        for folder in parts:
            saved = row_checkpoint.load_manifest(folder)
            for _, batch, weights in row_checkpoint.load_chunks(folder, saved):
                rows = pa.Table.from_batches([batch])
                mine = np.flatnonzero(share.mine(rows, by) & (weights > 0))
                self._add(self._own_columns(rows_at(rows, mine)), weights[mine])

    def _adopt(self, name: str, batch: pa.RecordBatch, weights: Longs) -> None:
        """Takes in a chunk as it was."""
        alive = weights > 0
        slots = self._chunks.adopt(batch, alive, name)
        living = pa.Table.from_batches([batch if alive.all() else batch.filter(pa.array(alive))])
        self._link(living, slots, weights[alive])

    def _add(self, rows: Delta, weights: Longs, hashes: Words | None = None) -> Longs:
        """Stores rows of positive weights, whose hashes are given if they are known; returns their slots."""
        if not len(weights):
            return np.zeros(0, np.int64)
        slots = self._chunks.add(rows)
        self._link(rows, slots, weights, hashes)
        self._chunks.tidy()
        return slots

    def _link(self, rows: Delta, slots: Longs, weights: Longs, hashes: Words | None = None) -> None:
        """Makes rows that are stored known under their slots."""
        capacity = self._chunks.capacity
        if len(self._weights) or (weights != 1).any():
            had = len(self._weights)
            self._weights = self._memory.grown(self._weights, capacity)
            if not had:
                self._weights[:] = 1
            self._weights[slots] = weights
        if self._finder is not None:
            self._finder.link(self._finder.netting.hashed(rows).hashes if hashes is None else hashes, slots, capacity)
        if self._chains is not None:
            self._chains.link(rows, slots, capacity)

    def _retract(
        self, finder: RowFinder, rows: pa.Table, given: HashedRows, at: Longs, weights: Longs, losing: Losing | None
    ) -> None:
        """Takes the given weights off the rows at `at`, all distinct; the chunks are not tidied up."""
        if not len(at):
            return
        found = finder.find(given, at, weights, self._weights, self._chunks.take)
        if len(found.missing):
            raise self._never_there(rows, int(found.missing[0]))
        if losing is not None:
            losing(found.slots, found.taken)
        left = self.weights_of(found.slots) - found.taken
        dead = left == 0
        if not dead.all():
            self._weights[found.slots] = left
            self._chunks.touch(found.slots[~dead])
        finder.unlink(found.hashes[dead], found.slots[dead])
        self._drop(found.slots[dead])

    def _drop(self, slots: Longs) -> None:
        if self._chains is not None:
            self._chains.unlink(slots)
        self._chunks.discard(slots)

    def _own_columns(self, delta: Delta) -> Delta:
        """The store's columns of a delta, in its order and types."""
        if isinstance(delta, Lazy):
            rows = delta.select(self.columns.names)
            if rows.schema.types == self.columns.types:
                return rows
            delta = delta.table()
        if delta.schema.equals(self._delta_schema):
            return delta.remove_column(delta.num_columns - 1)
        return pa.Table.from_arrays([delta.column(name) for name in self._delta_schema.names[:-1]], schema=self.columns)

    def _weighted(self, rows: pa.Table, slots: Longs) -> pa.Table:
        columns = [*rows.columns, pa.chunked_array([self.weights_of(slots)], pa.int64())]
        return pa.Table.from_arrays(columns, schema=self._delta_schema)

    def _chunk_weights(self, chunk: Chunk) -> Longs:
        slots = chunk.all_slots()
        living = slots != DEAD
        weights = np.zeros(len(slots), np.int64)
        weights[living] = self.weights_of(slots[living].astype(np.int64))
        return weights

    def _never_there(self, rows: pa.Table, row: int) -> InvariantBroken:
        return InvariantBroken(
            f"a row with the key {self._shown(rows, row)} is retracted more often than it was added",
            hint="The input is broken or this is a bug: rebuild the model from the log, and report it.",
        )

    def _taken_back(self, rows: pa.Table, row: int) -> InvariantBroken:
        return InvariantBroken(
            f"a row with the key {self._shown(rows, row)} is retracted, but this input only ever appends",
            hint="The source does not keep to its changelog kind: capture the stream again, or do not declare it so.",
        )

    def _shown(self, rows: pa.Table, row: int) -> str:
        shown = repr(rows.select(list(self.key)).slice(row, 1).to_pylist()[0] if self.key else "()")
        return shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + "..."
