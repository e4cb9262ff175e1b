"""The contract of a table format: what an open lake table must do to be a sink that commits exactly once.

The runtime calls `commit` once per epoch and table, from one thread, epochs ascending. A table is the authority on what
it holds: after a crash the runtime asks `committed()` and replays the epochs above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa
import pyarrow.dataset as pads

from headwater.lake.layout import Layout
from headwater.lake.moment import Moment, TableSnapshot


@dataclass(frozen=True)
class TableSpec:
    """What a table should look like.

    Attributes:
        name: table name, without the namespace.
        columns: the row's columns, no change columns.
        key: columns that identify a row; at most one row per key is ever there. Empty: the table is a multiset of rows,
            and a retraction takes away one row equal in every column.
        properties: table properties to set at creation.
        layout: how new files are written.
    """

    name: str
    columns: pa.Schema
    key: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    layout: Layout = field(default_factory=Layout)


@dataclass(frozen=True)
class Committed:
    """What a table says it holds, read from the destination itself.

    Attributes:
        epoch: the last epoch committed.
        properties: what was given to that commit (source positions, counts).
        held: why the table was rolled back and is to be left alone since; None if it was not.
    """

    epoch: int
    properties: Mapping[str, str]
    held: str | None = None


@dataclass(frozen=True)
class TableChange:
    """The difference one committed epoch made: a delta (columns and int64 `_weight`)."""

    epoch: int
    committed_at_us: int
    rows: pa.Table


class Replacement(Protocol):
    """Rows that are to take the place of all that a table has: written to files beside its own while it goes on, for
    nobody to see before `Table.take_over` and the commit after it. Used by one thread at a time, which need not be the
    one that commits. After a crash its files stay: no catalog knows them, and maintenance removes them in time.

    Attributes:
        rows: how many there are.
    """

    rows: int

    def write(self, delta: pa.Table) -> None:
        """Writes a part: a delta on top of those before it.

        Raises:
            StorageFailed: the replacement is of no use; `discard` it.
            InvariantBroken: the delta retracts a row that is not there, or adds a key that is.
        """

    def discard(self) -> None:
        """Removes its files as far as the disk lets it; nothing once a table has taken it over."""


class Table(Protocol):
    """One open table. One writer; any number of readers in other processes."""

    spec: TableSpec

    def committed(self) -> Committed | None:
        """The last commit of ours, from the destination; None if there was none."""

    def stage(self, epoch: int, delta: pa.Table, *, replace: bool = False) -> None:
        """Writes a part of what `epoch` changes, for nobody to see before `commit` of that epoch makes all its parts
        visible at once. A part may take back rows of the table and of parts before it. With `replace` the parts before
        it and the table's former rows are to go.

        Raises:
            StorageFailed: open the table anew, and begin the epoch again. So after any other error.
            InvariantBroken: as `commit`.
        """

    def take_over(self, epoch: int, replacement: Replacement) -> bool:
        """Makes the rows of a replacement those that `epoch` replaces all others with, as if they had been staged with
        `replace`; what is staged and committed for that epoch comes on top of them. `evolve` and `relayout` come first.

        Returns:
            False: it was written for a table of other columns, key or layout; nothing has happened.
        """

    def forget_staged(self) -> None:
        """Removes what was staged and not committed, as far as the disk lets it. After a crash it stays: files that no
        catalog knows."""

    def commit(self, epoch: int, delta: pa.Table, properties: Mapping[str, str], *, replace: bool = False) -> None:
        """Makes `delta` (columns of the spec and int64 `_weight`), after what was staged, visible at once, tagged with
        `epoch`.

        An empty delta still commits if `properties` must be recorded. With `replace` the table's former rows
        go, all in the same table snapshot. An epoch at or below the committed one is refused.

        Raises:
            StorageFailed: nothing was committed.
            CommitUnknown: no answer; ask `committed()`.
            InvariantBroken: the delta retracts a row the table does not hold, or adds a key that it does.
        """

    def evolve(
        self, columns: pa.Schema, key: tuple[str, ...] | None = None, *, anew: bool = False, remove: bool = False
    ) -> None:
        """Makes the table take rows of these columns from the next commit on, with which readers see them: adds those
        that it lacks (null in the rows that are there), also inside of nested ones, widens types, renames columns that
        have the same id (`headwater.schema.column_id`) under another name, and puts them in this order.

        Args:
            columns: the columns.
            key: the key from now on, if it is another one; then all rows are to be replaced next.
            anew: all rows are to be replaced next, so a column may become one of any other type.
            remove: columns no longer named leave the table; former table snapshots keep them. Else they stay, null in
                new rows, unless another one takes their name.

        Raises:
            UserError: a column has changed its type in a way that is not a widening, and not `anew`; or one would go by
                which the table is partitioned or sorted.
        """

    def relayout(self, layout: Layout) -> None:
        """Makes new files lie as `layout` says; those that are there stay as they are, and are read and deleted from as
        before. A format that cannot do a part of it leaves that out.

        Raises:
            UserError: the table's columns do not go with it.
        """

    def read(self, epoch: int | None = None) -> pa.Table:
        """The rows as of the end of `epoch`, or now; column order of the spec.

        Raises:
            UserError: no table snapshot of that epoch is kept.
        """

    def dataset(self, at: Moment | None = None) -> pads.Dataset:
        """The rows as of a moment, or now (then with other writers' too), in the columns that the table had then. Not
        read before it is scanned; columns and filter of the scan are pushed down to the files.

        Raises:
            UserError: nothing is kept of that moment.
            FilesExpired: while it is scanned: the snapshot was expired meanwhile.
        """

    def snapshots(self) -> Sequence[TableSnapshot]:
        """All table snapshots that are kept, newest first."""

    def changes(self, after_epoch: int) -> Iterator[TableChange]:
        """What each commit after `after_epoch` changed, oldest first, as far as table snapshots are kept."""


class Lake(Protocol):
    """A catalog with its warehouse."""

    def table(self, spec: TableSpec, *, as_held: bool = False) -> Table:
        """Opens a table for writing, creating or evolving it as needed; with `as_held` one that is there is left as it
        is, to be changed by `Table.evolve` later."""

    def open_table(self, name: str) -> Table:
        """Opens an existing table for reading.

        Raises:
            UserError: no such table; the message lists those there are.
        """

    def replacement(self, spec: TableSpec, *, remove: bool = False) -> Replacement | None:
        """Begins to write all rows of a table as it is to be, which need not be there yet; may be called by any thread.

        Args:
            spec: what it is to look like.
            remove: columns that it has and that are no longer named will leave it.

        Returns:
            None if this lake cannot, or not for this table: its rows are then given to `commit`.

        Raises:
            UserError: the table cannot become that.
            StorageFailed: the catalog or the disk failed.
        """

    def names(self) -> Sequence[str]:
        """Names of the tables in this lake's namespace."""

    def drop(self, name: str) -> None:
        """Forgets a table and its files."""

    def keep_indexes(self, least_changed: float = 0.0) -> None:
        """Keeps what spares the next start time, as far as the disk lets it.

        Args:
            least_changed: what has changed by a smaller share since it was kept last is left as it is.
        """

    def close(self) -> None:
        """Keeps them all and lets go of the catalog."""
