"""Files in a table's folder that no table snapshot names: what crashes, failed commits and expired snapshots left.

A file goes only if all of this holds:

- no snapshot that is kept names it: not the present one, none of a tag or a branch, none of the history; nor does any
  metadata file that is kept;
- it has been so for `reader_grace_s`, as seen by an earlier look, so that a query that began before comes to its end;
- it was part of the table once, or it is older than `orphan_age_s`: a commit under way in another process has written
  files that nothing names yet;
- it is not of an epoch that this process is writing.

The folder is listed before the table is loaded: a file that a commit brings in between is then known to be named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestEntryStatus, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from headwater import failpoint
from headwater.errors import StorageFailed
from headwater.lake.iceberg.durable_io import StoredFile
from headwater.lake.iceberg.history import is_maintenance
from headwater.lake.maintenance import Policy, Suspect, Suspects


@dataclass
class NamedFiles:
    """Finds what a table's metadata names; reads no manifest twice.

    Attributes:
        by_manifest: by manifest, the files that it names, and those that its commit dropped.
    """

    by_manifest: dict[str, tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict)
    _by_list: dict[str, frozenset[str]] = field(default_factory=dict)

    def of(self, table: Table) -> set[str]:
        """Every file that something kept of the table leads to, by plain location.

        Raises:
            OSError: a manifest cannot be read; then nothing may be removed.
        """
        metadata = table.metadata
        lists = {plain(snapshot.manifest_list): snapshot for snapshot in metadata.snapshots}
        self._by_list = {
            location: self._by_list.get(location) or self._under(table.io, snapshot)
            for location, snapshot in lists.items()
        }
        named = {plain(entry.metadata_file) for entry in metadata.metadata_log} | {plain(table.metadata_location)}
        named |= {plain(file.statistics_path) for file in (*metadata.statistics, *metadata.partition_statistics)}
        named = named.union(*self._by_list.values())
        self.by_manifest = {location: kept for location, kept in self.by_manifest.items() if location in named}
        return named

    def _under(self, io: FileIO, snapshot: Snapshot) -> frozenset[str]:
        found = {plain(snapshot.manifest_list)}
        for manifest in snapshot.manifests(io):
            location = plain(manifest.manifest_path)
            if location not in self.by_manifest:
                self.by_manifest[location] = _names(manifest, io)
            named, dropped = self.by_manifest[location]
            found |= {location, *named}
            if manifest.added_snapshot_id == snapshot.snapshot_id and not is_maintenance(snapshot):
                found |= dropped  # read to tell what the commit changed, as long as it is kept itself
        return frozenset(found)


def _names(manifest: ManifestFile, io: FileIO) -> tuple[frozenset[str], frozenset[str]]:
    entries = manifest.fetch_manifest_entry(io, discard_deleted=False)
    gone = ManifestEntryStatus.DELETED
    return (
        frozenset(plain(entry.data_file.file_path) for entry in entries if entry.status != gone),
        frozenset(plain(entry.data_file.file_path) for entry in entries if entry.status == gone),
    )


@dataclass(frozen=True)
class Found:
    """What a look at a table's folder found.

    Attributes:
        due: files that may go now.
        waiting: how many files nothing names, and that stay for now.
    """

    due: tuple[StoredFile, ...]
    waiting: int


class OrphanFiles:
    """Looks for files that no table snapshot names."""

    def __init__(self) -> None:
        self._names = NamedFiles()
        self._named: set[str] = set()

    def named(self, table: Table, suspects: Suspects) -> set[str]:
        """What the table names now. Files that it named at the last look and no more were part of it."""
        named = self._names.of(table)
        suspects.part_of_table(self._named - named)
        self._named = named
        return named

    def look(
        self, listed: Iterable[StoredFile], table: Table, policy: Policy, suspects: Suspects, now_us: int
    ) -> Found:
        """Which files of a folder may go.

        Args:
            listed: the folder, listed before `table` was loaded.
            table: the table as it is.
            policy: how long files stay.
            suspects: what is remembered, and brought up to date.
            now_us: microseconds since 1970 UTC.

        Raises:
            StorageFailed: the folder and the table name files in different ways.
        """
        files = {plain(file.location): file for file in listed}
        metadata = [table.metadata_location, *(entry.metadata_file for entry in table.metadata.metadata_log)]
        if not any(plain(location) in files for location in metadata):  # the newest may be younger than the listing
            raise StorageFailed(
                f"{table.location()} was listed and the table's metadata {table.metadata_location} is not there",
                hint="nothing was removed; the table was moved, or its catalog names files in another way",
            )
        named = self.named(table, suspects)
        suspects.files = {location: one for location, one in suspects.files.items() if location in files}
        due = []
        for location, file in files.items():
            suspect = suspects.files.get(location)
            if location not in named:
                suspect = suspects.files.setdefault(location, Suspect())
                suspect.unnamed_us = suspect.unnamed_us or now_us
                if _is_due(file, suspect, policy, now_us):
                    due.append(file)
            elif suspect is not None:
                suspect.unnamed_us = 0
        return Found(tuple(due), sum(1 for one in suspects.files.values() if one.unnamed_us) - len(due))


def _is_due(file: StoredFile, suspect: Suspect, policy: Policy, now_us: int) -> bool:
    rested = now_us - suspect.unnamed_us >= policy.reader_grace_s * 1e6
    return rested and (suspect.known or now_us - file.modified_us >= policy.orphan_age_s * 1e6)


def remove(io: FileIO, files: Iterable[StoredFile], named: Collection[str]) -> tuple[int, int]:
    """Removes files, but for those that are named after all.

    Returns:
        How many were removed, and their bytes.
    """
    count = size = 0
    failpoint.reach("lake.orphans.before")
    for file in files:
        if plain(file.location) in named:
            continue
        io.delete(file.location)
        failpoint.reach("lake.orphans.between")
        count, size = count + 1, size + file.size
    return count, size


def plain(location: str) -> str:
    """A location without its scheme, by which `s3://` and `s3a://`, a path and `file://` are the same."""
    scheme, separator, rest = location.partition("://")
    if separator:
        return rest
    return location.removeprefix("file:") if scheme else location
