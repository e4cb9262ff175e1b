"""Rows in immutable Arrow chunks that merge geometrically, addressed by slot.

Chunks of a size, to a factor of 4, become one once there are 4 of them, and at least half of a chunk's rows live; so
there are about 3 log4(rows) chunks, and a row is copied about log4(rows) times in its life (tiered merging; O'Neil et
al., The LSM-tree, 1996).
A chunk is never changed, only replaced, so that a checkpoint can keep the file it has of it.

As long as no row has died, slots are the rows' numbers in the order in which they came, and nothing is kept to find
them by but each chunk's first slot. The first death makes an array of 4 bytes per slot (its row's *place*) and one of
4 bytes per row (its slot), because from then on slots are used again and rows move.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.engine.gather import Block, gathered, pieces_of
from headwater.engine.lazy import Delta, Lazy, Picked
from headwater.engine.state.memory import Memory
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask

Slots = NDArray[np.uint32]

DEAD = np.uint32(0xFFFFFFFF)
"""Stands in `Chunk.slots` for the slot of a dead row."""

_MOST_SLOTS = (1 << 31) - 2
"""A link, which is slot + 1, and a mark fit into 32 bits: see `row_hashes` and `key_chains`."""

_ROW_BITS = 20
_MOST_ROWS = 1 << _ROW_BITS
_MOST_CHUNKS = 1 << (32 - _ROW_BITS)
_LEAST_BYTES, _SHARE = 1 << 22, 1 << 9
"""Chunks of wide rows become one up to so many bytes, or up to one in so many of the store's: copying strings costs
more than to look into a few chunks more."""

_MOST_SHARERS = 8
"""Rows stay in a batch that is other workers' too where they are at least one in so many of it."""

_WIDE_BYTES = 64

_FAN = 4
"""So many chunks of a size become one. More would copy rows less often, and scatter them over more chunks."""


def _fresh_name() -> str:
    return uuid.uuid4().hex


@dataclass
class Chunk:
    """Some rows, and which of them live.

    Attributes:
        rows: the rows, dead ones included.
        first: slot of the first row, the others following, where `slots` is None.
        slots: each row's slot, `DEAD` where the row is dead; None if all live and their slots are in order.
        living: how many rows live.
        began: how many rows lived when it was made: fewer than it has if the others belong to other workers' stores.
        name: unique among all chunks ever; a chunk's rows never change under its name.
        changed: rows whose weight has changed since the last checkpoint; None if none has.
    """

    rows: pa.RecordBatch
    first: int
    slots: Slots | None
    living: int
    began: int
    name: str = field(default_factory=_fresh_name)
    changed: Mask | None = None

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    @property
    def nbytes(self) -> int:
        """Memory held besides the rows, in bytes."""
        return sum(array.nbytes for array in (self.slots, self.changed) if array is not None)

    @cached_property
    def block(self) -> Block:
        """The rows, by their address."""
        return Block(self.rows)

    @cached_property
    def row_bytes(self) -> int:
        """What its rows take, other stores' rows left out, in bytes."""
        return int(self.rows.nbytes) * self.began // max(len(self), 1)

    def note(self, rows: Longs) -> None:
        """Marks rows as changed."""
        if self.changed is None:
            self.changed = np.zeros(len(self), np.bool_)
        self.changed[rows] = True

    def all_slots(self) -> Slots:
        """Each row's slot, `DEAD` where the row is dead."""
        return np.arange(self.first, self.first + len(self), dtype=np.uint32) if self.slots is None else self.slots

    def compacted(self) -> Chunk:
        """The living rows as a chunk of their own; itself if all live."""
        if self.slots is None or self.living == len(self):
            return self
        at = np.flatnonzero(self.slots != DEAD)
        rows = gathered(self.rows.schema, [self.block], at)
        return Chunk(rows, 0, self.slots[at], self.living, self.living)


class Chunks:
    """All chunks of a store, oldest first, and where in them each slot's row stands.

    Args:
        columns: schema of the rows.
        memory: where rows and arrays are kept.
    """

    def __init__(self, columns: pa.Schema, memory: Memory) -> None:
        self.columns = columns
        self._memory = memory
        self._numbered: dict[int, Chunk] = {}
        self._unused = list(range(_MOST_CHUNKS - 1, -1, -1))
        self._places: Slots | None = None
        self._firsts = np.zeros(0, np.int64)
        self._fresh = 0
        self._freed: list[Longs] = []

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._numbered.values())

    @property
    def capacity(self) -> int:
        """Highest slot ever given out, plus one: how long arrays addressed by slot must be."""
        return self._fresh

    @property
    def num_rows(self) -> int:
        """How many rows live."""
        return sum(chunk.living for chunk in self)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        held = sum(chunk.row_bytes + chunk.nbytes for chunk in self)
        places = self._places.nbytes if self._places is not None else 0
        return int(held + places + sum(freed.nbytes for freed in self._freed))

    def add(self, rows: Delta) -> Longs:
        """Stores rows and returns the slots that they are given. Lazy ones are left where they are, beside those of
        other workers, where they take up enough of it; of no use with a budget, which would count them all."""
        if isinstance(rows, Lazy):
            origin = rows.origin
            if origin is not None and self._memory.budget_bytes is None and _shared_well(origin):
                return self._stay(origin)
            rows = rows.table()
        slots, start = self._take_slots(rows.num_rows), 0
        for batch in rows.combine_chunks().to_batches(max_chunksize=_MOST_ROWS):
            # A concatenation copies: else rows would keep all that they were cut from.
            alone = batch.get_total_buffer_size() <= 2 * batch.nbytes
            own = self._memory.kept(batch if alone else pa.concat_batches([batch, batch.slice(0, 0)]))
            part = slots[start : start + len(batch)]
            named = self._own(part) if self._places is not None else None
            self._place(Chunk(own, int(part[0]), named, len(batch), len(batch)))
            start += len(batch)
        return slots

    def _stay(self, origin: Picked) -> Longs:
        """Stores rows as those of whole batches that are not dead."""
        self._move_freely()
        slots = self._take_slots(len(origin))
        for number, rows, at in pieces_of(origin.rows, origin.which, len(origin.blocks)):
            batch = origin.blocks[number].batch.select(self.columns.names)
            named = self._own(np.full(len(batch), DEAD))
            named[rows] = slots[at]
            self._place(Chunk(batch, 0, named, len(rows), len(rows)))
        return slots

    def part(self) -> None:
        """Copies what is left where other workers' rows are, for a checkpoint."""
        if any(chunk.began < len(chunk) for chunk in self):
            self._replace([chunk.compacted() if chunk.began < len(chunk) else chunk for chunk in self])

    def adopt(self, rows: pa.RecordBatch, alive: Mask, name: str) -> Longs:
        """Takes in a chunk as it was checkpointed, and returns the slots of its living rows."""
        living = int(np.count_nonzero(alive))
        if living < len(alive):
            self._move_freely()
        slots = self._take_slots(living)
        named = None
        if self._places is not None:
            named = self._own(np.full(len(alive), DEAD))
            named[alive] = slots
        self._place(Chunk(self._memory.kept(rows), int(slots[0]) if living else 0, named, living, len(alive), name))
        return slots

    def touch(self, slots: Longs) -> None:
        """Notes that the weights of these rows have changed."""
        for chunk, rows in self._located(slots):
            chunk.note(rows)

    def discard(self, slots: Longs) -> None:
        """Lets rows die; their slots are given out again."""
        if not len(slots):
            return
        self._move_freely()
        for chunk, rows in self._located(slots):
            chunk.note(rows)
            if chunk.slots is not None:
                chunk.slots[rows] = DEAD
            chunk.living -= len(rows)
        self._freed.append(np.array(slots))

    def take(self, slots: Longs, columns: Sequence[str] | None = None) -> pa.Table:
        """The named columns (None: all) of the rows of slots that hold one, in the order of the slots."""
        wanted = self.columns if columns is None else pa.schema([self.columns.field(name) for name in columns])
        blocks, numbers, rows = self._found(slots)
        return pa.Table.from_batches([gathered(wanted, blocks, rows, numbers)], wanted)

    def pick(self, slots: Longs, columns: Sequence[str]) -> Lazy:
        """As `take`, but nothing is copied yet."""
        wanted = pa.schema([self.columns.field(name) for name in columns])
        blocks, numbers, rows = self._found(slots)
        picked = Picked(blocks, rows, numbers)
        return Lazy(wanted, {name: (picked, name) for name in columns}, {}, len(slots))

    def living(self) -> tuple[pa.Table, Longs]:
        """All rows, oldest chunk first, and their slots."""
        found = [chunk.compacted() for chunk in self if chunk.living]
        rows = pa.Table.from_batches([chunk.rows for chunk in found], self.columns)
        return rows, _joined(chunk.all_slots() for chunk in found).astype(np.int64)

    def living_slots(self) -> Longs:
        """The slots of all rows."""
        slots = _joined(chunk.all_slots() for chunk in self)
        living: Longs = slots[slots != DEAD].astype(np.int64)
        return living

    def tidy(self) -> None:
        """Restores the law of sizes: drops the dead and merges what has become too many."""
        kept, most = list[Chunk](), max(_LEAST_BYTES, sum(chunk.row_bytes for chunk in self) // _SHARE)
        for chunk in self:
            if not chunk.living:
                continue
            kept.append(chunk.compacted() if chunk.living * 2 < chunk.began else chunk)
            while (run := _too_many(kept, most)) > 0:
                kept[-run:] = [self._merged(kept[-run:])]
        self._replace(kept)

    def _merged(self, chunks: Sequence[Chunk]) -> Chunk:
        ordered = all(chunk.slots is None for chunk in chunks)
        found = [chunk.compacted() for chunk in chunks]
        rows = self._memory.kept(pa.concat_batches([chunk.rows for chunk in found]))
        slots = None if ordered else self._own(np.concatenate([chunk.all_slots() for chunk in found]))
        living = sum(chunk.living for chunk in found)
        return Chunk(rows, found[0].first, slots, living, living)

    def _own(self, slots: Longs | Slots) -> Slots:
        """A copy of slots that is kept long."""
        copy = self._memory.grown(np.zeros(0, np.uint32), len(slots))
        copy[:] = slots
        return copy

    def _take_slots(self, count: int) -> Longs:
        """Slots to fill: those freed before, then new ones."""
        found: list[Longs] = []
        while count and self._freed:
            freed = self._freed.pop()
            found.append(freed[:count])
            count -= len(found[-1])
            if len(found[-1]) < len(freed):
                self._freed.append(freed[len(found[-1]) :])
        if self._fresh + count > _MOST_SLOTS:
            raise InvariantBroken(f"a store cannot hold more than {_MOST_SLOTS} rows")
        found.append(np.arange(self._fresh, self._fresh + count, dtype=np.int64))
        self._fresh += count
        if self._places is not None:
            self._places = self._memory.grown(self._places, self._fresh)
        return np.concatenate(found) if len(found) > 1 else found[0]

    def _move_freely(self) -> None:
        """From now on slots are not the numbers of rows any more."""
        if self._places is not None:
            return
        self._places = self._memory.grown(np.zeros(0, np.uint32), self._fresh)
        for number, chunk in self._numbered.items():
            chunk.slots = self._own(chunk.all_slots())
            self._point(number, chunk)

    def _place(self, chunk: Chunk) -> None:
        """Appends a chunk and points its rows' slots at it."""
        if not self._unused:
            raise InvariantBroken(f"a store cannot hold more than {_MOST_CHUNKS} chunks of rows")
        number = self._unused.pop()
        self._numbered[number] = chunk
        if self._places is not None:
            self._point(number, chunk)
        self._list()

    def _point(self, number: int, chunk: Chunk) -> None:
        slots, base = chunk.all_slots(), number << _ROW_BITS
        places = np.arange(base, base + len(slots), dtype=np.uint32)
        alive = slots != DEAD
        if self._places is not None:
            self._places[slots[alive]] = places[alive]

    def _list(self) -> None:
        """Writes down each chunk's first slot, which is all that is needed as long as slots are in order."""
        if self._places is None:
            self._firsts = np.array([chunk.first for chunk in self], np.int64)

    def _replace(self, kept: list[Chunk]) -> None:
        """Makes `kept` the chunks; those that were there already and come before any new one stay as they are."""
        same = 0
        old = list(self._numbered.items())
        while same < min(len(kept), len(old)) and kept[same] is old[same][1]:
            same += 1
        if same == len(old) == len(kept):
            return
        self._numbered = dict(old[:same])
        self._unused += [number for number, _ in old[same:]]
        for chunk in kept[same:]:
            self._place(chunk)
        self._list()

    def _found(self, slots: Longs) -> tuple[list[Block], Longs | None, Longs]:
        """The blocks of all chunks, oldest first, and of each slot the number of the chunk (None: there is but one) and
        the row there."""
        blocks = [chunk.block for chunk in self._numbered.values()]
        if self._places is None:
            if len(blocks) == 1:
                return blocks, None, slots - self._firsts[0]
            numbers = np.searchsorted(self._firsts, slots, "right") - 1
            return blocks, numbers, slots - self._firsts[numbers]
        places = self._places[slots]
        rank = np.empty(_MOST_CHUNKS, np.int64)
        rank[list(self._numbered)] = np.arange(len(blocks))
        return blocks, rank[places >> np.uint32(_ROW_BITS)], (places & np.uint32(_MOST_ROWS - 1)).astype(np.int64)

    def _located(self, slots: Longs) -> Iterator[tuple[Chunk, Longs]]:
        """The chunks that hold these slots, oldest first, each with the rows concerned."""
        _, numbers, rows = self._found(slots)
        chunks = list(self._numbered.values())
        for number, found, _ in pieces_of(rows, numbers, len(chunks)):
            yield chunks[number], found


def _shared_well(origin: Picked) -> bool:
    """Whether rows are worth keeping whole the batches that they are of, and what these are cut from; narrow ones are
    sooner copied."""
    numbers = np.zeros(len(origin), np.int64) if origin.which is None else origin.which
    counts = np.bincount(numbers, minlength=len(origin.blocks)).tolist()
    return all(
        count * _MOST_SHARERS >= len(block) <= _MOST_ROWS
        and block.batch.nbytes >= _WIDE_BYTES * len(block)
        and block.batch.get_total_buffer_size() <= 2 * _MOST_SHARERS * block.batch.nbytes
        for count, block in zip(counts, origin.blocks, strict=True)
        if count
    )


def _joined(parts: Iterable[Slots]) -> Slots:
    return np.concatenate([np.zeros(0, np.uint32), *parts])


def _too_many(chunks: Sequence[Chunk], most_bytes: int) -> int:
    """How many of the last chunks are to become one: at least `_FAN`, none of a greater size class than the last, and
    not so many that the new one would have more bytes than given; else 0."""
    size, run = _size_class(chunks[-1]), 1
    while run < len(chunks) and _size_class(chunks[-run - 1]) <= size:
        run += 1
    if run < _FAN:
        return 0
    rows = bytes_ = 0
    for fitting in range(run):
        rows += chunks[-fitting - 1].living
        bytes_ += chunks[-fitting - 1].row_bytes
        if rows > _MOST_ROWS or bytes_ > most_bytes:
            return fitting if fitting >= _FAN else 0
    return run


def _size_class(chunk: Chunk) -> int:
    """Chunks of a class have up to `_FAN` times the rows of one another."""
    return (chunk.living.bit_length() + 1) // 2
