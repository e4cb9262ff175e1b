"""Rows of a table in other files: read and written beside the commits that go on, and settled with them at the end.

A rewrite is planned on one table snapshot and becomes part of a later one. Rows of its sources that were deleted in
between are deleted in the new files too, by position deletes in the same table snapshot; where a source has left the
table, or a delete that was applied has been taken back (a rollback), the rewrite is moot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, ManifestEntry
from pyiceberg.table import Table

from headwater import failpoint
from headwater.index.kernels import Longs
from headwater.lake.iceberg.data_file import FileHome, FileWriter, WrittenFile
from headwater.lake.iceberg.inventory import DataState, DeleteState, Inventory
from headwater.lake.iceberg.manifests import file_identity
from headwater.lake.iceberg.places import Moved
from headwater.lake.iceberg.scan import LiveFile, positions_by_path, read_file
from headwater.lake.iceberg.schema import columns_of
from headwater.lake.iceberg.snapshot import FileChange

_PLACE = "\0place"
_GONE = -1


@dataclass(frozen=True)
class Replacement:
    """Files that take the place of others.

    Attributes:
        change: what happens to the table's files.
        moved: by data file that goes, where its rows lie now.
    """

    change: FileChange
    moved: Mapping[str, Moved] = field(default_factory=dict)


class Rewrite(Protocol):
    """Files written that are to take the place of others."""

    def settle(self, table: Table, entries: Sequence[ManifestEntry]) -> Replacement | None:
        """What to commit, given the table as it is and its live files; None if the rewrite is moot.

        Raises:
            OSError: a file could not be read or written.
        """

    def discard(self) -> None:
        """Removes what was written; it has not become part of the table."""


class DataRewrite:
    """Data files written anew, without their deleted rows.

    Args:
        inventory: of the snapshot that it begins with.
        sources: the data files, all of one partition.
        key: columns to order the rows by, if the table has no order of its own.
    """

    def __init__(self, inventory: Inventory, sources: Sequence[DataState], key: Sequence[str]) -> None:
        self._table, self._snapshot = inventory.table, inventory.snapshot
        self._sources = sources
        self._key = key
        self._applied = {file_identity(state.file) for state in inventory.deletes}
        self._relevant = _naming(inventory.deletes, {state.file.file_path for state in sources})
        self._starts = np.cumsum([0, *(state.file.record_count for state in sources)])
        self._files = FileWriter(self._table.metadata, self._table.io)
        self._new_files = np.full(int(self._starts[-1]), _GONE, np.int64)
        self._new_rows = np.zeros(len(self._new_files), np.int64)
        self.written: list[WrittenFile] = []

    @property
    def rows(self) -> int:
        """Rows written."""
        return sum(one.file.record_count for one in self.written)

    @property
    def written_files(self) -> list[DataFile]:
        """The new files."""
        return [one.file for one in self.written]

    @property
    def source_locations(self) -> list[str]:
        """The files that go."""
        return [state.file.file_path for state in self._sources]

    def write(self) -> None:
        """Reads the sources and writes their rows to new files.

        Raises:
            OSError: as the disk says; `discard` then.
        """
        rows = self._read()
        failpoint.reach("lake.rewrite.before_write")
        if rows.num_rows:
            self.written = self._files.write_rows(_ordered(rows, self._key, self._table))
        for number, one in enumerate(self.written):
            places = one.rows.column(_PLACE).to_numpy()
            self._new_files[places] = number
            self._new_rows[places] = np.arange(len(places))
        failpoint.reach("lake.rewrite.after_write")

    def _read(self) -> pa.Table:
        """The rows that are left, with their place: a number that counts through the sources' rows, deleted or not."""
        io, schema = self._table.io, self._table.schema()
        columns = columns_of(schema)
        deleted = positions_by_path(io, self._relevant)
        nothing, pieces = np.zeros(0, np.int64), []
        for start, state in zip(self._starts.tolist(), self._sources, strict=False):
            path = state.file.file_path
            piece = read_file(io, LiveFile(path, deleted.get(path, nothing)), schema, columns)
            pieces.append(piece.rows.append_column(_PLACE, pa.array(piece.positions + start)))
        return pa.concat_tables(pieces)

    def settle(self, table: Table, entries: Sequence[ManifestEntry]) -> Replacement | None:
        """See `Rewrite`."""
        live = {file_identity(entry.data_file): entry for entry in entries}
        sources = [live.get(file_identity(state.file)) for state in self._sources]
        deletes = {i: e for i, e in live.items() if e.data_file.content != DataFileContent.DATA}
        if not all(sources) or not self._applied <= deletes.keys():
            return None
        _remove(table.io, self._files.written, keep=len(self.written))  # what an attempt in vain wrote
        new = [entry.data_file for identity, entry in deletes.items() if identity not in self._applied]
        change = FileChange(
            added=[one.file for one in self.written],
            deletes=self._deletes_since(positions_by_path(table.io, new)),
            dropped=[entry for entry in sources if entry is not None],
            same_rows=True,
            sequence=self._snapshot.sequence_number,
        )
        return Replacement(change, self._moved())

    def _deletes_since(self, deleted: Mapping[str, Longs]) -> list[DataFile]:
        """Deletes, in the new files, of the rows that were deleted in the old ones meanwhile."""
        places = [
            start + deleted[state.file.file_path]
            for start, state in zip(self._starts.tolist(), self._sources, strict=False)
            if state.file.file_path in deleted
        ]
        gone = np.concatenate([np.zeros(0, np.int64), *places])
        gone = gone[self._new_files[gone] != _GONE]
        if not len(gone):
            return []
        homes = [FileHome.of(one.file) for one in self.written]
        return list(self._files.write_deletes(homes, self._new_files[gone], self._new_rows[gone]))

    def _moved(self) -> dict[str, Moved]:
        paths = [one.file.file_path for one in self.written]
        spans = zip(self._sources, self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True)
        return {
            state.file.file_path: Moved(tuple(paths), self._new_files[start:end], self._new_rows[start:end])
            for state, start, end in spans
        }

    def discard(self) -> None:
        """See `Rewrite`."""
        _remove(self._table.io, self._files.written)


class DeleteRewrite:
    """Files of deletes written anew as one, without what they delete in data files that are gone.

    Args:
        inventory: of the snapshot that it begins with.
        sources: the files, all of one partition.
    """

    def __init__(self, inventory: Inventory, sources: Sequence[DeleteState]) -> None:
        self._table = inventory.table
        self._sources = sources
        self._data = {state.file.file_path: state.file for state in inventory.data}
        self._files = FileWriter(self._table.metadata, self._table.io)
        self.written: list[DataFile] = []

    @property
    def rows(self) -> int:
        """Deletes written."""
        return sum(file.record_count for file in self.written)

    @property
    def written_files(self) -> list[DataFile]:
        """The new files."""
        return self.written

    @property
    def source_locations(self) -> list[str]:
        """The files that go."""
        return [state.file.file_path for state in self._sources]

    def write(self) -> None:
        """Reads the sources and writes what still matters of them.

        Raises:
            OSError: as the disk says; `discard` then.
        """
        wanted = [state.file for state in self._sources if state.dead < sum(state.names.values())]
        found = positions_by_path(self._table.io, wanted)
        kept = [(self._data[path], rows) for path, rows in found.items() if path in self._data]
        failpoint.reach("lake.rewrite.before_write")
        if kept:
            homes = [FileHome.of(file) for file, _ in kept]
            files = np.repeat(np.arange(len(kept), dtype=np.int64), [len(rows) for _, rows in kept])
            self.written = list(self._files.write_deletes(homes, files, np.concatenate([rows for _, rows in kept])))
        failpoint.reach("lake.rewrite.after_write")

    def settle(self, table: Table, entries: Sequence[ManifestEntry]) -> Replacement | None:
        """See `Rewrite`. Deletes that came meanwhile stand beside these; data files that went do no harm."""
        live = {file_identity(entry.data_file): entry for entry in entries}
        sources = [live.get(file_identity(state.file)) for state in self._sources]
        if not all(sources):
            return None
        dropped = [entry for entry in sources if entry is not None]
        return Replacement(FileChange(deletes=self.written, dropped=dropped, same_rows=True))

    def discard(self) -> None:
        """See `Rewrite`."""
        _remove(self._table.io, self._files.written)


class ManifestRewrite:
    """Manifests merged into few; no other file changes."""

    def settle(self, table: Table, entries: Sequence[ManifestEntry]) -> Replacement | None:
        """See `Rewrite`."""
        return Replacement(FileChange(same_rows=True, merge=True))

    def discard(self) -> None:
        """See `Rewrite`."""


def _naming(deletes: Iterable[DeleteState], paths: set[str]) -> list[DataFile]:
    return [state.file for state in deletes if not paths.isdisjoint(state.names)]


def _ordered(rows: pa.Table, key: Sequence[str], table: Table) -> pa.Table:
    """Rows by their key, so that files can be skipped by it, unless the table has another order, which the writer of
    its files keeps."""
    if not key or table.sort_order().fields:
        return rows
    order = pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in key])
    return rows if np.array_equal(order, np.arange(len(order))) else rows.take(order)


def _remove(io: FileIO, locations: list[str], *, keep: int = 0) -> None:
    """Removes files of ours but for the first ones; what the disk does not let go is found by the removal of orphan
    files."""
    for location in locations[keep:]:
        with suppress(OSError):
            io.delete(location)
    del locations[keep:]
