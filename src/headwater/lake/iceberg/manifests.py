"""Manifests of a table: those a commit adds, and the merging that keeps their number small.

Each commit adds a manifest of one entry or two. Left alone, planning a scan would open one file per epoch and each
commit would write a list as long as the table's history. So manifests are merged like the levels of a log-structured
tree: whenever FANOUT of them hold about as many entries each (the same power of FANOUT), they become one. An entry is
rewritten once per level, and there are at most FANOUT - 1 manifests per level and kind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID, uuid4

from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
    write_manifest,
)
from pyiceberg.table.metadata import TableMetadata

FANOUT = 32


class _DeleteManifestWriter(ManifestWriterV2):
    """PyIceberg's writer of data manifests, turned into one of delete manifests, which it does not have."""

    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


@dataclass
class ManifestStore:
    """Writes and reads manifests for one snapshot to be.

    Attributes:
        io: where files go.
        metadata: the table as it is before the commit.
        snapshot_id: of the table snapshot being made.
        entries: entries of manifests known from before, by path, so that a merge need not read them again.
    """

    io: FileIO
    metadata: TableMetadata
    snapshot_id: int
    entries: dict[str, list[ManifestEntry]]
    commit_id: UUID = field(default_factory=uuid4)
    written: list[str] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def added(
        self, files: Sequence[DataFile], content: ManifestContent, sequence: int | None = None
    ) -> list[ManifestFile]:
        """A manifest of new files; nothing if there are none.

        Args:
            files: the files.
            content: their kind.
            sequence: their data sequence number; the commit's if None.
        """
        return self._write(content, [added_entry(file, self.snapshot_id, sequence) for file in files])

    def dropped(self, entries: Sequence[ManifestEntry], content: ManifestContent) -> list[ManifestFile]:
        """A manifest that says that files are gone; nothing if none are."""
        gone = ManifestEntryStatus.DELETED
        return self._write(content, [_restated(entry, gone, self.snapshot_id) for entry in entries])

    def without(
        self, manifests: Sequence[ManifestFile], dropped: Sequence[ManifestEntry]
    ) -> tuple[list[ManifestFile], list[ManifestFile]]:
        """The manifests without files that leave the table: those that name none of them, and those made anew."""
        gone = {file_identity(entry.data_file) for entry in dropped}
        contents = {ManifestContent(min(entry.data_file.content, 1)) for entry in dropped}
        kept, rewritten = [], []
        for manifest in manifests:
            entries = self.live_entries(manifest) if manifest.content in contents else []
            left = [entry for entry in entries if file_identity(entry.data_file) not in gone]
            if len(left) == len(entries):
                kept.append(manifest)
            else:
                rewritten += self._write(manifest.content, [_existing(entry) for entry in left])
        return kept, rewritten

    def merged(self, manifests: Sequence[ManifestFile], *, all_levels: bool = False) -> list[ManifestFile]:
        """The manifests that name live files, with every full level of the same content and spec made into one; with
        `all_levels` all of the same content and spec."""
        levels: dict[tuple[ManifestContent, int, int], list[ManifestFile]] = defaultdict(list)
        manifests = [manifest for manifest in manifests if manifest.has_added_files() or manifest.has_existing_files()]
        for manifest in manifests:
            level = 0 if all_levels else _level(manifest)
            levels[(manifest.content, manifest.partition_spec_id, level)].append(manifest)
        full = {key: group for key, group in levels.items() if len(group) >= (2 if all_levels else FANOUT)}
        gone = {manifest.manifest_path for group in full.values() for manifest in group}
        kept = [manifest for manifest in manifests if manifest.manifest_path not in gone]
        for (content, _, _), group in full.items():
            kept += self._write(content, self._live(group))
        return kept

    def live_entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        """The manifest's entries of files that are still part of the table."""
        found = self.entries.get(manifest.manifest_path)
        if found is None:
            found = manifest.fetch_manifest_entry(self.io, discard_deleted=True)
        return found

    def _live(self, manifests: Iterable[ManifestFile]) -> list[ManifestEntry]:
        return [_existing(entry) for manifest in manifests for entry in self.live_entries(manifest)]

    def _write(self, content: ManifestContent, entries: Sequence[ManifestEntry]) -> list[ManifestFile]:
        """A manifest for each partition spec that the entries' files are of."""
        by_spec: dict[int, list[ManifestEntry]] = defaultdict(list)
        for entry in entries:
            by_spec[entry.data_file.spec_id].append(entry)
        return [self._write_one(content, spec_id, of_spec) for spec_id, of_spec in by_spec.items()]

    def _write_one(self, content: ManifestContent, spec_id: int, entries: Sequence[ManifestEntry]) -> ManifestFile:
        with self._writer(content, spec_id) as writer:
            for entry in entries:
                writer.add_entry(entry)
        manifest = writer.to_manifest_file()
        sequence = self.metadata.next_sequence_number()
        live = [entry for entry in entries if entry.status != ManifestEntryStatus.DELETED]
        self.entries[manifest.manifest_path] = [_numbered(entry, sequence) for entry in live]
        return manifest

    def _writer(self, content: ManifestContent, spec_id: int) -> ManifestWriter:
        path = f"{self.metadata.location}/metadata/{self.commit_id}-m{next(self._numbers)}.avro"
        self.written.append(path)
        spec = self.metadata.specs()[spec_id]
        schema, output = self.metadata.schema(), self.io.new_output(path)
        if content == ManifestContent.DELETES:
            return _DeleteManifestWriter(spec, schema, output, self.snapshot_id, "deflate")
        return write_manifest(self.metadata.format_version, spec, schema, output, self.snapshot_id, "deflate")


def file_identity(file: DataFile) -> tuple[str, int | None]:
    """What tells a file of a table from the others: its path, and for a deletion vector its place in that file."""
    return file.file_path, getattr(file, "content_offset", None)


def added_entry(file: DataFile, snapshot_id: int | None = None, sequence: int | None = None) -> ManifestEntry:
    """The entry of a file that is new; `sequence` as in `ManifestStore.added`."""
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=snapshot_id,
        sequence_number=sequence,
        file_sequence_number=None,
        data_file=file,
    )


def _level(manifest: ManifestFile) -> int:
    entries, level = (manifest.added_files_count or 0) + (manifest.existing_files_count or 0), 0
    while entries >= FANOUT:
        entries //= FANOUT
        level += 1
    return level


def _restated(entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


def _existing(entry: ManifestEntry) -> ManifestEntry:
    return _restated(entry, ManifestEntryStatus.EXISTING, entry.snapshot_id or 0)


def _numbered(entry: ManifestEntry, sequence: int) -> ManifestEntry:
    """The entry as a reader sees it: one without a sequence number inherits its commit's."""
    if entry.sequence_number is not None and entry.file_sequence_number is not None:
        return entry
    return ManifestEntry.from_args(
        status=entry.status,
        snapshot_id=entry.snapshot_id,
        sequence_number=sequence if entry.sequence_number is None else entry.sequence_number,
        file_sequence_number=sequence,
        data_file=entry.data_file,
    )
