"""What a table format offers to keep its tables small and healthy: the contract, and the words that all formats share.

`headwater run` keeps one `Maintenance` per open table and calls it from a thread of its own, while another thread
commits to the table: `plan` says what is worth doing, most urgent first, as tasks of bounded size, and `carry_out` does
one. None of it changes a row. What a task reads and writes it does beside the commits; it holds them up for one commit
of its own. A process may die inside a task at any instruction: the table is then as before or as after it, and files
left behind are found by a later "orphans" task.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

TaskKind = Literal["compact", "deletes", "manifests", "expire", "orphans"]
KINDS: tuple[TaskKind, ...] = ("compact", "deletes", "manifests", "expire", "orphans")

DAY_S = 86_400.0


@dataclass(frozen=True)
class Policy:
    """How a table is to be kept.

    Attributes:
        target_file_bytes: how large data files should be; one of three quarters of it is left alone.
        fanout: so many files of about the same size become one; the same for delete files.
        most_deleted: a data file of which a larger share of rows is deleted is rewritten.
        keep_snapshots: table snapshots kept.
        keep_snapshots_s: older ones go even if they are fewer, in seconds.
        orphan_age_s: how old a file must be that no table snapshot is known to have ever named, before it goes. A
            commit that takes longer loses its files.
        reader_grace_s: how long a file that was part of the table stays after the last table snapshot that names it
            has gone: the longest that a query may take.
    """

    target_file_bytes: int = 128 * 2**20
    fanout: int = 8
    most_deleted: float = 0.3
    keep_snapshots: int = 100
    keep_snapshots_s: float = 5 * DAY_S
    orphan_age_s: float = 3 * DAY_S
    reader_grace_s: float = 3600.0


@dataclass(frozen=True)
class TableHealth:
    """What a table consists of.

    Attributes:
        rows: rows in data files, less the deleted ones.
        deleted_rows: rows in data files that are deleted.
        files, small_files, bytes: data files, those that wait for company to be merged, and the bytes of all.
        delete_files: files that say which rows are deleted.
        snapshots: table snapshots kept.
        manifests: files that list files, of the present snapshot.
    """

    rows: int = 0
    deleted_rows: int = 0
    files: int = 0
    small_files: int = 0
    bytes: int = 0
    delete_files: int = 0
    snapshots: int = 0
    manifests: int = 0

    @property
    def deleted_share(self) -> float:
        """Deleted rows, of all in data files."""
        return self.deleted_rows / max(self.rows + self.deleted_rows, 1)

    def as_dict(self) -> dict[str, int | float]:
        """For the status."""
        return {**vars(self), "deleted_share": round(self.deleted_share, 4)}


@dataclass(frozen=True)
class Task:
    """One thing to do.

    Attributes:
        kind: what.
        reason: why, in a few words for users.
        files: how many files it is about.
        bytes: their bytes.
        what: for the format alone.
    """

    kind: TaskKind
    reason: str
    files: int = 0
    bytes: int = 0
    what: object = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        done: whether the table or its folder has changed. Not done: the table changed meanwhile so that it was moot,
            or its writer was in the middle of an epoch; nothing was lost.
        note: why not, or what else is to be said.
        files_removed, files_added: files that left the table (or the folder), and new ones.
        bytes_read, bytes_written: of data files and delete files.
        rows: rows rewritten.
    """

    done: bool
    note: str = ""
    files_removed: int = 0
    files_added: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    rows: int = 0


@dataclass
class Suspect:
    """A file in a table's folder that may go one day.

    Attributes:
        known: it was part of the table once, so no commit under way can still bring it in.
        unnamed_us: since when it was seen that no table snapshot names it, microseconds since 1970 UTC; 0 while one
            does.
    """

    known: bool = False
    unnamed_us: int = 0


@dataclass
class Suspects:
    """What is remembered of such files between two looks, by path. Lost memory only delays their removal.

    Attributes:
        files: by location.
    """

    files: dict[str, Suspect] = field(default_factory=dict)

    def part_of_table(self, locations: Collection[str]) -> None:
        """Notes files that leave the table's present snapshot: old snapshots may still name them."""
        for location in locations:
            self.files.setdefault(location, Suspect()).known = True

    def to_json(self) -> dict[str, list[int]]:
        """To be kept in a file."""
        return {location: [int(one.known), one.unnamed_us] for location, one in self.files.items()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Sequence[int]]) -> Suspects:
        """Back from `to_json`."""
        return cls({location: Suspect(bool(known), since) for location, (known, since) in kept.items()})


class Maintenance(Protocol):
    """Keeps one table. Used by one thread; the table's commits go on in others.

    Attributes:
        suspects: what is remembered of files that may go; whoever opens the table may put a kept one here.
    """

    suspects: Suspects

    def health(self) -> TableHealth:
        """What the table consists of now.

        Raises:
            StorageFailed: it cannot be read.
        """

    def plan(self, policy: Policy, kinds: Collection[TaskKind] = KINDS) -> Sequence[Task]:
        """What is worth doing now, most urgent first; changes nothing. Later tasks may be moot once earlier ones are
        done: plan anew after each.

        Raises:
            StorageFailed: the table cannot be read.
        """

    def carry_out(self, task: Task, policy: Policy) -> Outcome:
        """Does one task of the last plan.

        Raises:
            StorageFailed, CommitUnknown: the disk or the catalog failed; plan anew.
        """


@runtime_checkable
class Maintained(Protocol):
    """A table that can be kept."""

    def maintenance(self) -> Maintenance:
        """What keeps it; one that is kept as long as the table is open."""
