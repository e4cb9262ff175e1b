"""Keeps one Iceberg table small and healthy; see `headwater.lake.maintenance` for the contract."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import TableRequirement, TableUpdate

from headwater import failpoint
from headwater.clock import Clock
from headwater.errors import StorageFailed
from headwater.lake.iceberg.compaction import data_groups, delete_groups, is_small
from headwater.lake.iceberg.durable_io import DurableFileIO, StoredFile
from headwater.lake.iceberg.expiry import expired, is_due, removal
from headwater.lake.iceberg.handle import TableHandle, storage_errors
from headwater.lake.iceberg.inventory import DataState, DeleteState, Inventory, InventoryReader
from headwater.lake.iceberg.orphan_files import OrphanFiles, plain, remove
from headwater.lake.iceberg.rewriting import DataRewrite, DeleteRewrite, ManifestRewrite, Rewrite
from headwater.lake.maintenance import KINDS, Outcome, Policy, Suspects, TableHealth, Task, TaskKind
from headwater.lake.table_format import TableSpec

MOST_MANIFESTS = 100
"""Manifests of a table are merged when there are more, however large they are."""

BUSY_TRIES, BUSY_WAIT_S = 100, 0.05
"""How long a rewrite waits for an epoch that is written in parts."""

Amendment = tuple[tuple[TableUpdate, ...], tuple[TableRequirement, ...]]


class Swap(Enum):
    """What became of files that were to take the place of others."""

    DONE = "done"
    MOOT = "the table has changed too much meanwhile"
    BUSY = "the table's writer is in the middle of an epoch or changes columns with the next one"


class Rewritable(Protocol):
    """The table's writer, as maintenance needs it."""

    spec: TableSpec

    @property
    def is_busy(self) -> bool:
        """Whether no files can be replaced at the moment."""

    def replace_files(self, rewrite: Rewrite, kind: str) -> Swap:
        """Makes a rewrite part of the table."""

    def amend(self, change: Callable[[TableMetadata], Amendment | None]) -> bool:
        """Changes the table's metadata."""

    def staged_files(self) -> frozenset[str]:
        """Locations of files that are being written."""


@dataclass(frozen=True)
class _Worn:
    """Data files to be rewritten."""

    inventory: Inventory
    group: Sequence[DataState]


@dataclass(frozen=True)
class _Deletes:
    """Files of deletes to be rewritten."""

    inventory: Inventory
    group: Sequence[DeleteState]


class IcebergMaintenance:
    """See `headwater.lake.maintenance.Maintenance`.

    Args:
        handle: where the table is found.
        writer: through whom it is changed.
        clock: time.

    Attributes:
        suspects: what is remembered of files that may go.
    """

    def __init__(self, handle: TableHandle, writer: Rewritable, clock: Clock) -> None:
        self._handle, self._writer, self._clock = handle, writer, clock
        self._reader = InventoryReader()
        self.suspects = Suspects()
        self._orphans = OrphanFiles()
        self._policy = Policy()

    def health(self) -> TableHealth:
        """What the table consists of now."""
        inventory = self._inventory()
        if inventory is None:
            return TableHealth()
        rows = sum(state.file.record_count for state in inventory.data)
        deleted = sum(state.deleted for state in inventory.data)
        return TableHealth(
            rows=rows - deleted,
            deleted_rows=deleted,
            files=len(inventory.data),
            small_files=sum(is_small(state, self._policy) for state in inventory.data),
            bytes=sum(state.file.file_size_in_bytes for state in inventory.data),
            delete_files=len(inventory.deletes),
            snapshots=len(inventory.table.metadata.snapshots),
            manifests=len(inventory.manifests),
        )

    def plan(self, policy: Policy, kinds: Collection[TaskKind] = KINDS) -> Sequence[Task]:
        """What is worth doing now, most urgent first."""
        self._policy = policy
        tasks: list[Task] = []
        inventory = self._inventory() if {"compact", "deletes", "manifests"} & set(kinds) else None
        if inventory is not None:
            merges = [_delete_task(inventory, group) for group in delete_groups(inventory.deletes, policy)]
            tasks += [_data_task(inventory, group) for group in data_groups(inventory.data, policy)]
            # a file of deletes that no longer matters costs nothing; to merge others first would be in vain
            tasks = [*(task for task in merges if not task.bytes), *tasks, *(task for task in merges if task.bytes)]
            if len(inventory.manifests) > MOST_MANIFESTS:
                tasks.append(Task("manifests", "many small manifests", len(inventory.manifests)))
        if "expire" in kinds:
            tasks += self._expiry(policy)
        if "orphans" in kinds:
            tasks += self._orphan_task(policy)
        return [task for task in tasks if task.kind in kinds]

    def carry_out(self, task: Task, policy: Policy) -> Outcome:
        """Does one task of the last plan."""
        if isinstance(task.what, _Worn):
            return self._rewrite(task, DataRewrite(task.what.inventory, task.what.group, self._writer.spec.key))
        if isinstance(task.what, _Deletes):
            return self._rewrite(task, DeleteRewrite(task.what.inventory, task.what.group))
        if task.kind == "manifests":
            swap = self._swap(ManifestRewrite(), task.kind)
            return Outcome(swap is Swap.DONE, "" if swap is Swap.DONE else swap.value)
        return self._expire(task, policy) if task.kind == "expire" else self._remove_orphans(task)

    def _inventory(self) -> Inventory | None:
        with storage_errors(f"reading the files of table {self._handle.name!r}"):
            return self._reader.take(self._handle.load())

    def _rewrite(self, task: Task, rewrite: DataRewrite | DeleteRewrite) -> Outcome:
        if self._writer.is_busy:
            return Outcome(False, Swap.BUSY.value)
        try:
            with storage_errors(f"rewriting files of table {self._handle.name!r}"):
                rewrite.write()
            swap = self._swap(rewrite, task.kind)
        except StorageFailed:
            rewrite.discard()
            raise
        if swap is not Swap.DONE:
            rewrite.discard()
            return Outcome(False, swap.value, bytes_read=task.bytes)
        self.suspects.part_of_table([plain(location) for location in rewrite.source_locations])
        return Outcome(
            True,
            files_removed=task.files,
            files_added=len(rewrite.written_files),
            bytes_read=task.bytes,
            bytes_written=sum(file.file_size_in_bytes for file in rewrite.written_files),
            rows=rewrite.rows,
        )

    def _swap(self, rewrite: Rewrite, kind: TaskKind) -> Swap:
        for _ in range(BUSY_TRIES):
            swap = self._writer.replace_files(rewrite, kind)
            if swap is not Swap.BUSY:
                return swap
            self._clock.wait(threading.Event(), BUSY_WAIT_S)
        return Swap.BUSY

    def _expiry(self, policy: Policy) -> list[Task]:
        metadata = self._handle.load().metadata
        old, refs = expired(metadata, policy, self._clock.now_us() // 1000)
        if not is_due(metadata, old, refs, policy):
            return []
        told = f"{len(old)} of {len(metadata.snapshots)} table snapshots" + (
            f", refs {', '.join(refs)}" if refs else ""
        )
        return [Task("expire", told)]

    def _expire(self, task: Task, policy: Policy) -> Outcome:
        with storage_errors(f"reading the files of table {self._handle.name!r}"):
            self._orphans.named(self._handle.load(), self.suspects)  # what they name was part of the table
        now_ms = self._clock.now_us() // 1000
        failpoint.reach("lake.expire.before")
        done = self._writer.amend(lambda metadata: removal(metadata, policy, now_ms))
        failpoint.reach("lake.expire.after")
        return Outcome(done, task.reason if done else "there is nothing to expire any more")

    def _orphan_task(self, policy: Policy) -> list[Task]:
        table = self._handle.load()
        assert isinstance(table.io, DurableFileIO)
        with storage_errors(f"listing the files of table {self._handle.name!r}"):
            writing = {plain(location) for location in self._writer.staged_files()}
            listed = [one for one in table.io.files_under(table.location()) if plain(one.location) not in writing]
            found = self._orphans.look(listed, self._handle.load(), policy, self.suspects, self._clock.now_us())
        if not found.due:
            return []
        later = f", {found.waiting} more later" if found.waiting else ""
        size = sum(file.size for file in found.due)
        return [Task("orphans", f"no table snapshot names them{later}", len(found.due), size, found.due)]

    def _remove_orphans(self, task: Task) -> Outcome:
        assert isinstance(task.what, tuple)
        due: tuple[StoredFile, ...] = task.what
        table = self._handle.load()
        with storage_errors(f"removing files of table {self._handle.name!r}"):
            count, size = remove(table.io, due, self._orphans.named(table, self.suspects))
        return Outcome(count > 0, f"{size:,} bytes", files_removed=count)


def _delete_task(inventory: Inventory, group: Sequence[DeleteState]) -> Task:
    gone = all(state.dead == sum(state.names.values()) for state in group)
    reason = "they delete rows of files that are gone" if gone else "many files of deletes"
    size = 0 if gone else sum(state.file.file_size_in_bytes for state in group)
    return Task("deletes", reason, len(group), size, _Deletes(inventory, group))


def _data_task(inventory: Inventory, group: Sequence[DataState]) -> Task:
    deleted, rows = sum(state.deleted for state in group), sum(state.file.record_count for state in group)
    reason = f"{deleted / max(rows, 1):.0%} of their rows are deleted" if deleted else "small files"
    return Task("compact", reason, len(group), sum(s.file.file_size_in_bytes for s in group), _Worn(inventory, group))
