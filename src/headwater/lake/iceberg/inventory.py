"""What a table snapshot consists of, as maintenance looks at it: data files with how many of their rows are deleted,
and the files that delete them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestEntry, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from headwater.lake.iceberg.manifests import file_identity
from headwater.lake.iceberg.scan import positions_by_path

Home = tuple[int, object]
"""Partition spec and partition of a file; files are merged with their like only."""


@dataclass(frozen=True)
class DataState:
    """A data file, and how many of its rows are deleted."""

    entry: ManifestEntry
    deleted: int

    @property
    def file(self) -> DataFile:
        """The file as its manifest describes it."""
        return self.entry.data_file

    @property
    def live_bytes(self) -> int:
        """About what its rows that are left take."""
        rows = max(self.file.record_count, 1)
        return self.file.file_size_in_bytes * (rows - self.deleted) // rows


@dataclass(frozen=True)
class DeleteState:
    """A file of deletes.

    Attributes:
        entry: as its manifest describes it.
        names: how many rows it deletes, by data file.
        dead: how many of those are in files that are no longer part of the table.
    """

    entry: ManifestEntry
    names: Mapping[str, int]
    dead: int

    @property
    def file(self) -> DataFile:
        """The file as its manifest describes it."""
        return self.entry.data_file

    @property
    def mergeable(self) -> bool:
        """Whether it may become one with others: a deletion vector stays its data file's own."""
        return self.file.file_format == FileFormat.PARQUET


@dataclass(frozen=True)
class Inventory:
    """All files of one table snapshot.

    Attributes:
        table: the table as it was.
        snapshot: the snapshot.
        data, deletes: its files.
        manifests: the files that list them.
    """

    table: Table
    snapshot: Snapshot
    data: Sequence[DataState]
    deletes: Sequence[DeleteState]
    manifests: Sequence[ManifestFile]


@dataclass
class InventoryReader:
    """Takes inventories one after the other, and reads no manifest and no delete file twice.

    Attributes:
        entries: by manifest, what it lists; files never change once they are written.
        names: by delete file, how many rows of which data files it deletes.
    """

    entries: dict[str, list[ManifestEntry]] = field(default_factory=dict)
    names: dict[tuple[str, int | None], Mapping[str, int]] = field(default_factory=dict)

    def take(self, table: Table) -> Inventory | None:
        """The inventory of the table's present snapshot; None if it has none.

        Raises:
            UserError: another engine has put deletes into the table that this reader does not know.
            OSError: a file cannot be read.
        """
        snapshot = table.current_snapshot()
        if snapshot is None:
            return None
        manifests = snapshot.manifests(table.io)
        entries = [entry for manifest in manifests for entry in self._entries(table.io, manifest)]
        self._forget({manifest.manifest_path for manifest in manifests}, entries)
        data = [entry for entry in entries if entry.data_file.content == DataFileContent.DATA]
        deletes = [entry for entry in entries if entry.data_file.content != DataFileContent.DATA]
        live = {entry.data_file.file_path for entry in data}
        deleted: dict[str, int] = defaultdict(int)
        states = []
        for entry in deletes:
            names = self._names(table.io, entry.data_file)
            for path, count in names.items():
                deleted[path] += count
            dead = sum(count for path, count in names.items() if path not in live)
            states.append(DeleteState(entry, names, dead))
        held = [DataState(e, min(deleted[e.data_file.file_path], e.data_file.record_count)) for e in data]
        return Inventory(table, snapshot, held, states, manifests)

    def _entries(self, io: FileIO, manifest: ManifestFile) -> list[ManifestEntry]:
        found = self.entries.get(manifest.manifest_path)
        if found is None:
            found = manifest.fetch_manifest_entry(io, discard_deleted=True)
            self.entries[manifest.manifest_path] = found
        return found

    def _names(self, io: FileIO, file: DataFile) -> Mapping[str, int]:
        identity = file_identity(file)
        found = self.names.get(identity)
        if found is None:
            found = {path: len(rows) for path, rows in positions_by_path(io, [file]).items()}
            self.names[identity] = found
        return found

    def _forget(self, manifests: set[str], entries: Sequence[ManifestEntry]) -> None:
        """Lets go of what the table no longer has."""
        self.entries = {path: kept for path, kept in self.entries.items() if path in manifests}
        there = {file_identity(entry.data_file) for entry in entries}
        self.names = {identity: kept for identity, kept in self.names.items() if identity in there}


def home_of(file: DataFile) -> Home:
    """Where a file belongs."""
    return file.spec_id, tuple(file.partition[number] for number in range(len(file.partition)))
