"""Rows in immutable Arrow chunks that merge geometrically, addressed by slot.

Each chunk holds at least about twice the living rows of the next, and at least half of a chunk's rows live; so there
are about log2(rows) chunks, and a row is copied about that many times in its life (O'Neil et al., The LSM-tree, 1996).
A chunk is never changed, only replaced, so that a checkpoint can keep the file it has of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from headwater.index.kernels import Longs, Mask
from headwater.index.key_index import grown

_MOST_ROWS = 1 << 20
_MOST_BYTES = 1 << 28
_NOWHERE = 0


def _fresh_name() -> str:
    return uuid.uuid4().hex


@dataclass
class Chunk:
    """Some rows, and which of them live.

    Attributes:
        rows: the rows, dead ones included.
        slots: each row's slot; -1 where the row is dead.
        living: how many rows live.
        name: unique among all chunks ever; a chunk's rows never change under its name.
        changed: rows whose weight has changed since the last checkpoint.
    """

    rows: pa.RecordBatch
    slots: Longs
    living: int
    name: str = field(default_factory=_fresh_name)
    changed: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.changed = np.zeros(len(self.slots), np.bool_)

    def compacted(self) -> Chunk:
        """The living rows as a chunk of their own; itself if all live."""
        if self.living == len(self.slots):
            return self
        at = np.flatnonzero(self.slots >= 0)
        return Chunk(self.rows.take(pa.array(at)), self.slots[at], self.living)


class Chunks:
    """All chunks of a store, oldest first, and where in them each slot's row stands.

    Args:
        columns: schema of the rows.
    """

    def __init__(self, columns: pa.Schema) -> None:
        self.columns = columns
        self._numbered: dict[int, Chunk] = {}
        self._next_number = _NOWHERE + 1
        self._chunk_of = np.zeros(0, np.int64)
        self._row_of = np.zeros(0, np.int64)

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._numbered.values())

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        held = sum(chunk.rows.nbytes + chunk.slots.nbytes + chunk.changed.nbytes for chunk in self)
        return int(held + self._chunk_of.nbytes + self._row_of.nbytes)

    def reserve(self, capacity: int) -> None:
        """Makes room for slots below `capacity`; to be called before any other method is given them."""
        self._chunk_of = grown(self._chunk_of, capacity)
        self._row_of = grown(self._row_of, capacity)

    def add(self, rows: pa.Table, slots: Longs) -> None:
        """Stores rows under slots that hold none."""
        start = 0
        for batch in rows.combine_chunks().to_batches():
            self._place(Chunk(batch, slots[start : start + len(batch)].copy(), len(batch)))
            start += len(batch)

    def adopt(self, chunk: Chunk) -> None:
        """Takes in a chunk as it was checkpointed."""
        self._place(chunk)

    def holds(self, slots: Longs) -> Mask:
        """Which of the slots hold a row."""
        return np.asarray(self._chunk_of[slots] != _NOWHERE)

    def touch(self, slots: Longs) -> None:
        """Notes that the weights of these rows have changed."""
        for chunk, rows in self._located(slots):
            chunk.changed[rows] = True

    def discard(self, slots: Longs) -> None:
        """Lets rows die."""
        for chunk, rows in self._located(slots):
            chunk.changed[rows] = True
            chunk.slots[rows] = -1
            chunk.living -= len(rows)
        self._chunk_of[slots] = _NOWHERE

    def take(self, slots: Longs) -> tuple[pa.Table, Longs]:
        """The rows of slots that hold one, oldest chunk first, and the slots in the same order."""
        parts = [(chunk.rows.take(pa.array(rows)), chunk.slots[rows]) for chunk, rows in self._located(slots)]
        return self._joined(parts)

    def living(self) -> tuple[pa.Table, Longs]:
        """All rows, oldest chunk first, and their slots."""
        compact = (chunk.compacted() for chunk in self)
        return self._joined([(chunk.rows, chunk.slots) for chunk in compact if chunk.living])

    def tidy(self) -> None:
        """Restores the law of sizes: drops the dead and merges neighbours."""
        kept: list[Chunk] = []
        for chunk in self:
            if not chunk.living:
                continue
            tidied = chunk.compacted() if chunk.living * 2 < len(chunk.slots) else chunk
            while kept and kept[-1].living < 2 * tidied.living and _fit(kept[-1], tidied):
                tidied = _merged(kept.pop(), tidied)
            kept.append(tidied)
        self._replace(kept)

    def _joined(self, parts: list[tuple[pa.RecordBatch, Longs]]) -> tuple[pa.Table, Longs]:
        slots = np.concatenate([np.zeros(0, np.int64), *(slots for _, slots in parts)])
        return pa.Table.from_batches([rows for rows, _ in parts], self.columns), slots

    def _place(self, chunk: Chunk) -> None:
        """Appends a chunk and points its rows' slots at it."""
        at = np.flatnonzero(chunk.slots >= 0)
        self._chunk_of[chunk.slots[at]] = self._next_number
        self._row_of[chunk.slots[at]] = at
        self._numbered[self._next_number] = chunk
        self._next_number += 1

    def _replace(self, kept: list[Chunk]) -> None:
        """Makes `kept` the chunks; those that were there already and come before any new one stay as they are."""
        same = 0
        old = list(self._numbered.items())
        while same < min(len(kept), len(old)) and kept[same] is old[same][1]:
            same += 1
        self._numbered = dict(old[:same])
        for chunk in kept[same:]:
            self._place(chunk)

    def _located(self, slots: Longs) -> Iterator[tuple[Chunk, Longs]]:
        """The chunks that hold these slots, each with the rows concerned."""
        numbers = self._chunk_of[slots]
        for number in np.unique(numbers).tolist():
            yield self._numbered[number], self._row_of[slots[numbers == number]]


def _fit(first: Chunk, second: Chunk) -> bool:
    """Whether two chunks may become one, kept small enough to be rewritten within an epoch."""
    rows = first.living + second.living
    return rows <= _MOST_ROWS and int(first.rows.nbytes) + int(second.rows.nbytes) <= _MOST_BYTES


def _merged(first: Chunk, second: Chunk) -> Chunk:
    first, second = first.compacted(), second.compacted()
    rows = pa.concat_batches([first.rows, second.rows])
    return Chunk(rows, np.concatenate([first.slots, second.slots]), first.living + second.living)
