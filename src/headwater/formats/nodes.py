"""The columns that a message becomes, as a tree of nodes, and the room that compiled decoders write them to.

A node is one Arrow array in the making. Each entry is one int64 in the node's region of the arena and one byte that
says whether it is null: numbers as they are, floats as their bits, text and bytes as where they stand in the input
(`span`), enums as the symbol's number, lists as the number of items up to their end. An entry's children are where
Arrow has them: a struct's children have as many entries as the struct. So a region becomes an array without looking at
single values, and a message that turns out to be bad is taken back by setting the counts back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]

SPAN_BITS: Final = 32
"""A span is `start << SPAN_BITS | length`; a batch is smaller than 2 GiB."""


@dataclass(frozen=True)
class Node:
    """One array in the making.

    Attributes:
        id: its number; its region in the arena.
        kind: how entries are read, see `arrays.build`.
        type: the Arrow type that it becomes.
        path: where it stands in the message, for people.
        children: a struct's fields, a list's items, a map's keys and values.
        names: what an enum's numbers mean, from 0 on, or those in `numbers`.
        numbers: the numbers of an enum that have names.
        scale: of a decimal of more than 38 digits, which becomes text.
        size: of a fixed, in bytes.
    """

    id: int
    kind: str
    type: pa.DataType
    path: str
    children: tuple[Node, ...] = ()
    names: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    scale: int = 0
    size: int = 0

    @property
    def width(self) -> int:
        """How many entries one entry of this node takes, itself and those below it, items of lists aside."""
        inner = 0 if self.kind in ("list", "map") else sum(child.width for child in self.children)
        return 1 + inner

    def closure(self) -> list[Node]:
        """The nodes that have an entry for each entry of this one."""
        inner = () if self.kind in ("list", "map") else self.children
        return [self, *(node for child in inner for node in child.closure())]

    def walk(self) -> list[Node]:
        """This node and all below it."""
        return [self, *(node for child in self.children for node in child.walk())]


@dataclass
class Arena:
    """Room for the entries of some nodes.

    Attributes:
        values: int64, all regions one after the other.
        valid: uint8, 1 where the entry there is not null.
        starts: int64 [node]: where each region begins.
        room: int64 [node]: how many entries it can take.
        counts: int64 [node]: how many it has.
    """

    values: Longs
    valid: Bytes
    starts: Longs
    room: Longs
    counts: Longs = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.starts.size, np.int64)

    @classmethod
    def of(cls, room: list[int]) -> Arena:
        """An empty arena with room for so many entries of each node."""
        sizes = np.array(room, np.int64)
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
        total = int(sizes.sum())
        return cls(np.empty(total, np.int64), np.empty(total, np.uint8), starts, sizes)

    def grow(self, node: int) -> None:
        """Makes at least twice as much room for a node, and for those that would ask for it soon: each asking copies
        everything."""
        sizes = np.where(4 * self.counts > 3 * self.room, 2 * self.room, self.room)
        sizes[node] = max(64, 2 * int(self.room[node]))
        grown = Arena.of([int(size) for size in sizes])
        for number, count in enumerate(self.counts):
            begin, end = self.starts[number], self.starts[number] + count
            to = grown.starts[number]
            grown.values[to : to + count] = self.values[begin:end]
            grown.valid[to : to + count] = self.valid[begin:end]
        self.values, self.valid, self.starts, self.room = grown.values, grown.valid, grown.starts, grown.room

    def entries(self, node: int) -> tuple[Longs, NDArray[np.bool_]]:
        """A node's entries, and which of them are not null."""
        begin = int(self.starts[node])
        end = begin + int(self.counts[node])
        return self.values[begin:end], self.valid[begin:end] == 1
