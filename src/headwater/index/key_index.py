"""A hash index from key to slot that never takes a hash for a key.

Who keeps state by key keeps it in arrays addressed by slot: small dense integers, re-used after removal. One thread at
a time may use an index; the loops release the GIL.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import InvariantBroken
from headwater.index import kernels
from headwater.index.kernels import FREED, FRESH, USED_WORDS, Longs, Mask, Words
from headwater.index.memory import Arrays, Value
from headwater.index.row_encoding import EncodedRows, RowEncoder, encode_table

_LEAST_BUCKETS = 16
_LEAST_DEAD_WORDS = 1 << 12
_MOST_SLOTS = 0xFFFFFFFE


class KeyIndex:
    """Slots of keys over the columns given; equality is SQL's GROUP BY (NULL equals NULL, see `row_encoding`).

    Args:
        columns: names and types of the key columns; other types are cast to these. None at all: every row is one key.
        hash_bits: how many bits of the hash are used; less than 64 only to force collisions in tests.

    Raises:
        TypeError: a column's type cannot be compared.
    """

    def __init__(self, columns: pa.Schema, *, hash_bits: int = 64) -> None:
        self.columns = columns
        self._encoder = RowEncoder(columns.types)
        self._kept_bits = np.uint64((1 << hash_bits) - 1)
        self._counters = np.zeros(3, np.int64)
        self._dead_words = 0
        self._buckets = np.zeros(_LEAST_BUCKETS, np.uint64)
        self._hashes = np.zeros(0, np.uint64)
        self._freed = np.zeros(0, np.int64)
        self._arena = np.zeros(0, np.uint64)
        self._starts = np.zeros(0, np.int64)
        self._lengths = np.zeros(0, np.int64)

    def __len__(self) -> int:
        """Number of keys."""
        return int(self._counters[FRESH] - self._counters[FREED])

    @property
    def capacity(self) -> int:
        """Highest slot ever given out, plus one: how long arrays addressed by slot must be."""
        return int(self._counters[FRESH])

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        arrays = (self._buckets, self._hashes, self._freed, self._arena, self._starts, self._lengths)
        return sum(array.nbytes for array in arrays)

    def find(self, keys: pa.Table | pa.RecordBatch) -> Longs:
        """Slot of each row's key, -1 where absent. The key columns are taken by name; others are not looked at."""
        rows, hashes = self._encode(keys)
        return self._find(rows, hashes)

    def find_or_insert(self, keys: pa.Table | pa.RecordBatch) -> tuple[Longs, Mask]:
        """Slot of each row's key, inserting those absent, and which rows did so (a key's first row in `keys`)."""
        rows, hashes = self._encode(keys)
        slots = self._find(rows, hashes)
        created = np.zeros(len(rows), np.bool_)
        absent = np.flatnonzero(slots < 0)
        if len(absent):
            self._make_room(len(absent), int(np.sum(np.diff(rows.offsets)[absent])))
            with np.errstate(over="ignore"):
                self._insert(rows, hashes, absent, slots, created)
        return slots, created

    def remove(self, slots: Longs) -> None:
        """Forgets the keys of these slots, each in use and named once; the slots are given out again later.

        Raises:
            InvariantBroken: a slot is not in use (those before it are removed).
        """
        slots = np.ascontiguousarray(slots, np.int64)
        if len(slots) and not 0 <= slots.min() <= slots.max() < self.capacity:
            raise InvariantBroken("a slot to remove from a key index was never given out")
        with np.errstate(over="ignore"):
            removed = kernels.remove(self._buckets, self._hashes, self._freed, self._counters, slots)
        if removed != len(slots):
            raise InvariantBroken(f"slot {slots[removed]} to remove from a key index is not in use")
        if not self._encoder.width:
            self._forget_words(slots)

    def _encode(self, keys: pa.Table | pa.RecordBatch) -> tuple[EncodedRows, Words]:
        rows = encode_table(self._encoder, keys, self.columns.names)
        hashes = np.empty(len(rows), np.uint64)
        with np.errstate(over="ignore"):
            kernels.hash_rows(rows.words, rows.offsets, self._kept_bits, hashes)
        return rows, hashes

    def _find(self, rows: EncodedRows, hashes: Words) -> Longs:
        slots = np.empty(len(rows), np.int64)
        kernels.find(
            self._buckets,
            self._arena,
            self._starts,
            self._lengths,
            self._encoder.width,
            rows.words,
            rows.offsets,
            hashes,
            slots,
        )
        return slots

    def _insert(self, rows: EncodedRows, hashes: Words, absent: Longs, slots: Longs, created: Mask) -> None:
        kernels.insert(
            self._buckets,
            self._hashes,
            self._arena,
            self._starts,
            self._lengths,
            self._encoder.width,
            self._freed,
            self._counters,
            rows.words,
            rows.offsets,
            hashes,
            absent,
            slots,
            created,
        )

    def _make_room(self, keys: int, words: int) -> None:
        """Sees to it that `keys` more keys of `words` words in all fit into every array."""
        slots = self.capacity + max(keys - int(self._counters[FREED]), 0)
        if slots > _MOST_SLOTS:
            raise InvariantBroken(f"a key index cannot hold more than {_MOST_SLOTS} keys")
        self._hashes = grown(self._hashes, slots)
        self._freed = grown(self._freed, slots)
        if width := self._encoder.width:
            self._arena = grown(self._arena, slots * width)
        else:
            self._starts = grown(self._starts, slots)
            self._lengths = grown(self._lengths, slots)
            self._arena = grown(self._arena, int(self._counters[USED_WORDS]) + words)
        self._grow_buckets(len(self) + keys)

    def _grow_buckets(self, keys: int) -> None:
        """Keeps at least a third of the buckets empty."""
        size = len(self._buckets)
        while keys * 3 > size * 2:
            size *= 2
        if size > len(self._buckets):
            old, self._buckets = self._buckets, np.zeros(size, np.uint64)
            kernels.rebuild(old, self._hashes, self._buckets)

    def _forget_words(self, slots: Longs) -> None:
        """Counts removed keys' words as dead, and moves the living together once more than half are."""
        self._dead_words += int(np.sum(self._lengths[slots]))
        self._lengths[slots] = 0
        used = int(self._counters[USED_WORDS])
        if self._dead_words < _LEAST_DEAD_WORDS or self._dead_words * 2 < used:
            return
        living = np.flatnonzero(self._lengths[: self.capacity])
        lengths = self._lengths[living]
        ends = np.cumsum(lengths)
        arena = np.zeros(used - self._dead_words, np.uint64)
        spans = (self._starts[living] * 8, lengths * 8)
        kernels.copy_spans(arena.view(np.uint8), (ends - lengths) * 8, self._arena.view(np.uint8), *spans)
        self._starts[living] = ends - lengths
        self._arena, self._dead_words, self._counters[USED_WORDS] = arena, 0, len(arena)


def group(keys: pa.Table | pa.RecordBatch, columns: pa.Schema, *, hash_bits: int = 64) -> tuple[Longs, Longs]:
    """Numbers the distinct keys of a batch from 0 in the order of their first rows.

    Args:
        keys: rows that hold the key columns.
        columns: the key columns.

    Returns:
        Each row's key number, and for each key number its first row.
    """
    numbers, created = KeyIndex(columns, hash_bits=hash_bits).find_or_insert(keys)
    return numbers, np.flatnonzero(created)


def grown(array: NDArray[Value], size: int) -> NDArray[Value]:
    """See `Arrays.grown`."""
    return Arrays().grown(array, size)
