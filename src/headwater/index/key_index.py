"""A hash index from key to slot that never takes a hash for a key.

Who keeps state by key keeps it in arrays addressed by slot: small dense integers, re-used after removal. One thread at
a time may use an index; the loops release the GIL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import InvariantBroken
from headwater.index import kernels
from headwater.index.kernels import FREED, FRESH, USED_WORDS, Longs, Mask, Words
from headwater.index.memory import Arrays, Value
from headwater.index.row_encoding import EncodedRows, RowEncoder

_LEAST_BUCKETS = 16
_LARGE = 1 << 20
_FIRST = 1 << 10
_LEAST_DEAD_WORDS = 1 << 12
_MOST_SLOTS = 0xFFFFFFFE
_NO_OFFSETS = np.zeros(0, np.int64)


Anything = NDArray[np.generic]


@dataclass(frozen=True)
class IndexParts:
    """What an index consists of: a few numbers, and arrays; both by name."""

    numbers: Mapping[str, int]
    arrays: Mapping[str, Anything]


def as_array(parts: IndexParts, name: str, kind: type[Value]) -> NDArray[Value]:
    """One of the arrays.

    Raises:
        InvariantBroken: it is of another type.
    """
    array = parts.arrays[name]
    if array.dtype != kind:
        raise InvariantBroken(f"an array of a key index is of {array.dtype}, not of {np.dtype(kind)}")
    return cast("NDArray[Value]", array)


class KeyIndex:
    """Slots of keys over the columns given; equality is SQL's GROUP BY (NULL equals NULL, see `row_encoding`).

    A key takes 13 to 20 bytes and its value in words of 8 bytes: an int64 key 21 to 32 bytes. Another word is taken by
    all keys once a NULL is among them, and 12 bytes more by keys of varying length.

    Args:
        columns: names and types of the key columns; other types are cast to these. None at all: every row is one key.
        memory: where arrays come from.
        hash_bits: how many bits of the hash are used; less than 64 only to force collisions in tests.

    Raises:
        TypeError: a column's type cannot be compared.
    """

    def __init__(self, columns: pa.Schema, *, memory: Arrays | None = None, hash_bits: int = 64) -> None:
        self.columns = columns
        self._names = columns.names
        self._memory = memory or Arrays()
        self._encoder = RowEncoder(columns.types)
        self._values = self._encoder.values
        self._width = self._values
        self._kept_bits = kernels.upper_bits(hash_bits)
        self._counters = np.zeros(3, np.int64)
        self._dead_words = 0
        self._buckets = np.zeros(_LEAST_BUCKETS, np.uint64)
        self._freed = np.zeros(0, np.uint32)
        self._arena = np.zeros(0, np.uint64)
        self._starts = np.zeros(0, np.int64)
        self._lengths = np.zeros(0, np.uint32)

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
        return sum(array.nbytes for array in (self._buckets, self._freed, self._arena, self._starts, self._lengths))

    def reserve(self, keys: int) -> None:
        """Makes exactly the room that so many keys in all need, where keys are of fixed size, and the index is empty:
        one that is filled step by step ends up with up to half as much again."""
        if self._width and not self.capacity:
            self._buckets = roomier(self._buckets, keys, self._memory, exactly=True)
            self._make_room(keys, 0)

    def parts(self) -> IndexParts:
        """What the index consists of, to be put into a file; the arrays are its own."""
        slots, used = self.capacity, int(self._counters[USED_WORDS])
        arrays: dict[str, Anything] = {
            "buckets": self._buckets,
            "freed": self._freed[: int(self._counters[FREED])],
            "arena": self._arena[: slots * self._width if self._width else used],
            "starts": self._starts[:slots],
            "lengths": self._lengths[:slots],
        }
        numbers = {"fresh": slots, "used": used, "dead": self._dead_words, "width": self._width}
        return IndexParts(numbers, arrays)

    def restore(self, parts: IndexParts) -> None:
        """Becomes the index of the same columns that consisted of these parts; the arrays are its own from now on."""
        numbers = parts.numbers
        self._dead_words, self._width = numbers["dead"], numbers["width"]
        self._buckets, self._arena = as_array(parts, "buckets", np.uint64), as_array(parts, "arena", np.uint64)
        self._freed, self._lengths = as_array(parts, "freed", np.uint32), as_array(parts, "lengths", np.uint32)
        self._starts = as_array(parts, "starts", np.int64)
        self._counters[:] = [numbers["fresh"], len(self._freed), numbers["used"]]

    def find(self, keys: pa.Table | pa.RecordBatch) -> Longs:
        """Slot of each row's key, -1 where absent. The key columns are taken by name; others are not looked at."""
        return self._find(*self._encode(keys))

    def find_or_insert(self, keys: pa.Table | pa.RecordBatch) -> tuple[Longs, Mask]:
        """Slot of each row's key, inserting those absent, and which rows did so (a key's first row in `keys`)."""
        rows, hashes = self._encode(keys)
        slots, created = np.empty(len(hashes), np.int64), np.zeros(len(hashes), np.bool_)
        # Into an empty index a few go first, so that keys that come again are found, and there is no room for each row.
        known = 0 if len(self) else min(_FIRST, len(hashes))
        self._insert_all(rows, hashes, np.arange(known), slots, created)
        slots[known:] = self._find(rows, hashes, known)
        self._insert_all(rows, hashes, known + np.flatnonzero(slots[known:] < 0), slots, created)
        return slots, created

    def _insert_all(self, rows: EncodedRows, hashes: Words, absent: Longs, slots: Longs, created: Mask) -> None:
        if len(absent):
            self._make_room(len(absent), 0 if self._width else int(np.sum(np.diff(rows.offsets)[absent])))
            self._insert(rows, hashes, absent, slots, created)

    def remove(self, slots: Longs) -> None:
        """Forgets the keys of these slots, each in use and named once; the slots are given out again later.

        Raises:
            InvariantBroken: a slot is not in use (those before it are removed).
        """
        slots = np.ascontiguousarray(slots, np.int64)
        if not len(slots):
            return
        if not 0 <= slots.min() <= slots.max() < self.capacity:
            raise InvariantBroken("a slot to remove from a key index was never given out")
        self._freed = self._memory.grown(self._freed, int(self._counters[FREED]) + len(slots))
        removed = self._remove(slots)
        if removed != len(slots):
            raise InvariantBroken(f"slot {slots[removed]} to remove from a key index is not in use")
        if not self._width:
            self._forget_words(slots)

    def _encode(self, keys: pa.Table | pa.RecordBatch) -> tuple[EncodedRows, Words]:
        columns = [keys.column(name) for name in self._names]
        hashes = np.empty(keys.num_rows, np.uint64)
        words = self._encoder.encode_values(columns, keys.num_rows) if self._width == self._values else None
        if words is not None:
            kernels.hash_keys(words, self._values, self._values, self._kept_bits, hashes)
            return EncodedRows(words, _NO_OFFSETS), hashes
        rows = self._encoder.encode(columns, keys.num_rows)
        if not self._encoder.width:
            kernels.hash_rows(rows.words, rows.offsets, self._kept_bits, hashes)
            return rows, hashes
        if self._width == self._values:
            self._widen()
        kernels.hash_keys(rows.words, self._values, self._width, self._kept_bits, hashes)
        return rows, hashes

    def _widen(self) -> None:
        """Gives each key its words of null bits, all 0: this changes no hash."""
        slots, narrow = self.capacity, self._arena
        self._width = self._encoder.width
        self._arena = self._memory.grown(np.zeros(0, np.uint64), slots * self._width)
        wide = self._arena[: slots * self._width].reshape(slots, self._width)
        wide[:, : self._values] = narrow[: slots * self._values].reshape(slots, self._values)

    def _find(self, rows: EncodedRows, hashes: Words, first: int = 0) -> Longs:
        """The slots of rows from number `first` on."""
        slots = np.empty(len(hashes) - first, np.int64)
        arrays = (self._buckets, self._arena, self._starts, self._width)
        words, offsets = rows.words[first * self._width :], rows.offsets[0 if self._width else first :]
        kernels.find(*arrays, words, offsets, hashes[first:], slots)
        return slots

    def _insert(self, rows: EncodedRows, hashes: Words, absent: Longs, slots: Longs, created: Mask) -> None:
        arrays = (self._buckets, self._arena, self._starts, self._lengths, self._width, self._freed, self._counters)
        kernels.insert(*arrays, rows.words, rows.offsets, hashes, absent, slots, created)

    def _remove(self, slots: Longs) -> int:
        keys = (self._buckets, self._arena, self._starts, self._lengths, self._values, self._width, self._kept_bits)
        return kernels.remove(*keys, self._freed, self._counters, slots)

    def _make_room(self, keys: int, words: int) -> None:
        """Sees to it that `keys` more keys of `words` words in all fit into every array."""
        slots = self.capacity + max(keys - int(self._counters[FREED]), 0)
        if slots > _MOST_SLOTS:
            raise InvariantBroken(f"a key index cannot hold more than {_MOST_SLOTS} keys")
        if self._width:
            self._arena = self._memory.grown(self._arena, slots * self._width)
        else:
            self._starts = self._memory.grown(self._starts, slots)
            self._lengths = self._memory.grown(self._lengths, slots)
            self._arena = self._memory.grown(self._arena, int(self._counters[USED_WORDS]) + words)
        self._buckets = roomier(self._buckets, len(self) + keys, self._memory)

    def _forget_words(self, slots: Longs) -> None:
        """Counts removed keys' words as dead, and moves the living together once more than half are."""
        self._dead_words += int(np.sum(self._lengths[slots], dtype=np.int64))
        self._lengths[slots] = 0
        used = int(self._counters[USED_WORDS])
        if self._dead_words < _LEAST_DEAD_WORDS or self._dead_words * 2 < used:
            return
        living = np.flatnonzero(self._lengths[: self.capacity])
        lengths = self._lengths[living].astype(np.int64)
        ends = np.cumsum(lengths)
        arena = self._memory.grown(np.zeros(0, np.uint64), used - self._dead_words)
        spans = (self._starts[living] * 8, lengths * 8)
        kernels.copy_spans(arena.view(np.uint8), (ends - lengths) * 8, self._arena.view(np.uint8), *spans)
        self._starts[living] = ends - lengths
        self._counters[USED_WORDS] = used - self._dead_words
        self._arena, self._dead_words = arena, 0


def roomier(buckets: Words, entries: int, memory: Arrays, *, exactly: bool = False) -> Words:
    """Buckets of which at least two in five stay empty with so many entries, or `exactly` two; those given if they are
    enough."""
    size = len(buckets)
    while entries * 5 > size * 3:
        size = -(-entries * 5 // 3) if exactly else size + (size if size < _LARGE else size // 2)
    if size == len(buckets):
        return buckets
    larger = memory.grown(np.zeros(0, np.uint64), size)
    kernels.rebuild(buckets, larger)
    return larger


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
