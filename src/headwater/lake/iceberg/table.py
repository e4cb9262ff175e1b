"""An Iceberg table as a sink that commits exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import RLock
from weakref import WeakSet

import pyarrow as pa
from pyiceberg.table import Table as PyIcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import ancestors_of

from headwater.clock import Clock
from headwater.errors import InvariantBroken, StorageFailed, UserError
from headwater.index.memory import Arrays
from headwater.lake.columns import lake_columns
from headwater.lake.consolidate import NetChange
from headwater.lake.iceberg.commit_plan import CommitPlan, StagedEpoch
from headwater.lake.iceberg.data_file import WrittenFile
from headwater.lake.iceberg.dataset import SnapshotDataset
from headwater.lake.iceberg.evolution import SchemaChange, touches
from headwater.lake.iceberg.handle import ForeignCommit, TableHandle, storage_errors
from headwater.lake.iceberg.held import HeldTable
from headwater.lake.iceberg.history import (
    WRITER,
    changes_after,
    is_maintenance,
    last_committed,
    maintenance_fields,
    snapshot_at,
    summary_fields,
    summary_of,
)
from headwater.lake.iceberg.index_check import check
from headwater.lake.iceberg.index_keeper import IndexKeeper
from headwater.lake.iceberg.index_store import IndexStore
from headwater.lake.iceberg.maintenance import Amendment, IcebergMaintenance, Swap
from headwater.lake.iceberg.manifests import ManifestStore
from headwater.lake.iceberg.partitions import apply_layout, layout_of
from headwater.lake.iceberg.parts import key_columns, net_of, write_part
from headwater.lake.iceberg.past import snapshots_of
from headwater.lake.iceberg.places import TableIndex
from headwater.lake.iceberg.reading import dataset_at
from headwater.lake.iceberg.replacement import IcebergReplacement
from headwater.lake.iceberg.rewriting import Rewrite
from headwater.lake.iceberg.scan import entries_of, live_files, read_all
from headwater.lake.iceberg.schema import columns_of
from headwater.lake.iceberg.snapshot import FileChange
from headwater.lake.index_check import IndexCheck
from headwater.lake.layout import Layout, misfits
from headwater.lake.moment import Moment, TableSnapshot
from headwater.lake.table_format import Committed, Replacement, TableChange, TableSpec

_ATTEMPTS = 5


class IcebergTable:
    """See `headwater.lake.table_format.Table`.

    Args:
        handle: where the table is found.
        spec: what it looks like, in lake types.
        writer: id of this writer, put into each snapshot.
        clock: for the time stamps of snapshots.
        read_only: refuse to commit and evolve.
        memory: where the places of rows are kept; the heap if not given.
        indexes: files that key indexes are kept in between runs.
    """

    def __init__(
        self,
        handle: TableHandle,
        spec: TableSpec,
        writer: str,
        clock: Clock,
        *,
        read_only: bool,
        memory: Arrays | None = None,
        indexes: IndexStore | None = None,
    ) -> None:
        self.spec = spec
        self._handle = handle
        self._writer = writer
        self._clock, self._read_only = clock, read_only
        self.indexes = IndexKeeper(spec.name, memory, indexes)
        self._held = HeldTable(handle, clock)
        self._index: TableIndex | None = None
        self._staged: StagedEpoch | None = None
        self._replacements: WeakSet[IcebergReplacement] = WeakSet()
        self._lock = RLock()

    def committed(self) -> Committed | None:
        """The last commit of ours, asked of the catalog."""
        return last_committed(self._handle.load().metadata)

    def read(self, epoch: int | None = None) -> pa.Table:
        """The rows as of the end of `epoch`, or now (then with other writers' too), in the columns of the spec."""
        table = self._held.changed(self._handle.load())
        name = self.spec.name
        snapshot = table.current_snapshot() if epoch is None else snapshot_at(table.metadata, epoch, name)
        with storage_errors(f"reading table {name!r}"):
            files = live_files(table.io, entries_of(table.io, snapshot))
            pieces = [piece.rows for piece in read_all(table.io, files, table.schema(), self.spec.columns)]
        return pa.concat_tables([self.spec.columns.empty_table(), *pieces])

    def dataset(self, at: Moment | None = None) -> SnapshotDataset:
        """The rows as of a moment, to be scanned; see the contract."""
        return dataset_at(self._handle.load(), at, self.spec.name)

    def snapshots(self) -> list[TableSnapshot]:
        """The table snapshots that are kept, newest first."""
        return snapshots_of(self._handle.load().metadata)

    @property
    def handle(self) -> TableHandle:
        """Where the table is found."""
        return self._handle

    def changes(self, after_epoch: int) -> Iterator[TableChange]:
        """What each commit of ours after `after_epoch` changed, oldest first."""
        table = self._handle.load()
        return changes_after(table.io, table.metadata, self.spec.columns, after_epoch)

    def evolve(
        self, columns: pa.Schema, key: tuple[str, ...] | None = None, *, anew: bool = False, remove: bool = False
    ) -> None:
        """Makes the table take other columns, which readers see with the next commit; see the contract."""
        self._refuse_read_only()
        wanted = SchemaChange(lake_columns(columns), self.spec.key if key is None else key, anew, remove)
        with self._lock:
            held = self._held.table.schema()
            self._held.change(wanted)
            if not wanted.key or wanted.key != self.spec.key or touches(held, self._held.table.schema(), wanted.key):
                self._index = None
            self.spec = replace(self.spec, columns=wanted.columns, key=wanted.key)

    def show_columns(self) -> None:
        """Makes what `evolve` changed visible now, without new rows.

        Raises:
            StorageFailed: it could not be committed.
        """
        with self._lock:
            self._held.show_columns()

    def relayout(self, layout: Layout) -> None:
        """Makes new files lie as `layout` says; see the contract."""
        self._refuse_read_only()
        with self._lock:
            if layout_of(self._held.table.metadata) != layout:
                self._held.show_columns()
                for one in misfits(layout, columns_of(self._held.table.schema())):
                    raise UserError(f"table {self.spec.name!r}: {one.message}", hint=f"{one.part}: {one.expected}")
                with storage_errors(f"changing the layout of table {self.spec.name!r}"):
                    with self._handle.load().transaction() as change:
                        apply_layout(change, layout, self.spec.key)
                    self._accept_foreign(self._handle.load())
            self.spec = replace(self.spec, layout=layout)

    def commit(self, epoch: int, delta: pa.Table, properties: Mapping[str, str], *, replace: bool = False) -> None:
        """Makes `delta` visible at once, tagged with `epoch`; see the contract."""
        self._refuse_read_only()
        with self._lock:
            self._commit(epoch, delta, summary_fields(epoch, self._writer, properties), replace)

    def _commit(self, epoch: int, delta: pa.Table, fields: Mapping[str, str], replace: bool) -> None:
        if self._staged is not None and self._staged.epoch != epoch:
            self.forget_staged()
        if self._staged is not None:
            if replace or delta.num_rows:
                self.stage(epoch, delta, replace=replace)
            return self._land_staged(fields)
        net = net_of(delta, self.spec)
        for _ in range(_ATTEMPTS):
            self._refuse_old(epoch)
            try:
                plan = self._replacement(net) if replace else self._current_plan(net)
                return self._land(plan, fields)
            except ForeignCommit as conflict:
                self._accept_foreign(conflict.fresh)
        raise StorageFailed(
            f"table {self.spec.name!r}: other writers were first {_ATTEMPTS} times in a row",
            hint="stop the other writers of this table for a moment",
        )

    def stage(self, epoch: int, delta: pa.Table, *, replace: bool = False) -> None:
        """Writes a part of what `epoch` changes; see the contract."""
        self._refuse_read_only()
        with self._lock:
            self._stage(epoch, delta, replace)

    def _stage(self, epoch: int, delta: pa.Table, replace: bool) -> None:
        self._refuse_old(epoch)
        if replace or (self._staged is not None and self._staged.epoch != epoch):
            self.forget_staged()
        if replace:
            self._index = self._empty_index() if self.spec.key else None
        if self._staged is None:
            self._held.files.written.clear()
            self._staged = StagedEpoch(epoch, replace)
        staged, done = self._staged, False
        try:
            self._write_part(self._part_plan(net_of(delta, self.spec), staged), staged)
            done = True
        except OSError as error:
            raise self._held.write_failed(error) from error
        finally:
            if not done:
                self.forget_staged()

    def _part_plan(self, net: NetChange, staged: StagedEpoch) -> CommitPlan:
        """A plan for a part; the first one may be against what another writer has just made of the table.

        Raises:
            StorageFailed: another writer has changed it since the first part.
        """
        try:
            return self._current_plan(net)
        except ForeignCommit as conflict:
            self._index = None
            self._accept_foreign(conflict.fresh)
            if staged.added or staged.deletes:
                raise self._overtaken() from conflict
            return self._plan(net)

    def _overtaken(self) -> StorageFailed:
        return StorageFailed(
            f"table {self.spec.name!r}: another writer changed it while a large epoch was being written",
            hint="it is tried again; stop the other writers of this table for a while if it goes on",
        )

    def _write_part(self, plan: CommitPlan, staged: StagedEpoch) -> None:
        written, deletes = write_part(self._held.files, plan)
        staged.added += [one.file for one in written]
        staged.deletes += deletes
        plan.apply(written, None)

    def forget_staged(self) -> None:
        """Removes what was staged and not committed."""
        with self._lock:
            if self._staged is not None:
                self._held.discard()
                self._staged = self._index = None

    def replacement(self, spec: TableSpec, *, remove: bool = False) -> IcebergReplacement:
        """Begins to write all rows of the table anew, as `spec` wants it; maintenance spares the files.

        Raises:
            UserError: the table cannot become that.
        """
        with self._lock:
            wanted = SchemaChange(lake_columns(spec.columns), spec.key, anew=True, remove=remove)
            table = wanted.on(self._held.committed).table
            metadata = table.metadata
            if layout_of(metadata) != spec.layout:
                change = table.transaction()
                apply_layout(change, spec.layout, spec.key)
                metadata = change.table_metadata
            made = IcebergReplacement(metadata, table.io, spec, self.indexes)
            self._replacements.add(made)
        return made

    def take_over(self, epoch: int, replacement: Replacement) -> bool:
        """Makes a replacement the first part of `epoch`; see the contract."""
        self._refuse_read_only()
        with self._lock:
            self._refuse_old(epoch)
            self.forget_staged()
            held, key = self._held.table.metadata, self.spec.key
            if not isinstance(replacement, IcebergReplacement) or not replacement.fits(held, key):
                return False
            self._staged, self._index = replacement.release(epoch, self._held.files), replacement.index
        return True

    def _land_staged(self, fields: Mapping[str, str]) -> None:
        """Commits what was staged.

        Raises:
            StorageFailed: it was not committed, and is forgotten.
            CommitUnknown: nobody knows; the files stay.
            InvariantBroken: another Headwater has taken this one's place.
        """
        staged = self._staged
        assert staged is not None
        store = self._held.store()
        change = FileChange(staged.added, staged.deletes, self._held.entries(store) if staged.replace else ())
        index, self._index, self._staged = self._index, None, None
        try:
            self._held.send(change, fields, store)
        except (StorageFailed, ForeignCommit) as error:
            self._held.discard(store)
            if isinstance(error, StorageFailed):
                raise
            self._accept_foreign(error.fresh)
            raise self._overtaken() from error
        if index is not None:
            index.snapshot = store.snapshot_id
        self._index = index

    def replace_files(self, rewrite: Rewrite, kind: str) -> Swap:
        """Makes a rewrite part of the table: files go and others come, no row changes. The table snapshot says what
        was done and repeats all else of the last commit's.

        Raises:
            StorageFailed: nothing was committed.
            CommitUnknown: nobody knows; the files stay.
        """
        self._refuse_read_only()
        with self._lock:
            for _ in range(_ATTEMPTS):
                if self.is_busy:
                    return Swap.BUSY
                try:
                    return Swap.DONE if self._replace_files(rewrite, kind) else Swap.MOOT
                except ForeignCommit as conflict:
                    self._accept_foreign(conflict.fresh)
        return Swap.BUSY

    def _replace_files(self, rewrite: Rewrite, kind: str) -> bool:
        held, store = self._held, self._held.store()
        held.files.written.clear()
        with storage_errors(f"rewriting files of table {self.spec.name!r}"):
            replacement = rewrite.settle(held.table, held.entries(store))
        if replacement is None:
            return False
        index, before = self._index, held.table.metadata.current_snapshot_id
        fields = {**maintenance_fields(held.table.metadata, kind), WRITER: self._writer}
        try:
            held.send(replacement.change, fields, store)
        except (StorageFailed, ForeignCommit):
            held.discard(store)
            raise
        if index is not None and index.snapshot == before:
            self._index = None
            index.relocate(replacement.moved, replacement.change.added)
            self._index, index.snapshot = index, store.snapshot_id
        return True

    @property
    def is_busy(self) -> bool:
        """Whether an epoch is being written in parts, or the next one changes columns: files cannot be replaced."""
        return self._staged is not None or self._held.changing

    def amend(self, change: Callable[[TableMetadata], Amendment | None]) -> bool:
        """Changes the table's metadata, no row and no file.

        Args:
            change: says what to ask of the catalog, given the metadata; None for nothing. Called again when another
                writer was first.

        Returns:
            Whether something was changed.

        Raises:
            StorageFailed: the catalog failed.
        """
        self._refuse_read_only()
        with self._lock:
            table = self._handle.load()
            for _ in range(_ATTEMPTS):
                wanted = change(table.metadata)
                if wanted is None:
                    return False
                try:
                    self._accept_foreign(self._handle.amend(table, *wanted))
                    return True
                except ForeignCommit as conflict:
                    table = conflict.fresh
        return False

    def staged_files(self) -> frozenset[str]:
        """Locations of files that this writer has begun and not committed."""
        return frozenset(self._held.files.written).union(*(one.written for one in list(self._replacements)))

    def maintenance(self) -> IcebergMaintenance:
        """What keeps this table small and healthy."""
        return IcebergMaintenance(self._handle, self, self._clock)

    def _refuse_read_only(self) -> None:
        if self._read_only:
            raise UserError(
                f"table {self.spec.name!r} is open for reading only", hint="`headwater run` is what writes tables"
            )

    def _refuse_old(self, epoch: int) -> None:
        last = last_committed(self._held.table.metadata)
        if last is not None and epoch <= last.epoch:
            raise InvariantBroken(f"table {self.spec.name!r} holds epoch {last.epoch}: epoch {epoch} comes too late")

    def _current_plan(self, net: NetChange) -> CommitPlan:
        """A plan against the table as it is. What contradicts the index may be another writer's doing.

        Raises:
            InvariantBroken: it is not; the delta and the table do not go together.
            ForeignCommit: it is; think again.
        """
        try:
            return self._plan(net)
        except InvariantBroken:
            fresh = self._handle.load()
            if fresh.metadata.current_snapshot_id == self._held.table.metadata.current_snapshot_id:
                raise
            raise ForeignCommit(fresh) from None

    def _plan(self, net: NetChange) -> CommitPlan:
        if self._index is None and not self.spec.key and not net.removed.num_rows:
            return CommitPlan(net.added, None, None)
        index = self._opened_index()
        return CommitPlan(net.added, index, index.plan(net))

    def _opened_index(self) -> TableIndex:
        staged, table = self._staged, self._held.table
        with storage_errors(f"reading the keys of table {self.spec.name!r}"):
            if staged is None:
                self._index = self.indexes.opened(
                    self._index, table, key_columns(self.spec), unique=bool(self.spec.key)
                )
            elif self._index is None:
                index = self._empty_index()
                index.load(table, staged.entries(), alone=staged.replace)
                self._index = index
        assert self._index is not None
        return self._index

    def _empty_index(self) -> TableIndex:
        return self.indexes.empty(key_columns(self.spec), unique=bool(self.spec.key))

    def keep_index(self, least_changed: float = 0.0) -> None:
        """Keeps the key index in its file, for the next run; the table may go on to be used.

        Args:
            least_changed: least share of its rows that must have changed since it was kept last.

        Raises:
            StorageFailed: the file could not be written, which harms nothing but the time of the next start.
        """
        with self._lock:
            if self._index is not None and self._staged is None:
                with storage_errors(f"keeping the key index of table {self.spec.name!r}"):
                    self.indexes.save(self._index, self._held.table, least_changed)

    def check_index(self, folder: Path) -> IndexCheck:
        """Holds the key index kept in `folder` against the table's files; writes nothing, and keeps no index.

        Raises:
            StorageFailed: a file of the table cannot be read.
        """
        keeper, table = IndexKeeper(self.spec.name, None, IndexStore(folder)), self._handle.load()
        with storage_errors(f"checking the key index of table {self.spec.name!r}"):
            index = keeper.kept(table, key_columns(self.spec), unique=bool(self.spec.key))
            if index is None:
                return IndexCheck(self.spec.name, keeper.origin)
            return check(index, table, keeper.origin)

    def _replacement(self, net: NetChange) -> CommitPlan:
        index = self._empty_index() if self.spec.key else None
        planned = self._empty_index().plan(net)
        return CommitPlan(net.added, index, planned, self._held.entries(self._held.store()))

    def _land(self, plan: CommitPlan, fields: Mapping[str, str]) -> None:
        """Writes a plan's files, commits them, and moves on what is remembered of the table."""
        store = self._held.store()
        written, change = self._written(plan, store)
        try:
            self._held.send(change, fields, store)
        except ForeignCommit:
            self._held.discard(store)
            raise
        self._index = None
        plan.apply(written, store.snapshot_id)
        self._index = plan.index

    def _written(self, plan: CommitPlan, store: ManifestStore) -> tuple[list[WrittenFile], FileChange]:
        self._held.files.written.clear()
        try:
            written, deletes = write_part(self._held.files, plan)
        except OSError as error:
            self._held.discard(store)
            raise self._held.write_failed(error) from error
        return written, FileChange([one.file for one in written], deletes, plan.dropped)

    def _accept_foreign(self, fresh: PyIcebergTable) -> None:
        """Goes on from the table as it now is, with other writers' commits, unless such a writer is Headwater too.

        Raises:
            InvariantBroken: two pipelines write this table.
        """
        known = self._held.table.metadata.current_snapshot_id
        for snapshot in ancestors_of(fresh.current_snapshot(), fresh.metadata):
            if snapshot.snapshot_id == known:
                break
            if not is_maintenance(snapshot) and summary_of(snapshot).get(WRITER, self._writer) != self._writer:
                raise InvariantBroken(
                    f"table {self.spec.name!r} is being written by another Headwater",
                    hint="stop one of the two (headwater status shows what runs), then start again",
                )
        self._held.adopt(fresh)
