"""What a writer remembers of its table between commits, so that a commit reads nothing that it wrote itself."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from pyiceberg.manifest import ManifestEntry, ManifestFile
from pyiceberg.table import Table

from headwater import failpoint
from headwater.clock import Clock
from headwater.errors import StorageFailed
from headwater.lake.iceberg.data_file import FileWriter
from headwater.lake.iceberg.evolution import SchemaChange, StagedChange
from headwater.lake.iceberg.handle import ForeignCommit, TableHandle, forget_old_files, storage_errors
from headwater.lake.iceberg.history import NOTE, repeated
from headwater.lake.iceberg.manifests import ManifestStore
from headwater.lake.iceberg.snapshot import FileChange, StagedSnapshot, stage


class HeldTable:
    """A table as its writer knows it. One thread at a time.

    Args:
        handle: where the table is found.
        clock: for the time stamps of snapshots.

    Attributes:
        table: the table as of the last commit or look at the catalog, with the columns that the next commit gives it.
        files: writes its files.
    """

    def __init__(self, handle: TableHandle, clock: Clock) -> None:
        self._handle, self._clock = handle, clock
        self.table = handle.load()
        self.files = FileWriter(self.table.metadata, self.table.io)
        self._manifests: tuple[ManifestFile, ...] | None = None
        self._entries: dict[str, list[ManifestEntry]] = {}
        self._change: SchemaChange | None = None
        self._ahead: StagedChange | None = None

    def change(self, wanted: SchemaChange) -> None:
        """Has the next commit change the columns, in place of what it was to change before.

        Raises:
            UserError: they cannot become these; all stays as it was.
        """
        ahead = wanted.on(self.committed)
        self._change, self._ahead = wanted, ahead
        self._take(ahead.table)

    @property
    def changing(self) -> bool:
        """Whether the next commit changes columns: then it has to be that of the rows that go with them."""
        return self._ahead is not None and bool(self._ahead.updates)

    @property
    def committed(self) -> Table:
        """The table without the columns that the next commit gives it."""
        return self._ahead.before if self._ahead is not None else self.table

    def changed(self, table: Table) -> Table:
        """A table as the catalog has it, with the columns that the next commit gives it."""
        return table if self._change is None else self._change.on(table).table

    def show_columns(self) -> None:
        """Commits the columns' change now, without rows.

        Raises:
            StorageFailed: it could not be committed.
        """
        if self._ahead is not None and self.changing:
            with storage_errors(f"changing the columns of table {self._handle.name!r}"):
                self._handle.catalog.commit_table(self.table, self._ahead.requirements, self._ahead.updates)
        self._change = None
        self.adopt(self._handle.load())

    def store(self) -> ManifestStore:
        """For the manifests of the next snapshot."""
        metadata = self.table.metadata
        return ManifestStore(self.table.io, metadata, metadata.new_snapshot_id(), self._entries)

    def entries(self, store: ManifestStore) -> tuple[ManifestEntry, ...]:
        """Entries of all files of the table's present snapshot.

        Raises:
            StorageFailed: they cannot be read.
        """
        with storage_errors(f"reading the files of table {self._handle.name!r}"):
            return tuple(entry for manifest in self._current(store) for entry in store.live_entries(manifest))

    def _current(self, store: ManifestStore) -> tuple[ManifestFile, ...]:
        """Manifests of the table's present snapshot."""
        if self._manifests is None:
            snapshot = self.table.current_snapshot()
            self._manifests = tuple(snapshot.manifests(store.io)) if snapshot is not None else ()
        return self._manifests

    def send(self, change: FileChange, fields: Mapping[str, str], store: ManifestStore) -> None:
        """Writes the manifests of a change whose files are written, commits it, and takes the table as it is then.

        A commit that an earlier run of this pipeline sent, and that the catalog made only now, counts as this one.

        Raises:
            StorageFailed: nothing was committed.
            CommitUnknown: nobody knows; the files stay.
            ForeignCommit: another writer was first; the files stay.
        """
        before = self.table.metadata
        try:
            staged = stage(store, change, self._current(store), fields, NOTE, self._clock.now_us() // 1000)
            failpoint.reach("lake.commit.before_catalog")
        except OSError as error:
            self.discard(store)
            raise self.write_failed(error) from error
        try:
            fresh = self._handle.send(self.table, self._with_columns(staged))
        except ForeignCommit as conflict:
            if conflict.in_doubt:
                self.files.written.clear()
                store.written.clear()
            if not repeated(conflict.fresh.metadata, staged.snapshot):
                raise
            self.discard(store)
            fresh = conflict.fresh
        self._change = None
        forget_old_files(before, fresh)
        self._remember(fresh, staged)

    def _with_columns(self, staged: StagedSnapshot) -> StagedSnapshot:
        """The commit of the rows, which is that of the columns as well."""
        if self._ahead is None:
            return staged
        updates, requirements = self._ahead.updates, self._ahead.requirements
        return replace(staged, updates=(*updates, *staged.updates), requirements=(*requirements, *staged.requirements))

    def write_failed(self, error: OSError) -> StorageFailed:
        """What to raise if a file could not be written."""
        return StorageFailed(
            f"table {self._handle.name!r}: writing its files failed: {error}",
            hint="look at the disk of the lake folder (df -h, dmesg); nothing was committed",
        )

    def discard(self, store: ManifestStore | None = None) -> None:
        """Removes files that no catalog will ever name; for commits that were surely not made."""
        for location in (*self.files.written, *(store.written if store else ())):
            with suppress(OSError):
                self.table.io.delete(location)
            self._entries.pop(location, None)
        self.files.written.clear()

    def _remember(self, table: Table, staged: StagedSnapshot) -> None:
        self.adopt(table)
        if table.metadata.current_snapshot_id == staged.snapshot.snapshot_id:
            self._manifests = staged.manifests
        paths = {manifest.manifest_path for manifest in self._manifests or ()}
        for path in [path for path in self._entries if path not in paths]:
            del self._entries[path]

    def adopt(self, table: Table) -> None:
        """Takes the table as it now is for what further commits build on.

        Raises:
            UserError: another writer's columns and those that the next commit is to give it do not go together.
        """
        self._ahead = self._change.on(table) if self._change is not None else None
        self._take(table if self._ahead is None else self._ahead.table)
        self._manifests = None

    def _take(self, table: Table) -> None:
        if not self.files.fits(table.metadata):
            self.files = FileWriter(table.metadata, table.io, self.files.written)
        self.table = table
