"""The contract of a part: what some aggregate calls of one grouping keep together per group, and how they show it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from headwater.engine.accumulators.records import Records, Taken
from headwater.index.kernels import Longs, Mask, Words
from headwater.index.row_encoding import whole
from headwater.sql.plan import Accumulator, Column

ALL = np.zeros(0, np.bool_)
"""The mask of a column without nulls, as kernels take it."""


@dataclass(frozen=True)
class Batch:
    """Rows to be added to groups.

    Attributes:
        delta: the rows, each column in one piece.
        weights: each row's weight; a retraction's is negative.
        touched: the slots of the groups, each once.
        taken: their records, which are to be changed here and are put back afterwards.
        places: each row's group, as its number in `touched`.
        records: what the rows are, if they are not rows but records of some (`merging`).
    """

    delta: pa.Table
    weights: Longs
    touched: Longs
    taken: Taken
    places: Longs
    records: Taken | None = None
    _masks: dict[str, Mask] = field(default_factory=dict)
    _truths: dict[str, Mask] = field(default_factory=dict)

    @property
    def slots(self) -> Longs:
        """Each row's slot."""
        return self.touched[self.places]

    @property
    def flat(self) -> Longs:
        """`taken`, one record after the other."""
        return self.taken.reshape(-1)

    @property
    def words(self) -> Words:
        """`flat` as unsigned words: sums wrap around as two's complement does."""
        return self.flat.view(np.uint64)

    def values(self, name: str) -> pa.Array:
        """A column as one array."""
        return whole(self.delta.column(name))

    def valid(self, name: str) -> Mask:
        """Where a column is not null; `ALL` if it is nowhere."""
        if name not in self._masks:
            values = self.values(name)
            found = np.asarray(values.is_valid().to_numpy(zero_copy_only=False)) if values.null_count else ALL
            self._masks[name] = found
        return self._masks[name]

    def true(self, name: str) -> Mask:
        """Where a column of booleans is true."""
        if name not in self._truths:
            filled = self.values(name).fill_null(False)
            self._truths[name] = np.asarray(filled.to_numpy(zero_copy_only=False))
        return self._truths[name]

    def weighing(self, weights: Longs) -> Batch:
        """The same rows with other weights."""
        return replace(self, weights=weights)

    def narrowed(self, names: Sequence[str]) -> Batch:
        """The same rows with fewer columns."""
        return Batch(self.delta.select(names), self.weights, self.touched, self.taken, self.places)

    def of(self, rows: Longs) -> Batch:
        """Some of the rows."""
        delta = self.delta.take(pa.array(rows))
        records = None if self.records is None else self.records[rows]
        return Batch(delta, self.weights[rows], self.touched, self.taken, self.places[rows], records)

    @property
    def given(self) -> tuple[Words, int, Longs, Words]:
        """For kernels that merge: words of the groups' records, their number per record, each row's group, and the
        words of the rows' records."""
        assert self.records is not None
        words = np.ascontiguousarray(self.records).reshape(-1).view(np.uint64)
        return self.words, self.records.shape[1], self.places, words

    def placed(self, places: Longs) -> Batch:
        """The same rows in other groups."""
        return replace(self, places=places)


KeysOf = Callable[[Longs], pa.Table]
"""The keys of groups."""

Claim = Callable[[pa.Table], tuple[Mask | None, Longs]]
"""Of rows that hold keys, those that are this worker's (None: all), and the slots of these."""


class Part(Protocol):
    """State of one kind, addressed by the slots of groups.

    Attributes:
        words: how many words of a group's record it uses.
    """

    words: int

    def place(self, records: Records, offset: int) -> None:
        """Called once: its words are those from `offset` of every record."""

    def reserve(self, slots: int) -> None:
        """Sees to it that slots below `slots` can be used in what it keeps besides the records."""

    def add(self, batch: Batch) -> None:
        """Adds rows to their groups."""

    def forget(self, slots: Longs, closed: bool) -> None:
        """Groups are gone; their records are zeroed afterwards. Only if their windows were closed have they rows."""

    def saved(self, slots: Longs) -> Mapping[str, pa.Array]:
        """What it keeps of groups besides their records, if that is little: columns with one value per slot."""

    def restored(self, slots: Longs, columns: Mapping[str, pa.Array]) -> None:
        """Takes back what `saved` gave, for slots that have their records already."""

    def checkpoint(self, folder: Path, previous: Path | None, keys_of: KeysOf) -> None:
        """Writes what it keeps of groups besides, if that may be much; nothing if there is no such thing."""

    def restore(self, folder: Path, claim: Claim) -> None:
        """Takes back what `checkpoint` wrote, once the groups are there."""


class Mergeable(Part, Protocol):
    """A part that keeps nothing besides the records, so that records of some rows can be added to those of others."""

    def merge(self, batch: Batch) -> None:
        """Adds records to those of their groups."""


class Showing(Part, Protocol):
    """A part that calls get their results from. The operator asks for those of the groups touched before and after
    `add`."""

    def shown(self, call: Accumulator, column: Column, taken: Taken, slots: Longs) -> pa.Array:
        """A call's result for groups as they are now, of the Arrow type of `column`; `taken` are their records."""


class InRecord:
    """A part that keeps nothing besides the records."""

    words = 1

    def place(self, records: Records, offset: int) -> None:
        self._records, self._offset = records, offset

    def reserve(self, slots: int) -> None:
        return None

    def forget(self, slots: Longs, closed: bool) -> None:
        return None

    def saved(self, slots: Longs) -> Mapping[str, pa.Array]:
        return {}

    def restored(self, slots: Longs, columns: Mapping[str, pa.Array]) -> None:
        return None

    def checkpoint(self, folder: Path, previous: Path | None, keys_of: KeysOf) -> None:
        return None

    def restore(self, folder: Path, claim: Claim) -> None:
        return None
