"""The key index of one Iceberg table: built from the table itself, planned against, and moved on with each commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntry
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs, Mask
from headwater.index.memory import Arrays
from headwater.lake.consolidate import NetChange, sample
from headwater.lake.iceberg.data_file import FileHome, WrittenFile
from headwater.lake.iceberg.index_store import StoredIndex
from headwater.lake.iceberg.scan import LiveFile, entries_of, live_files, read_all
from headwater.lake.key_index import Dead, Relocation, RowIndex, Taken

SLOT = "_headwater_slot"
"""Column beside rows to be written: the slot of the row's key in the index."""


@dataclass(frozen=True)
class Moved:
    """Where the rows of a data file lie from now on; arrays by their position in the old file.

    Attributes:
        paths: new data files.
        files: which of `paths`; -1 for a row that is gone.
        rows: the position there.
    """

    paths: tuple[str, ...]
    files: Longs
    rows: Longs


@dataclass(frozen=True)
class Planned:
    """What a change does to the index, looked up and not done.

    Attributes:
        taken: places of rows that go.
        slots: of a keyed table: by added row the slot of its key, which is among those taken; -1 where it is new.
    """

    taken: Taken
    slots: Longs

    def marked(self, added: pa.Table) -> pa.Table:
        """The added rows with their slots beside them, if any is there: a writer may sort and divide the rows."""
        if not (self.slots >= 0).any():
            return added
        return added.append_column(SLOT, pa.array(self.slots))


@dataclass
class TableIndex:
    """Where a table's rows lie. One thread at a time.

    Attributes:
        table: the table's name, for messages.
        key: columns that tell rows apart: the key's, or all of a table without one.
        unique: the table has a key, so each may be there once.
        rows: places by key; file numbers count into `homes`.
        homes: data files.
        memory: where the places are kept; the heap if None.
        snapshot: the table snapshot that it stands at.
        changed: rows that came and went since it was read from a file or written to one.
    """

    table: str
    key: pa.Schema
    unique: bool
    memory: Arrays | None = None
    rows: RowIndex = field(init=False)
    homes: list[FileHome] = field(default_factory=list)
    snapshot: int | None = None
    changed: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = RowIndex(self.key, unique=self.unique, memory=self.memory)

    def load(self, table: Table, staged: Sequence[ManifestEntry] = (), *, alone: bool = False) -> None:
        """Reads the places of all rows from the table: the key columns of its data files, less the deleted rows.

        Args:
            table: what the catalog knows.
            staged: files that the next commit will add.
            alone: it will leave out all that there is.

        Raises:
            InvariantBroken: the table holds a key twice.
        """
        entries = [*([] if alone else entries_of(table.io, table.current_snapshot())), *staged]
        data, live = data_files(entries), live_files(table.io, entries)
        self.rows.reserve(live_rows(data, live))
        self._read(table, data, live)
        self.snapshot = table.metadata.current_snapshot_id

    def follow(self, table: Table) -> bool:
        """Brings an index that stood at any earlier moment of the table up to its current snapshot.

        Places in files that left the table go, and those that a delete file names; the rows of files that came are
        read. So what the index then holds is in the table, each row once. If it holds as many rows as the table, it is
        the table's: one that has come to life again since (a rollback) would be missing.

        Returns:
            False: it cannot be brought up, and is not to be used.
        """
        entries = entries_of(table.io, table.current_snapshot())
        data, live = data_files(entries), live_files(table.io, entries)
        self.rows.sweep(self._dead(data, live))
        self._rehome(data)
        try:
            self._read(table, data, [file for file in live if file.path not in self._numbers])
        except InvariantBroken:
            return False
        self.snapshot = table.metadata.current_snapshot_id
        return len(self.rows) == live_rows(data, live)

    def _dead(self, data: Mapping[str, DataFile], live: Sequence[LiveFile]) -> Dead:
        """Which rows of the files known here are no more, given the table's files."""
        bases, base = np.full(len(self.homes), -2, np.int64), 0
        deleted = {file.path: file.deleted for file in live}
        marks: list[Mask] = [np.zeros(0, np.bool_)]
        for path, positions in deleted.items():
            number = self._numbers.get(path)
            if number is None:
                continue
            bases[number] = base if len(positions) else -1
            if len(positions):
                marks.append(np.zeros(data[path].record_count, np.bool_))
                marks[-1][positions] = True
                base += len(marks[-1])
        return Dead(bases, np.concatenate(marks))

    def _read(self, table: Table, data: Mapping[str, DataFile], files: Iterable[LiveFile]) -> None:
        for piece in read_all(table.io, files, table.schema(), self.key):
            self._insert(piece.rows, self._number(FileHome.of(data[piece.path])), piece.positions)

    def stored(self) -> StoredIndex:
        """What a file is to hold; its arrays are the index's own."""
        return StoredIndex(self.snapshot, tuple(home.path for home in self.homes), self.rows.parts())

    def _rehome(self, data: Mapping[str, DataFile]) -> None:
        self.homes = [FileHome.of(data[home.path]) if home.path in data else home for home in self.homes]

    def restore(self, stored: StoredIndex, table: Table) -> None:
        """Becomes what a file held, of the same table and key."""
        self.rows.restore(stored.parts)
        self.homes = [FileHome(path, 0, Record()) for path in stored.paths]
        self._numbers = {path: number for number, path in enumerate(stored.paths)}
        self.snapshot, self.changed = stored.snapshot, 0
        self._rehome(data_files(entries_of(table.io, table.current_snapshot())))

    def plan(self, change: NetChange) -> Planned:
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
        return Planned(taken, self._slots_of(change.added, taken) if self.unique else np.zeros(0, np.int64))

    def _slots_of(self, added: pa.Table, taken: Taken) -> Longs:
        slots = self.rows.find(added)
        present = np.flatnonzero((slots >= 0) & ~self.rows.among(slots, taken.slots))
        if len(present):
            raise InvariantBroken(
                f"table {self.table!r}: a key that is there is added, {self._key_of(added, int(present[0]))}",
                hint="check that the columns declared as the key identify a row",
            )
        return slots

    def _key_of(self, rows: pa.Table, number: int) -> str:
        return sample(rows.slice(number, 1), self.key)

    def apply(self, planned: Planned, written: Iterable[WrittenFile]) -> None:
        """Follows a commit: what was taken is gone, the added rows stand in the files written. A key that goes and
        comes keeps its slot."""
        taken = planned.taken
        if len(planned.slots) and len(taken):
            kept = self.rows.among(taken.slots, planned.slots)
            taken = Taken(*(part[~kept] for part in (taken.slots, taken.counts, taken.places, taken.files, taken.rows)))
        self.changed += len(planned.taken)
        self.rows.forget(taken)
        for one in written:
            self.changed += one.rows.num_rows
            self._place(one.rows, self._number(FileHome.of(one.file)))

    def _place(self, rows: pa.Table, number: int) -> None:
        """Notes that the rows are all that file `number` holds."""
        positions = np.arange(rows.num_rows, dtype=np.int64)
        if SLOT in rows.column_names:
            slots = rows.column(SLOT).to_numpy()
            there = slots >= 0
            if there.any():
                self.rows.move(slots[there], number, positions[there])
                rows, positions = rows.filter(pa.array(~there)), positions[~there]
        if rows.num_rows:
            self._insert(rows, number, positions)

    def relocate(self, moved: Mapping[str, Moved], files: Iterable[DataFile]) -> None:
        """Follows a rewrite: rows of old data files lie in new ones.

        Args:
            moved: by path of the old file.
            files: the new files.

        Raises:
            InvariantBroken: a row of an old file is in no new one; the index is no longer of use.
        """
        numbers = {file.file_path: self._number(FileHome.of(file)) for file in files}
        bases, sizes = np.full(len(self.homes), -1, np.int64), np.zeros(len(self.homes), np.int64)
        new_files, new_rows, base = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for path, one in moved.items():
            if path not in self._numbers:
                continue
            number, count = self._numbers[path], len(one.files)
            bases[number], sizes[number], base = base, count, base + count
            targets = np.array([*(numbers[new] for new in one.paths), -1], np.int64)
            new_files.append(targets[one.files])
            new_rows.append(one.rows)
        self.changed += sum(len(one.files) for one in moved.values())
        self.rows.relocate(Relocation(bases, sizes, np.concatenate(new_files), np.concatenate(new_rows)))

    def _number(self, file: FileHome) -> int:
        """The file's number, a new one if it has none."""
        number = self._numbers.setdefault(file.path, len(self.homes))
        if number == len(self.homes):
            self.homes.append(file)
        return number

    def _insert(self, rows: pa.Table, number: int, positions: Longs) -> None:
        first = self.rows.insert(rows, number, positions)
        if self.unique and not first.all():
            again = self._key_of(rows, int(np.flatnonzero(~first)[0]))
            raise InvariantBroken(
                f"table {self.table!r}: it holds more than one row of key {again}",
                hint="drop the table and let it be built again",
            )


def data_files(entries: Iterable[ManifestEntry]) -> dict[str, DataFile]:
    """The data files among entries, by path."""
    files = (entry.data_file for entry in entries)
    return {file.file_path: file for file in files if file.content == DataFileContent.DATA}


def live_rows(data: Mapping[str, DataFile], live: Iterable[LiveFile]) -> int:
    """How many rows files hold that are not deleted."""
    return sum(file.record_count for file in data.values()) - sum(len(file.deleted) for file in live)
