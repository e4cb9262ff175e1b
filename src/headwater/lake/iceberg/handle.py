"""One table in the catalog: loading it, and commits whose outcome is always one of three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event

import pyarrow as pa
from pydantic import ValidationError
from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.exceptions import (
    BadRequestError,
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NoSuchTableError,
    RESTError,
    UnauthorizedError,
)
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import TableRequirement, TableUpdate
from sqlalchemy.exc import SQLAlchemyError

from headwater import failpoint
from headwater.clock import Clock, SystemClock
from headwater.errors import CommitUnknown, StorageFailed, UserError
from headwater.lake.iceberg.catalog import settles_at_once
from headwater.lake.iceberg.snapshot import StagedSnapshot, is_ours_alone

_REFUSED = (BadRequestError, UnauthorizedError, ForbiddenError)
_NO_ANSWER = (OSError, SQLAlchemyError, RESTError, CommitStateUnknownException, ValidationError)
"""What may be raised though the catalog has committed. `ValidationError`: something between us and the catalog answered
in its place, with success."""

SENDINGS = 6
"""How often a commit is sent while its outcome is not known."""

FIRST_WAIT_S = 0.1
"""Before it is sent again; twice as long each time."""


class ForeignCommit(Exception):
    """Another writer was first: nothing of ours was committed.

    Attributes:
        fresh: the table as it is now.
        in_doubt: a request of ours was never answered. It cannot succeed any more, unless the table is rolled back to
            where it was: its files are left for the removal of orphan files.
    """

    def __init__(self, fresh: Table, *, in_doubt: bool = False) -> None:
        super().__init__("another writer has changed the table")
        self.fresh = fresh
        self.in_doubt = in_doubt


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Says in our own words that the catalog or the disk failed.

    Raises:
        StorageFailed: in place of the system's or SQLAlchemy's error.
    """
    try:
        yield
    except (*_NO_ANSWER, CommitFailedException, pa.ArrowException) as error:
        raise StorageFailed(
            f"{what} failed: {error}",
            hint="look at the lake's storage and catalog (df -h, dmesg, their own logs), then start again",
        ) from error


@dataclass(frozen=True)
class TableHandle:
    """Where a table is found.

    Attributes:
        catalog: the catalog.
        identifier: namespace and name.
        clock: to wait by before a commit is sent again.
    """

    catalog: Catalog
    identifier: tuple[str, ...]
    clock: Clock = field(default_factory=SystemClock)

    @property
    def name(self) -> str:
        """The table's name without its namespace."""
        return self.identifier[-1]

    def load(self) -> Table:
        """The table as the catalog says it is now.

        Raises:
            StorageFailed: the catalog cannot be read.
            UserError: the table is gone.
        """
        try:
            with storage_errors(f"reading table {self.name!r} from the catalog"):
                return self.catalog.load_table(self.identifier)
        except NoSuchTableError as error:
            raise UserError(
                f"table {self.name!r} has been dropped", hint="start again: what writes tables makes it anew"
            ) from error

    def send(self, table: Table, staged: StagedSnapshot) -> Table:
        """Makes a staged snapshot the table's current one.

        An answer that did not come is asked for: the snapshot's id, made by us, is in the catalog or it is not. With
        SQLite, whose commits happen in this process, "not there" means that it never will be. Anywhere else the request
        may still be under way, so the very same commit is sent again: both bear the same snapshot id and require the
        same parent to be current, so at most one of them can succeed, and it does not matter which.

        Returns:
            The table with the snapshot.

        Raises:
            StorageFailed: the catalog refused, nothing was committed.
            CommitUnknown: the catalog does not say; the files stay.
            ForeignCommit: another writer was first.
        """
        in_doubt = False
        for sending in range(SENDINGS):
            try:
                response = self.catalog.commit_table(table, self._askable(staged.requirements), staged.updates)
                failpoint.reach("lake.commit.after_catalog")
                return Table(self.identifier, response.metadata, response.metadata_location, table.io, self.catalog)
            except (*_NO_ANSWER, CommitFailedException) as error:
                landed = self._look_for(staged, error, in_doubt=in_doubt)
                if landed is not None:
                    return landed
                in_doubt, last = True, error
            except ValueError as error:
                raise self._moved(table, error, in_doubt=in_doubt) from error
            self.clock.wait(Event(), FIRST_WAIT_S * 2**sending)
        raise self._unknown(last) from last

    def amend(
        self, table: Table, updates: tuple[TableUpdate, ...], requirements: tuple[TableRequirement, ...]
    ) -> Table:
        """Changes a table's metadata and no row: done again it would do no harm.

        Returns:
            The table as it is then.

        Raises:
            StorageFailed: the catalog does not answer, or refused.
            ForeignCommit: another writer was first; nothing has changed.
        """
        try:
            with storage_errors(f"changing the metadata of table {self.name!r}"):
                response = self._ask_for(table, updates, requirements)
        except ValueError as error:
            raise self._moved(table, error) from error
        return Table(self.identifier, response.metadata, response.metadata_location, table.io, self.catalog)

    def _ask_for(
        self, table: Table, updates: tuple[TableUpdate, ...], requirements: tuple[TableRequirement, ...]
    ) -> CommitTableResponse:
        try:
            return self.catalog.commit_table(table, self._askable(requirements), updates)
        except CommitFailedException as error:
            raise ForeignCommit(self.load()) from error

    def _askable(self, requirements: tuple[TableRequirement, ...]) -> tuple[TableRequirement, ...]:
        """Those that the catalog knows: only one that is asked in this process knows ours."""
        if isinstance(self.catalog, MetastoreCatalog):
            return requirements
        return tuple(one for one in requirements if not is_ours_alone(one))

    def _moved(self, table: Table, error: ValueError, *, in_doubt: bool = False) -> Exception:
        """What to make of PyIceberg's complaint that an update does not fit the table, which may have changed."""
        fresh = self._ask(error)
        return ForeignCommit(fresh, in_doubt=in_doubt) if fresh.metadata_location != table.metadata_location else error

    def _look_for(self, staged: StagedSnapshot, error: Exception, *, in_doubt: bool) -> Table | None:
        """The table if the snapshot is in it after all; None if nobody can know yet whether it will be."""
        fresh = self._ask(error)
        if fresh.metadata.snapshot_by_id(staged.snapshot.snapshot_id) is not None:
            return fresh
        if isinstance(error, CommitFailedException):
            raise ForeignCommit(fresh, in_doubt=in_doubt) from error
        if not in_doubt and (settles_at_once(self.catalog) or isinstance(error, _REFUSED)):
            raise StorageFailed(
                f"table {self.name!r}: the commit was refused: {error}",
                hint="nothing was committed; look at the catalog (its disk, its rights, its own logs)",
            ) from error
        return None

    def _ask(self, error: Exception) -> Table:
        try:
            return self.catalog.load_table(self.identifier)
        except (*_NO_ANSWER, NoSuchTableError) as second:
            raise self._unknown(error) from second

    def _unknown(self, error: Exception) -> CommitUnknown:
        return CommitUnknown(
            f"table {self.name!r}: a commit was sent and the catalog does not say what became of it: {error}",
            hint="start again: the table will be asked which epoch it holds",
        )


def forget_old_files(before: TableMetadata, table: Table) -> None:
    """Deletes old metadata files that the commit made superfluous.

    What cannot be deleted is left for the removal of orphan files; the commit has happened. So are the files of
    expired snapshots: somebody may be reading one.
    """
    kept = {entry.metadata_file for entry in table.metadata.metadata_log}
    for location in [entry.metadata_file for entry in before.metadata_log if entry.metadata_file not in kept]:
        with suppress(OSError):
            table.io.delete(location)
