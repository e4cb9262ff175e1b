"""The key index of a table of files: built from its files, planned against, and moved on with each part of an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs
from headwater.index.memory import Arrays
from headwater.lake.consolidate import NetChange, sample
from headwater.lake.files.version import NOTHING
from headwater.lake.key_index import Relocation, RowIndex, Taken


@dataclass(frozen=True)
class Planned:
    """What a change does to the index, looked up and not done.

    Attributes:
        taken: places of rows that go.
        slots: of a keyed table: by added row the slot of its key, which is among those taken; -1 where it is new.
    """

    taken: Taken
    slots: Longs


@dataclass(frozen=True)
class Moved:
    """Where the rows of a file that was written anew lie.

    Attributes:
        name: the new file; None: no row was left.
        left: ascending positions in the old file that did not go along.
        rows: how many rows the old file had.
        base: where in the new file its rows begin.
    """

    name: str | None
    left: Longs
    rows: int
    base: int = 0


@dataclass
class Places:
    """Where a table's rows lie. One thread at a time.

    Attributes:
        table: the table's name, for messages.
        key: columns that tell rows apart: the key's, or all of a table without one.
        unique: the table has a key, so each may be there once.
        memory: where the places are kept; the heap if None.
        names: data files by number.
    """

    table: str
    key: pa.Schema
    unique: bool
    memory: Arrays | None = None
    names: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _rows: RowIndex = field(init=False)

    def __post_init__(self) -> None:
        self._rows = RowIndex(self.key, unique=self.unique, memory=self.memory)

    def plan(self, change: NetChange) -> Planned:
        """The places of the rows that a net change removes.

        Raises:
            InvariantBroken: the table lacks a row to be removed, or has a key that is to be added.
        """
        taken = self._rows.take(change.removed, change.counts)
        if isinstance(taken, int):
            shown = sample(change.removed.slice(taken, 1), self.key)
            raise InvariantBroken(
                f"table {self.table!r}: a row that is not there is retracted, {shown}",
                hint="the table was changed by someone else, or its state was lost: drop it and let it be built again",
            )
        slots = self._rows.find(change.added) if self.unique else NOTHING
        present = np.flatnonzero((slots >= 0) & ~self._rows.among(slots, taken.slots))
        if len(present):
            raise InvariantBroken(
                f"table {self.table!r}: a key that is there is added, "
                f"{sample(change.added.slice(int(present[0]), 1), self.key)}",
                hint="check that the columns declared as the key identify a row",
            )
        return Planned(taken, slots)

    def apply(self, planned: Planned, added: pa.Table, name: str | None) -> dict[str, Longs]:
        """Follows a part of an epoch: what was taken is gone, the added rows stand in file `name` in this order. A key
        that goes and comes keeps its slot.

        Returns:
            Positions of the rows that go, by file.
        """
        taken, slots = planned.taken, planned.slots
        gone = self._by_file(taken)
        if len(slots) and len(taken):
            kept = self._rows.among(taken.slots, slots)
            taken = Taken(*(part[~kept] for part in (taken.slots, taken.counts, taken.places, taken.files, taken.rows)))
        self._rows.forget(taken)
        if name is not None:
            positions = np.arange(added.num_rows, dtype=np.int64)
            there = slots >= 0
            if there.any():
                self._rows.move(slots[there], self._number(name), positions[there])
                added, positions = added.filter(pa.array(~there)), positions[~there]
            self.insert(added, name, positions)
        return gone

    def _by_file(self, taken: Taken) -> dict[str, Longs]:
        order = np.argsort(taken.files, kind="stable")
        numbers, starts = np.unique(taken.files[order], return_index=True)
        pieces = np.split(taken.rows[order].astype(np.int64), starts[1:]) if len(numbers) else []
        return {self.names[number]: rows for number, rows in zip(numbers.tolist(), pieces, strict=True)}

    def insert(self, rows: pa.Table, name: str, positions: Longs) -> None:
        """Adds rows of one file.

        Raises:
            InvariantBroken: a key is there already.
        """
        first = self._rows.insert(rows, self._number(name), positions)
        if self.unique and not first.all():
            again = sample(rows.slice(int(np.flatnonzero(~first)[0]), 1), self.key)
            raise InvariantBroken(
                f"table {self.table!r}: it holds more than one row of key {again}",
                hint="drop the table and let it be built again",
            )

    def _number(self, name: str) -> int:
        """The file's number, a new one if it has none."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def relocate(self, moved: Mapping[str, Moved]) -> None:
        """Follows files that were written anew.

        Args:
            moved: by the old file's name.

        Raises:
            InvariantBroken: a row has nowhere to go; the index is no longer of use.
        """
        targets = {old: -1 if one.name is None else self._number(one.name) for old, one in moved.items()}
        bases, sizes = np.full(len(self.names), -1, np.int64), np.zeros(len(self.names), np.int64)
        files, rows, base = [NOTHING], [NOTHING], 0
        for old, one in moved.items():
            number, count = self._numbers.get(old), one.rows
            if number is None:
                continue
            bases[number], sizes[number], base = base, count, base + count
            alive = np.ones(count, np.int64)
            alive[one.left] = 0
            files.append(np.where(alive == 1, targets[old], -1))
            rows.append(np.cumsum(alive) - 1 + one.base)
        self._rows.relocate(Relocation(bases, sizes, np.concatenate(files), np.concatenate(rows)))
