"""The contract of a version log: where a format keeps which files are a table's, version by version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from headwater.errors import StorageFailed
from headwater.lake.files.version import Change, Head, LiveFile, Version


class ForeignVersion(Exception):
    """Another writer was first: nothing of ours was committed."""


class VersionLog(Protocol):
    """One table's log. Used by one thread at a time.

    Attributes:
        vectors: a commit may say which rows of a file are deleted; else such files are written anew.
        renames: columns keep their names in files when they are renamed; else all files are written anew.
    """

    vectors: bool
    renames: bool

    def load(self, known: Version | None = None) -> Version:
        """The newest version, from the disk; `known` saves reading what is known.

        Raises:
            UserError: the table is gone.
            StorageFailed: the log cannot be read.
        """

    def heads(self) -> Iterator[Head]:
        """The heads of the versions that are kept, newest first."""

    def version(self, number: int, known: Version | None = None) -> Version:
        """A version that is kept; `known` is one before it, if there is one at hand."""

    def stored(self, kind: pa.DataType) -> pa.DataType:
        """The type that files have for a lake type."""

    def note(self, written: pq.FileMetaData) -> Mapping[str, object]:
        """What is to be kept beside a file that has just been written."""

    def constants(self, file: LiveFile) -> Mapping[str, str | None]:
        """Values of columns that a file does not hold, by their names in files."""

    def path(self, version: int, name: str) -> Path:
        """Where a file of a version lies."""

    def new_path(self) -> Path:
        """Where a new file is to be written; nobody reads it before it is committed. Its name stays."""

    def commit(self, before: Version, change: Change) -> Version:
        """Makes a change visible, on top of `before`, at once.

        Raises:
            ForeignVersion: there is a newer version than `before`.
            StorageFailed: nothing was committed.
            CommitUnknown: nobody can say.
        """

    def mend(self) -> None:
        """Finishes what a crash left undone of the last commit, for readers that know nothing of the log.

        Raises:
            OSError: the disk failed.
        """

    def expire(self, keep: int, older_than_us: int) -> Sequence[str]:
        """Forgets versions beyond the newest `keep` that are older, and removes files that no version has left.

        Args:
            keep: versions kept at least.
            older_than_us: younger ones are kept too, microseconds since 1970 UTC.

        Returns:
            What was removed, as paths in the table's folder.
        """

    def orphans(self, older_than_us: int, *, remove: bool) -> Sequence[str]:
        """Finds what crashes have left: files that no version has and that are older; removes them if told to."""


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Says in our own words that the disk failed.

    Raises:
        StorageFailed: in place of the system's error.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StorageFailed(
            f"{what} failed: {error}", hint="look at the disk of the lake folder (df -h, dmesg), then start again"
        ) from error
