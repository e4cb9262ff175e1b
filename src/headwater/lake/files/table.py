"""A table of Parquet files as a sink that commits exactly once, over whatever log says which files are the table's."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from headwater import failpoint
from headwater.change import WEIGHT
from headwater.clock import Clock
from headwater.errors import HeadwaterError, InvariantBroken, StorageFailed, UserError
from headwater.index.kernels import Longs
from headwater.index.memory import Arrays
from headwater.lake.columns import cast_rows, lake_columns
from headwater.lake.consolidate import NetChange, check_one_row_per_key, net_change, weights_of
from headwater.lake.files.dataset import VersionDataset
from headwater.lake.files.history import changes_after, read_version, resolve, snapshots_of, version_at
from headwater.lake.files.log import ForeignVersion, VersionLog, disk_errors
from headwater.lake.files.maintenance import FileMaintenance
from headwater.lake.files.places import Moved, Places
from headwater.lake.files.rewriting import Rewritten, rewritten
from headwater.lake.files.rows import file_of, live_rows, read_rows, write_rows
from headwater.lake.files.shape import Evolved, evolved, plain_names
from headwater.lake.files.version import Change, Head, LiveFile, Shape, Version
from headwater.lake.layout import Layout
from headwater.lake.maintenance import Outcome
from headwater.lake.moment import Moment, TableSnapshot
from headwater.lake.table_format import Committed, Replacement, TableChange, TableSpec

_ATTEMPTS = 5


@dataclass
class _Staged:
    """Files of an epoch that is being written; the index, if there is one, is as if they were committed.

    Attributes:
        epoch: whose.
        replace: the table's former files go.
        added: new files by name.
        deleted: positions of rows that go, by file.
        written: every file begun, whole or not.
    """

    epoch: int
    replace: bool
    added: dict[str, LiveFile] = field(default_factory=dict)
    deleted: dict[str, list[Longs]] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)


class FileTable:
    """See `headwater.lake.table_format.Table`.

    Args:
        log: where its versions are kept.
        spec: what it looks like, in lake types.
        writer: id of this writer, put into each version.
        clock: for time stamps.
        read_only: refuse to commit and evolve.
        memory: where the places of rows are kept; the heap if not given.
    """

    def __init__(
        self,
        log: VersionLog,
        spec: TableSpec,
        writer: str,
        clock: Clock,
        *,
        read_only: bool,
        memory: Arrays | None = None,
    ) -> None:
        self.spec, self.log, self.lock = spec, log, threading.RLock()
        self._writer, self._clock = writer, clock
        self._read_only, self._memory = read_only, memory
        self._now = log.load()
        self._index: Places | None = None
        self._staged: _Staged | None = None
        self._pending: Evolved | None = None

    def committed(self) -> Committed | None:
        """The last commit of ours, asked of the log."""
        return self.log.load(self._now).committed

    def read(self, epoch: int | None = None) -> pa.Table:
        """The rows as of the end of `epoch`, or now (then with other writers' too), in the columns of the spec."""
        with disk_errors(f"reading table {self.spec.name!r}"):
            version = self.log.load() if epoch is None else version_at(self.log, epoch, self.spec.name)
            return read_version(self.log, version, self._shape, self.spec.columns)

    def dataset(self, at: Moment | None = None) -> pads.Dataset:
        """The rows as of a moment, or now (then with other writers' too), in the columns that the table had then."""
        version = resolve(self.log, at, self.spec.name)
        if version is None:
            return VersionDataset(self.log, None, self._now.shape, self.spec.columns, self.spec.name)
        return VersionDataset(self.log, version, version.shape, version.shape.schema, self.spec.name)

    def snapshots(self) -> Sequence[TableSnapshot]:
        """All versions that are kept, newest first."""
        return snapshots_of(self.log)

    def changes(self, after_epoch: int) -> Iterator[TableChange]:
        """What each commit of ours after `after_epoch` changed, oldest first."""
        return changes_after(self.log, self._shape, self.spec.columns, after_epoch)

    @property
    def _shape(self) -> Shape:
        """The table's columns as the next commit will have them."""
        return self._pending.shape if self._pending is not None else self._now.shape

    def evolve(
        self, columns: pa.Schema, key: tuple[str, ...] | None = None, *, anew: bool = False, remove: bool = False
    ) -> None:
        """Renames, adds, widens and removes columns, visible with the next commit; see the contract."""
        self._refuse_read_only()
        wanted = lake_columns(columns)
        with self.lock:
            key = self.spec.key if key is None else key
            touched = self._evolve(wanted, key, anew=anew, remove=remove)
            if not key or key != self.spec.key or touched & set(key):
                self._index = None
            self.spec = replace(self.spec, columns=wanted, key=key)

    def relayout(self, layout: Layout) -> None:
        """Takes note: files of these formats lie as rows come."""
        self._refuse_read_only()
        self.spec = replace(self.spec, layout=layout)

    def _evolve(
        self, wanted: pa.Schema, key: tuple[str, ...], *, anew: bool = False, remove: bool = False
    ) -> frozenset[str]:
        before = self._pending
        todo = evolved(self.spec.name, self._shape, wanted, key, anew=anew, remove=remove)
        if todo is None and key == self.spec.key:
            return frozenset()
        todo = todo or Evolved(self._shape, key)
        if not self.log.renames:
            todo = replace(todo, shape=plain_names(todo.shape))
        if before is not None:
            todo = replace(todo, rewrite=todo.rewrite or before.rewrite, renamed=todo.renamed or before.renamed)
        self._pending = todo
        return todo.touched

    def commit(self, epoch: int, delta: pa.Table, properties: Mapping[str, str], *, replace: bool = False) -> None:
        """Makes `delta` visible at once, tagged with `epoch`; see the contract."""
        self._refuse_read_only()
        if taken := {"epoch", "writer"} & properties.keys():
            raise InvariantBroken(f"properties of a commit cannot be named as {sorted(taken)} is")
        with self.lock:
            if self._staged is not None and self._staged.epoch == epoch:
                if replace or delta.num_rows:
                    self.stage(epoch, delta, replace=replace)
                return self._land_parts(Committed(epoch, dict(properties)))
            self.forget_staged()
            net = self._net(delta)
            for _ in range(_ATTEMPTS):
                try:
                    self._refuse_old(epoch)
                    self._write_part(net, self._begun(epoch, replace=replace))
                    return self._land(Committed(epoch, dict(properties)))
                except ForeignVersion:
                    self._accept_foreign()
        raise StorageFailed(
            f"table {self.spec.name!r}: other writers were first {_ATTEMPTS} times in a row",
            hint="stop the other writers of this table for a moment",
        )

    def stage(self, epoch: int, delta: pa.Table, *, replace: bool = False) -> None:
        """Writes a part of what `epoch` changes; see the contract."""
        self._refuse_read_only()
        with self.lock:
            self._refuse_old(epoch)
            try:
                self._write_part(self._net(delta), self._begun(epoch, replace=replace))
            except ForeignVersion as error:
                self._accept_foreign()
                raise self._overtaken() from error

    def take_over(self, epoch: int, replacement: Replacement) -> bool:
        """Takes none over: `FileLake.replacement` makes none."""
        return False

    def forget_staged(self) -> None:
        """Removes what was staged and not committed."""
        with self.lock:
            if self._staged is None:
                return
            for path in self._staged.written:
                with suppress(OSError):
                    path.unlink()
            self._staged = self._index = None

    def _begun(self, epoch: int, *, replace: bool) -> _Staged:
        """The epoch to write parts of: begun, or begun anew if its parts so far do not count."""
        if replace or (self._staged is not None and self._staged.epoch != epoch):
            self.forget_staged()
        if replace:
            self._index = self._empty_index() if self.spec.key else None
        if self._staged is None:
            self._staged = _Staged(epoch, replace)
        return self._staged

    def _write_part(self, net: NetChange, staged: _Staged) -> None:
        """Writes a part's new rows, and notes which rows go.

        Raises:
            InvariantBroken: it does not go together with the table.
            ForeignVersion: it does not because of another writer.
            StorageFailed: the disk failed.
        """
        done = False
        try:
            self._write(net, staged)
            done = True
        except InvariantBroken:
            if self.log.load(self._now).head.number != self._now.head.number:
                raise ForeignVersion from None
            raise
        except OSError as error:
            raise self._write_failed(error) from error
        finally:
            if not done:
                self.forget_staged()

    def _write(self, net: NetChange, staged: _Staged) -> None:
        index = self._index
        if index is not None or self.spec.key or net.removed.num_rows:
            index = self._opened_index(staged)
        planned = index.plan(net) if index is not None else None
        failpoint.reach("lake.commit.before_data_file")
        name = self._write_file(net.added, staged) if net.added.num_rows else None
        failpoint.reach("lake.commit.after_data_file")
        if index is not None and planned is not None:
            for file, rows in index.apply(planned, net.added, name).items():
                staged.deleted.setdefault(file, []).append(rows)

    def _write_file(self, rows: pa.Table, staged: _Staged) -> str:
        path = self.log.new_path()
        staged.written.append(path)
        written = write_rows(path, rows, self._shape, self.log.stored)
        file = replace(file_of(path, rows.num_rows), note=self.log.note(written))
        staged.added[file.name] = file
        return file.name

    def _land_parts(self, committed: Committed) -> None:
        try:
            self._land(committed)
        except ForeignVersion as error:
            self._accept_foreign()
            raise self._overtaken() from error

    def _land(self, committed: Committed) -> None:
        """Commits what is staged.

        Raises:
            StorageFailed, ForeignVersion: it was not committed, and is forgotten.
            CommitUnknown: nobody knows; the files stay.
        """
        staged = self._staged
        assert staged is not None
        number = self._now.head.number + 1
        head = Head(number, self._clock.now_us(), committed, self._writer)
        try:
            change, moved = self._change(staged, head)
            failpoint.reach("lake.commit.before_catalog")
            after = self.log.commit(self._now, change.counted(self._now))
        except (StorageFailed, ForeignVersion):
            self.forget_staged()
            raise
        except OSError as error:
            self.forget_staged()
            raise self._write_failed(error) from error
        except HeadwaterError:
            self._staged = self._index = None
            raise
        self._now, self._staged, self._pending = after, None, None
        if moved and self._index is not None:
            self._index.relocate(moved)

    def _change(self, staged: _Staged, head: Head) -> tuple[Change, dict[str, Moved]]:
        """What the staged files come to, and which files were written anew for it, as `Places.relocate` wants it.

        Raises:
            OSError: files had to be written anew, and could not.
        """
        base = {} if staged.replace else dict(self._now.files)
        deleted = {name: np.sort(np.concatenate(rows)) for name, rows in staged.deleted.items()}
        files = {name: _with_deleted(file, deleted.get(name)) for name, file in {**base, **staged.added}.items()}
        pending = self._pending
        every = pending is not None and bool(pending.rewrite or (pending.renamed and not self.log.renames))
        anew = {name for name in files if every or (not self.log.vectors and len(files[name].deleted))}
        added, dropped = [], [] if not staged.replace else list(self._now.files.values())
        changed, moved = [], {}
        for name, file in files.items():
            if name in base and (name in anew or not file.live):
                dropped.append(self._now.files[name])
            if name in anew:
                again = self._rewritten(file, staged) if file.live else None
                moved[name] = Moved(again.name if again is not None else None, file.deleted, file.rows)
                added += [again] if again is not None else []
            elif file.live and name in staged.added:
                added.append(file)
            elif file.live and name in deleted:
                changed.append(file)
        key = pending.key if pending is not None else self._now.key
        return Change(head, self._shape, key, tuple(added), tuple(changed), tuple(dropped)), moved

    def _rewritten(self, file: LiveFile, staged: _Staged) -> LiveFile:
        """The live rows of a file in a file of their own."""
        rows, _ = live_rows(self._rows_of(file, self._shape.schema), file.deleted)
        return staged.added[self._write_file(rows, staged)]

    def _rows_of(self, file: LiveFile, columns: pa.Schema) -> pa.Table:
        path = self.log.path(self._now.head.number, file.name)
        staged = self._staged.written if self._staged is not None else []
        here = next((written for written in staged if written.name == file.name), path)
        return read_rows(here, self._shape, columns, self.log.constants(file))

    def _opened_index(self, staged: _Staged) -> Places:
        if self._index is None:
            index = self._empty_index()
            base = {} if staged.replace else dict(self._now.files)
            with disk_errors(f"reading the keys of table {self.spec.name!r}"):
                for name, file in {**base, **staged.added}.items():
                    gone = staged.deleted.get(name)
                    whole = _with_deleted(file, np.sort(np.concatenate(gone)) if gone else None)
                    rows, positions = live_rows(self._rows_of(file, self._key), whole.deleted)
                    index.insert(rows, name, positions)
            self._index = index
        return self._index

    def _empty_index(self) -> Places:
        return Places(self.spec.name, self._key, bool(self.spec.key), self._memory)

    @property
    def _key(self) -> pa.Schema:
        columns = self.spec.columns
        return pa.schema([columns.field(name) for name in self.spec.key]) if self.spec.key else columns

    def _net(self, delta: pa.Table) -> NetChange:
        unknown = set(delta.column_names) - {WEIGHT, *self.spec.columns.names}
        if unknown:
            raise InvariantBroken(f"table {self.spec.name!r}: the delta has columns the table lacks: {sorted(unknown)}")
        net = net_change(cast_rows(delta, self.spec.columns, self.spec.name), weights_of(delta))
        if self.spec.key:
            check_one_row_per_key(net, self._key, self.spec.name)
        return net

    def _accept_foreign(self) -> None:
        """Goes on from the table as it now is, with other writers' commits, unless such a writer is Headwater too.

        Raises:
            InvariantBroken: two pipelines write this table.
        """
        for head in self.log.heads():
            if head.number <= self._now.head.number:
                break
            if head.writer not in (None, self._writer) and not head.maintenance:
                raise InvariantBroken(
                    f"table {self.spec.name!r} is being written by another Headwater",
                    hint="stop one of the two (headwater status shows what runs), then start again",
                )
        self._now, self._index, self._pending = self.log.load(), None, None
        self._evolve(self.spec.columns, self.spec.key)

    def _overtaken(self) -> StorageFailed:
        return StorageFailed(
            f"table {self.spec.name!r}: another writer changed it while a large epoch was being written",
            hint="it is tried again; stop the other writers of this table for a while if it goes on",
        )

    def _write_failed(self, error: OSError) -> StorageFailed:
        return StorageFailed(
            f"table {self.spec.name!r}: writing its files failed: {error}",
            hint="look at the disk of the lake folder (df -h, dmesg); nothing was committed",
        )

    def maintenance(self) -> FileMaintenance:
        """What keeps the table small."""
        return FileMaintenance(self, self._clock)

    def rewrite(self, names: Sequence[str]) -> Outcome:
        """Writes some files anew as one, beside the commits; only the commit of it holds the table.

        Raises:
            StorageFailed, CommitUnknown: as `commit`.
        """
        self._refuse_read_only()
        with self.lock:
            self._catch_up()
            version, path = self._now, self.log.new_path()
        if not set(names) <= version.files.keys():
            return Outcome(False, "the table has changed meanwhile")
        landed = False
        try:
            new = rewritten(self.log, version, names, path)
            with self.lock:
                landed = self._swap(new, version)
        except OSError as error:
            raise self._write_failed(error) from error
        finally:
            if not landed:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        size = sum(file.size for file in new.sources)
        if not landed:
            return Outcome(False, "the table has changed meanwhile", bytes_read=size)
        return Outcome(True, "", len(names), 1, size, new.file.size, new.file.rows)

    def _catch_up(self) -> None:
        """Takes other writers' commits in, unless an epoch is being written."""
        if self._staged is None and self.log.load(self._now).head.number != self._now.head.number:
            self._accept_foreign()

    def _swap(self, new: Rewritten, version: Version) -> bool:
        """Puts a rewritten file in the place of those that it holds; whether it could."""
        now = self._now
        file = new.fitted(now)
        if self._staged is not None or file is None or now.shape != version.shape:
            return False
        head = Head(now.head.number + 1, self._clock.now_us(), None, self._writer, True)
        dropped = tuple(now.files[source.name] for source in new.sources)
        added = (file,) if file.live else ()
        try:
            change = Change(head, now.shape, now.key, added, (), dropped)
            self._now = self.log.commit(now, change.counted(now))
        except ForeignVersion:
            return False
        if self._index is not None:
            self._index.relocate(new.moved())
        return bool(added)

    def _refuse_read_only(self) -> None:
        if self._read_only:
            raise UserError(
                f"table {self.spec.name!r} is open for reading only", hint="`headwater run` is what writes tables"
            )

    def _refuse_old(self, epoch: int) -> None:
        last = self._now.committed
        if last is not None and epoch <= last.epoch:
            raise InvariantBroken(f"table {self.spec.name!r} holds epoch {last.epoch}: epoch {epoch} comes too late")


def _with_deleted(file: LiveFile, rows: Longs | None) -> LiveFile:
    if rows is None or not len(rows):
        return file
    return replace(file, deleted=np.union1d(file.deleted, rows) if len(file.deleted) else rows)
