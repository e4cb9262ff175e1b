"""The key index of one Iceberg table: built from the table itself, planned against, and moved on with each commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyiceberg.manifest import ManifestEntry
from pyiceberg.table import Table

from headwater.errors import InvariantBroken
from headwater.index.memory import Arrays
from headwater.lake.consolidate import NetChange, sample
from headwater.lake.iceberg.scan import entries_of, live_files, read_all
from headwater.lake.key_index import RowIndex, Taken


@dataclass
class TableIndex:
    """Where a table's rows lie.

    Attributes:
        table: the table's name, for messages.
        key: columns that tell rows apart: the key's, or all of a table without one.
        unique: the table has a key, so each may be there once.
        rows: places by key; file numbers count into `paths`.
        paths: data files.
        memory: where the places are kept; the heap if None.
    """

    table: str
    key: pa.Schema
    unique: bool
    memory: Arrays | None = None
    rows: RowIndex = field(init=False)
    paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = RowIndex(self.key, self.memory)

    def load(self, table: Table, staged: Sequence[ManifestEntry] = (), *, alone: bool = False) -> None:
        """Reads the places of all rows from the table: the key columns of its data files, less the deleted rows.

        Args:
            table: what the catalog knows.
            staged: files that the next commit will add.
            alone: it will leave out all that there is.

        Raises:
            InvariantBroken: the table holds a key twice.
        """
        entries = [] if alone else entries_of(table.io, table.current_snapshot())
        files = live_files(table.io, [*entries, *staged])
        for piece in read_all(table.io, files, table.schema(), self.key):
            self._insert(piece.rows, piece.path, piece.positions)

    def plan(self, change: NetChange) -> Taken:
        """The places of the rows that a net change removes.

        Raises:
            InvariantBroken: the table lacks a row to be removed, or has a key that is to be added.
        """
        taken = self.rows.take(change.removed, change.counts)
        if isinstance(taken, int):
            raise InvariantBroken(
                f"table {self.table!r}: a row that is not there is retracted, {self._key_of(change.removed, taken)}",
                hint="the table was changed by someone else, or its state was lost: drop it and let it be built again",
            )
        if self.unique:
            self._refuse_present(change.added, taken)
        return taken

    def _refuse_present(self, added: pa.Table, taken: Taken) -> None:
        slots = self.rows.find(added)
        present = np.flatnonzero((slots >= 0) & ~np.isin(slots, taken.slots))
        if len(present):
            raise InvariantBroken(
                f"table {self.table!r}: a key that is there is added, {self._key_of(added, int(present[0]))}",
                hint="check that the columns declared as the key identify a row",
            )

    def _key_of(self, rows: pa.Table, number: int) -> str:
        return sample(rows.slice(number, 1), self.key)

    def apply(self, taken: Taken, added: pa.Table, path: str | None) -> None:
        """Follows a commit: `taken` is gone, `added` stands in the new file `path` in this order."""
        self.rows.forget(taken)
        if path is not None:
            self._insert(added, path, np.arange(added.num_rows, dtype=np.int64))

    def _insert(self, rows: pa.Table, path: str, positions: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        self.paths.append(path)
        first = self.rows.insert(rows, len(self.paths) - 1, positions)
        if self.unique and not first.all():
            again = self._key_of(rows, int(np.flatnonzero(~first)[0]))
            raise InvariantBroken(
                f"table {self.table!r}: it holds more than one row of key {again}",
                hint="drop the table and let it be built again",
            )
