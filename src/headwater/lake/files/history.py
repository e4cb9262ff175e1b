"""A table's past as its log has it: the version of an epoch, its rows, and what each commit changed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.errors import UserError
from headwater.index.kernels import Longs
from headwater.lake.consolidate import net_change
from headwater.lake.files.log import VersionLog, disk_errors
from headwater.lake.files.rows import read_rows
from headwater.lake.files.version import Head, Shape, Version
from headwater.lake.moment import Moment, TableSnapshot
from headwater.lake.table_format import TableChange


def read_version(log: VersionLog, version: Version | None, shape: Shape, columns: pa.Schema) -> pa.Table:
    """The rows of a version, in the given columns of `shape`; none if there is no version.

    Raises:
        OSError: a file cannot be read.
    """
    pieces = []
    for file in version.files.values() if version is not None else ():
        assert version is not None
        rows = read_rows(log.path(version.head.number, file.name), shape, columns, log.constants(file))
        pieces.append(rows.take(pa.array(_alive(file.rows, file.deleted))) if len(file.deleted) else rows)
    return pa.concat_tables([columns.empty_table(), *pieces])


def _alive(count: int, deleted: Longs) -> Longs:
    return np.delete(np.arange(count, dtype=np.int64), deleted)


def version_at(log: VersionLog, epoch: int, table: str) -> Version | None:
    """The version that holds the table as of the end of `epoch`; None if the table's very first commit is later.

    Raises:
        UserError: none is kept that is so old.
    """
    oldest, newest, last = None, None, 0
    for head in log.heads():
        last = head.number
        if head.committed is None or head.maintenance:
            continue
        if head.committed.epoch <= epoch:
            return log.version(head.number)
        oldest, newest = head.committed.epoch, newest or head.committed.epoch
    if last == 0:
        return None
    raise UserError(
        f"table {table!r}: no table snapshot of epoch {epoch} is kept",
        hint=(f"epochs {oldest} to {newest}" if oldest is not None else "no epoch") + " can be read",
    )


def resolve(log: VersionLog, at: Moment | None, table: str) -> Version | None:
    """The version of a moment; None if the table had no rows yet.

    Raises:
        UserError: nothing is kept of it.
    """
    if at is None:
        return log.load()
    if at.epoch is not None:
        return version_at(log, at.epoch, table)
    oldest = None
    for head in log.heads():
        oldest = head
        if head.number == at.snapshot or (at.time_us is not None and head.at_us <= at.time_us):
            return log.version(head.number)
    if at.time_us is not None and oldest is not None and oldest.number == 0:
        return None
    told = f"versions from {oldest.number} on" if oldest is not None else "nothing"
    raise UserError(
        f"table {table!r}: nothing is kept of {at}",
        hint=f"{told} can be read (headwater tables history); tags and branches are Iceberg's",
    )


def snapshots_of(log: VersionLog) -> list[TableSnapshot]:
    """All versions that are kept, newest first."""
    found: list[TableSnapshot] = []
    for head in log.heads():
        epoch = head.committed
        found.append(
            TableSnapshot(
                head.number,
                head.at_us,
                epoch.epoch if epoch is not None else None,
                epoch.properties if epoch is not None else {},
                "optimize" if head.maintenance else "commit" if epoch is not None else "",
                head.counts.get("added"),
                head.counts.get("deleted"),
                head.counts.get("rows"),
                head.counts.get("files"),
                head.maintenance,
                not found,
            )
        )
    return found


def changes_after(log: VersionLog, shape: Shape, columns: pa.Schema, after_epoch: int) -> Iterator[TableChange]:
    """What each commit of ours after an epoch changed, oldest first, as far as versions are kept."""
    wanted: list[Head] = []
    oldest = 0
    for head in log.heads():
        oldest = head.number
        if head.committed is not None and not head.maintenance:
            if head.committed.epoch <= after_epoch:
                break
            wanted.append(head)
    before: Version | None = None
    for head in reversed(wanted):
        if head.number == oldest and head.number > 0:
            continue
        with disk_errors("reading what a commit changed"):
            before = log.version(head.number - 1, before)
            after = log.version(head.number, before)
            rows = _delta(log, before, after, shape, columns)
        assert head.committed is not None
        yield TableChange(head.committed.epoch, head.at_us, rows)
        before = after


def _delta(log: VersionLog, before: Version, after: Version, shape: Shape, columns: pa.Schema) -> pa.Table:
    """Removed rows, then added ones; rows that were only moved from file to file are in neither."""
    gone, come, moved = [], [], False
    for name, file in before.files.items():
        now = after.files.get(name)
        rows = np.setdiff1d(now.deleted, file.deleted) if now is not None else _alive(file.rows, file.deleted)
        if len(rows):
            read = read_rows(log.path(before.head.number, name), shape, columns, log.constants(file))
            gone.append(read.take(pa.array(rows)))
            moved = moved or now is None
    for name, file in after.files.items():
        if name not in before.files:
            read = read_rows(log.path(after.head.number, name), shape, columns, log.constants(file))
            come.append(read.take(pa.array(_alive(file.rows, file.deleted))))
    removed = pa.concat_tables([columns.empty_table(), *gone])
    added = pa.concat_tables([columns.empty_table(), *come])
    weights = np.repeat(np.array([-1, 1], np.int64), [removed.num_rows, added.num_rows])
    rows = pa.concat_tables([removed, added])
    if moved and len(come):
        net = net_change(rows, weights)
        rows = pa.concat_tables([net.removed, net.added])
        weights = np.concatenate([-net.counts, np.ones(net.added.num_rows, np.int64)])
    return rows.append_column(pa.field(WEIGHT, pa.int64(), nullable=False), pa.array(weights))
