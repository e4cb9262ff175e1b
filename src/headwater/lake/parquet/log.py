"""The versions of a plain Parquet dataset: a folder each, of hard links to its files.

    TABLE/current -> versions/00000012     what a plain reader reads: TABLE/current/*.parquet
    TABLE/versions/00000012/*.parquet      the files of a version, none of another one
    TABLE/versions/00000012/_manifest.json which epoch it is, its columns and key
    TABLE/staged/*.parquet                 files that are being written

A commit fills a folder of another name, forces it to the disk, and renames it: that a folder `versions/N` with its
manifest is there is the commit. `current` follows a moment later by the renaming of a link, and is put right by the
next commit if the process dies in between. A file is gone when the last version that holds it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from headwater import failpoint
from headwater.durable import fsync_path, make_folder
from headwater.errors import StorageFailed, UserError
from headwater.lake.files.log import ForeignVersion, disk_errors
from headwater.lake.files.version import Change, Head, LiveFile, Shape, Version
from headwater.lake.parquet.manifest import NAME, decode, decode_head, decode_version, encode
from headwater.lake.table_format import TableSpec

KEEP_PROPERTY = "headwater.snapshots.keep"
DEFAULT_KEEP = 100
"""Versions kept, if the table's property says nothing else."""


class ParquetLog:
    """See `headwater.lake.files.log.VersionLog`.

    Args:
        folder: the table's.
        name: the table's name, for messages.
    """

    vectors = False
    renames = False

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._versions, self._staged = folder / "versions", folder / "staged"

    def load(self, known: Version | None = None) -> Version:
        """The newest version."""
        if known is not None and not self._path(known.head.number + 1).exists() and self._versions.exists():
            return known
        with disk_errors(f"reading table {self._name!r}"):
            for number in self._numbers():
                with suppress(FileNotFoundError):
                    return self._version(number)
        raise UserError(f"table {self._name!r} has been dropped", hint="start again: what writes tables makes it anew")

    def heads(self) -> Iterator[Head]:
        """The heads of the versions that are kept, newest first."""
        for number in self._numbers():
            with disk_errors(f"reading table {self._name!r}"), suppress(FileNotFoundError):
                yield decode_head(self._fields(number))

    def version(self, number: int, known: Version | None = None) -> Version:
        """A version that is kept."""
        return known if known is not None and known.head.number == number else self._version(number)

    def _version(self, number: int) -> Version:
        return decode_version(self._fields(number))

    def _fields(self, number: int) -> dict[str, Any]:
        return decode((self._path(number) / NAME).read_text("utf-8"))

    def _numbers(self) -> list[int]:
        """Versions there are, newest first."""
        if not self._versions.is_dir():
            return []
        return sorted((int(path.name) for path in self._versions.iterdir() if path.name.isdigit()), reverse=True)

    def _path(self, number: int) -> Path:
        return self._versions / f"{number:08d}"

    def stored(self, kind: pa.DataType) -> pa.DataType:
        """Parquet holds every lake type as it is."""
        return kind

    def note(self, written: pq.FileMetaData) -> Mapping[str, object]:
        """Nothing: what there is to know stands in the file's footer."""
        return {}

    def constants(self, file: LiveFile) -> Mapping[str, str | None]:
        """None: a file holds all columns."""
        return {}

    def path(self, version: int, name: str) -> Path:
        """Where a file of a version lies."""
        return self._path(version) / name

    def new_path(self) -> Path:
        """Where a new file is to be written."""
        make_folder(self._staged)
        return self._staged / f"{uuid4()}.parquet"

    def commit(self, before: Version, change: Change) -> Version:
        """Makes a change visible: see the module."""
        files = change.files_after(before)
        after = Version(change.head, change.shape, change.key, files, change.head.committed or before.committed)
        commit = uuid4().hex
        after = replace(after, note={**before.note, "commit": commit})
        making = self._versions / f".{commit}"
        try:
            self._fill(making, before, change, after)
            making.rename(self._path(change.head.number))  # fails if there is one: it is never empty
            if change.head.number:
                failpoint.reach("lake.commit.after_catalog")
            fsync_path(self._versions)
        except OSError as error:
            self._settle(after, making, error)
        for file in change.added:
            with suppress(OSError):
                (self._staged / file.name).unlink()
        with suppress(OSError):
            self._point(change.head.number)
        with suppress(OSError):
            self._expire_some(after)
        return after

    def _fill(self, making: Path, before: Version, change: Change, after: Version) -> None:
        making.mkdir()
        new = {file.name for file in change.added}
        former = self._path(before.head.number)
        for name in after.files:
            os.link(self._staged / name if name in new else former / name, making / name)
        with open(making / NAME, "x", encoding="utf-8") as file:
            file.write(encode(after, str(after.note["commit"])))
            file.flush()
            os.fsync(file.fileno())
        fsync_path(making)

    def _settle(self, after: Version, making: Path, error: OSError) -> None:
        """Asks the disk whether the commit is there after all.

        Raises:
            ForeignVersion: another writer's is.
            StorageFailed: it is not.
        """
        try:
            if self._version(after.head.number).note["commit"] == after.note["commit"]:
                return
            taken = True
        except OSError:
            taken = False
        shutil.rmtree(making, ignore_errors=True)
        if taken:
            raise ForeignVersion from error
        raise StorageFailed(
            f"table {self._name!r}: the commit failed: {error}",
            hint="look at the disk of the lake folder (df -h, dmesg); nothing was committed",
        ) from error

    def mend(self) -> None:
        """Makes `current` the newest version, if a crash came in between."""
        newest = self.load().head.number
        link = self._folder / "current"
        if not link.is_symlink() or link.readlink().name != f"{newest:08d}":
            self._point(newest)

    def _point(self, number: int) -> None:
        """Makes `current` the name of a version too."""
        link = self._folder / f".current-{uuid4().hex}"
        link.symlink_to(Path("versions") / f"{number:08d}")
        link.replace(self._folder / "current")
        fsync_path(self._folder)

    def _expire_some(self, after: Version) -> None:
        """Forgets old versions, a tenth of those kept at a time."""
        properties = after.note.get("properties")
        given = properties.get(KEEP_PROPERTY) if isinstance(properties, Mapping) else None
        keep = int(given or DEFAULT_KEEP)
        if len(self._numbers()) >= keep + max(keep // 10, 1):
            self.expire(keep, after.head.at_us)

    def orphans(self, older_than_us: int, *, remove: bool) -> Sequence[str]:
        """Files that were being written, and folders of versions that were being made or removed."""
        found = [*self._staged.glob("*.parquet"), *self._versions.glob(".*")]
        old = [path for path in found if path.stat().st_mtime * 1e6 <= older_than_us]
        for path in old if remove else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return [str(path.relative_to(self._folder)) for path in old]

    def expire(self, keep: int, older_than_us: int) -> Sequence[str]:
        """Forgets versions beyond the newest `keep` that are older; their files go with the last link."""
        removed = []
        for number in self._numbers()[max(keep, 1) :]:
            path = self._path(number)
            if decode_head(self._fields(number)).at_us <= older_than_us:
                gone = self._versions / f".expired-{number:08d}"
                path.rename(gone)
                shutil.rmtree(gone)
                removed.append(str(path.relative_to(self._folder)))
        return removed


class ParquetFormat:
    """See `headwater.lake.files.lake.Format`."""

    def holds(self, folder: Path) -> bool:
        """Whether there is a version."""
        versions = folder / "versions"
        if folder.name.startswith(".") or not versions.is_dir():
            return False
        return any(path.name.isdigit() for path in versions.iterdir())

    def create(
        self, folder: Path, shape: Shape, key: tuple[str, ...], properties: Mapping[str, str], now_us: int
    ) -> None:
        """Makes version 0, without files."""
        make_folder(folder / "versions")
        log = ParquetLog(folder, folder.name)
        head = Head(0, now_us)
        empty = Version(Head(-1, now_us), shape, key, {}, None, {"properties": dict(properties)})
        log.commit(empty, Change(head, shape, key))

    def open(self, folder: Path, name: str) -> ParquetLog:
        """The log of a dataset."""
        return ParquetLog(folder, name)

    def admit(self, spec: TableSpec) -> None:
        """Takes every table."""
