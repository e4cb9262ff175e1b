"""Deltas whose values are gathered when they are asked for.

A join finds pairs, a worker is sent rows, and of both the next operator often wants only a few rows, or only the keys:
a text that nobody asks for is never copied. What stands behind a lazy delta is immutable, so when it is asked does not
matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from headwater.engine.gather import Block, gathered
from headwater.index.kernels import Longs


@dataclass(frozen=True, eq=False)
class Picked:
    """Rows of batches, by number.

    Attributes:
        blocks: where they stand.
        rows: their numbers there.
        which: the block of each, None: all are the first's.
    """

    blocks: Sequence[Block]
    rows: Longs
    which: Longs | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, positions: Longs) -> Picked:
        """Those at the positions given."""
        return Picked(self.blocks, self.rows[positions], None if self.which is None else self.which[positions])


def all_of(table: pa.Table) -> Picked:
    """The rows of a table."""
    batches = table.to_batches()
    sizes = [batch.num_rows for batch in batches]
    blocks = [Block(batch) for batch in batches]
    if len(batches) == 1:
        return Picked(blocks, np.arange(sizes[0]))
    rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)])
    return Picked(blocks, rows, np.repeat(np.arange(len(sizes)), sizes))


def joined(parts: Sequence[Picked]) -> Picked:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.blocks) for part in parts)]).tolist()
    which = [
        np.full(len(part), start) if part.which is None else part.which + start
        for part, start in zip(parts, starts, strict=False)
    ]
    blocks = [block for part in parts for block in part.blocks]
    return Picked(blocks, np.concatenate([part.rows for part in parts]), np.concatenate(which))


@dataclass(frozen=True, eq=False)
class Lazy:
    """A delta that is not gathered yet; it has of `pa.Table` what operators need.

    Attributes:
        schema: its columns.
        sources: by column, the rows that it is of, and what it is called there.
        made: columns that are there already; those asked for join them.
        num_rows: how many rows it has.
    """

    schema: pa.Schema
    sources: Mapping[str, tuple[Picked, str]]
    made: dict[str, pa.ChunkedArray]
    num_rows: int

    @property
    def column_names(self) -> list[str]:
        """The names of its columns."""
        names: list[str] = self.schema.names
        return names

    def column(self, name: str) -> pa.ChunkedArray:
        """A column's values."""
        self._make([name])
        return self.made[name]

    def select(self, names: Sequence[str]) -> Lazy:
        """The columns named."""
        return self.renamed([(name, name) for name in names])

    def renamed(self, names: Sequence[tuple[str, str]]) -> Lazy:
        """The columns named, under other names: (new, old)."""
        fields = [self.schema.field(old).with_name(new) for new, old in names]
        sources = {new: self.sources[old] for new, old in names if old in self.sources}
        made = {new: self.made[old] for new, old in names if old in self.made}
        return Lazy(pa.schema(fields), sources, made, self.num_rows)

    def at(self, positions: Longs) -> Lazy:
        """The rows at the positions given."""
        moved = {id(picked): picked.at(positions) for picked, _ in self.sources.values()}
        sources = {name: (moved[id(picked)], own) for name, (picked, own) in self.sources.items()}
        rows = pa.array(positions)
        made = {name: values.take(rows) for name, values in self.made.items() if name not in self.sources}
        return Lazy(self.schema, sources, made, len(positions))

    def table(self) -> pa.Table:
        """All of it, gathered."""
        names = self.column_names
        self._make(names)
        return pa.Table.from_arrays([self.made[name] for name in names], schema=self.schema)

    @property
    def origin(self) -> Picked | None:
        """The rows that all its columns are of under their own names; None if there is no such."""
        picked = {id(found): found for found, own in self.sources.values()}
        plain = len(self.sources) == len(self.schema) and all(own == name for name, (_, own) in self.sources.items())
        return next(iter(picked.values())) if plain and len(picked) == 1 else None

    def _make(self, names: Sequence[str]) -> None:
        """Gathers columns that are not there yet."""
        wanted: dict[int, list[str]] = {}
        for name in names:
            if name not in self.made:
                wanted.setdefault(id(self.sources[name][0]), []).append(name)
        for group in wanted.values():
            picked = self.sources[group[0]][0]
            fields = [self.schema.field(name).with_name(self.sources[name][1]) for name in group]
            batch = gathered(pa.schema(fields), picked.blocks, picked.rows, picked.which)
            self.made.update({name: pa.chunked_array([batch.column(at)]) for at, name in enumerate(group)})


Delta: TypeAlias = pa.Table | Lazy
"""A delta, gathered or not."""


def lazily(delta: Delta) -> Lazy:
    """The delta, nothing of which is copied until it is asked for."""
    if isinstance(delta, Lazy):
        return delta
    picked, made = all_of(delta), dict(zip(delta.column_names, delta.columns, strict=True))
    return Lazy(delta.schema, {name: (picked, name) for name in made}, made, delta.num_rows)


def table(delta: Delta) -> pa.Table:
    """The delta, gathered."""
    return delta.table() if isinstance(delta, Lazy) else delta


def lined_up(schema: pa.Schema, sides: Sequence[Lazy], values: pa.ChunkedArray) -> Lazy:
    """Columns of several deltas of as many rows beside each other, with new weights, which are `schema`'s last."""
    sources = {name: source for side in sides for name, source in side.sources.items()}
    made = {name: column for side in sides for name, column in side.made.items()}
    return Lazy(schema, sources, {**made, schema.names[-1]: values}, len(values))


def chained(deltas: Sequence[Lazy]) -> Lazy:
    """One delta after the other, all of the same columns."""
    if len(deltas) == 1:
        return deltas[0]
    first = deltas[0]
    sources: dict[str, tuple[Picked, str]] = {}
    shared: dict[tuple[int, ...], Picked] = {}
    made: dict[str, pa.ChunkedArray] = {}
    for name in first.column_names:
        found = [delta.sources.get(name) for delta in deltas]
        names = {source[1] for source in found if source is not None}
        apart = None in found or len(names) > 1
        if apart or all(name in delta.made for delta in deltas):
            chunks = [chunk for delta in deltas for chunk in delta.column(name).chunks]
            made[name] = pa.chunked_array(chunks, first.schema.field(name).type)
        if apart:
            continue
        parts = [source[0] for source in found if source is not None]
        key = tuple(map(id, parts))
        if key not in shared:
            shared[key] = joined(parts)
        sources[name] = shared[key], names.pop()
    return Lazy(first.schema, sources, made, sum(delta.num_rows for delta in deltas))
