"""The versions of a Delta table: commit files that only one writer can make, put on the disk before they have a name.

deltalake writes no deletion vectors, and its local files are not forced to the disk; so commits are written here, and
deltalake reads them, checks them in our tests, and writes the checkpoints that keep opening fast.
"""

from __future__ import annotations

import json
import os
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
from headwater.errors import CommitUnknown, StorageFailed, UserError
from headwater.lake.delta import types
from headwater.lake.delta.actions import commit_actions, first_actions
from headwater.lake.delta.deletion_vectors import file_name, pack
from headwater.lake.delta.replay import (
    State,
    commit_numbers,
    commit_path,
    data_path,
    read_head,
    replayed,
    version_of,
)
from headwater.lake.delta.statistics import statistics
from headwater.lake.delta.vacuum import unreferenced, vacuum
from headwater.lake.files.log import ForeignVersion, disk_errors
from headwater.lake.files.version import Change, Head, LiveFile, Shape, Version
from headwater.lake.table_format import TableSpec

CHECKPOINT_EVERY = 100
"""Commits between two checkpoints: opening reads a checkpoint and that many commits at most."""


def deltalake() -> Any:
    """The library.

    Raises:
        UserError: it is not installed.
    """
    try:
        import deltalake
    except ImportError as error:
        raise UserError("Delta tables need the library deltalake", hint="pip install 'headwater[delta]'") from error
    return deltalake


class DeltaLog:
    """See `headwater.lake.files.log.VersionLog`.

    Args:
        folder: the table's.
        name: the table's name, for messages.
    """

    vectors = True
    renames = True

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._heads: dict[int, Head] = {}

    def load(self, known: Version | None = None) -> Version:
        """The newest version."""
        with disk_errors(f"reading table {self._name!r}"):
            number = self._newest(known.head.number if known is not None else -1)
            if known is not None and number == known.head.number:
                return known
            return self.version(number, known)

    def _newest(self, known: int) -> int:
        if known < 0 or not commit_path(self._folder, known).exists():
            numbers = commit_numbers(self._folder)
            if not numbers:
                raise UserError(
                    f"table {self._name!r} has been dropped", hint="start again: what writes tables makes it anew"
                )
            return numbers[0]
        while commit_path(self._folder, known + 1).exists():
            known += 1
        return known

    def heads(self) -> Iterator[Head]:
        """The heads of the versions that are kept, newest first."""
        for number in commit_numbers(self._folder):
            if number not in self._heads:
                with disk_errors(f"reading table {self._name!r}"):
                    self._heads[number] = read_head(commit_path(self._folder, number))
            yield self._heads[number]

    def version(self, number: int, known: Version | None = None) -> Version:
        """A version that is kept."""
        if known is not None and known.head.number == number:
            return known
        state = _state(known) if known is not None and known.head.number < number else None
        with disk_errors(f"reading table {self._name!r}"):
            state = replayed(self._folder, number, self._name, state)
            return version_of(self._folder, state, self._name, known)

    def stored(self, kind: pa.DataType) -> pa.DataType:
        """The type that files have for a lake type."""
        return types.stored(kind)

    def note(self, written: pq.FileMetaData) -> Mapping[str, object]:
        """A file's statistics."""
        return {"stats": statistics(written)}

    def constants(self, file: LiveFile) -> Mapping[str, str | None]:
        """The partition's values: Delta's files do not hold those columns."""
        add = file.note.get("add")
        return add.get("partitionValues") or {} if isinstance(add, Mapping) else {}

    def path(self, version: int, name: str) -> Path:
        """Where a file lies."""
        return data_path(self._folder, name)

    def new_path(self) -> Path:
        """Where a new file is to be written."""
        return self._folder / f"part-{uuid4()}.zstd.parquet"

    def commit(self, before: Version, change: Change) -> Version:
        """Writes the commit file under another name, and links it to its own if nobody has it."""
        commit = uuid4().hex
        temporary = self._folder / "_delta_log" / f".{commit}.json.tmp"
        vectors = None
        try:
            change, vectors = self._with_vectors(change)
            actions = commit_actions(before, _state(before), change, commit)
            _write(temporary, "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions).encode())
            os.link(temporary, commit_path(self._folder, change.head.number))
            fsync_path(temporary.parent)
            failpoint.reach("lake.commit.after_catalog")
        except OSError as error:
            self._settle(change.head.number, commit, error, vectors)
        finally:
            with suppress(OSError):
                temporary.unlink()
        state = _state(before)
        for action in sorted(actions, key=lambda action: "remove" not in action):
            state.apply(action)
        state.number, state.head = change.head.number, change.head
        files = {
            name: replace(file, note={"add": state.files[name], "stats": state.files[name].get("stats") or ""})
            for name, file in change.files_after(before).items()
        }
        note = {**before.note, "state": state}
        committed = change.head.committed or before.committed
        after = Version(change.head, change.shape, change.key, files, committed, note)
        if change.head.number % CHECKPOINT_EVERY == 0:
            self._checkpoint(change.head.number)
        return after

    def mend(self) -> None:
        """Nothing: a commit is one file."""

    def _with_vectors(self, change: Change) -> tuple[Change, Path | None]:
        """The change with descriptors beside the files of which rows are deleted."""
        marked = {file.name: file.deleted for file in (*change.changed, *change.added) if len(file.deleted)}
        if not marked:
            return change, None
        identity = uuid4()
        content, descriptors = pack(marked, identity)
        path = self._folder / file_name(identity)
        _write(path, content)
        fsync_path(self._folder)

        def noted(file: LiveFile) -> LiveFile:
            return replace(file, note={**file.note, "vector": descriptors.get(file.name)})

        return replace(change, changed=tuple(map(noted, change.changed)), added=tuple(map(noted, change.added))), path

    def _settle(self, number: int, commit: str, error: OSError, vectors: Path | None) -> None:
        """Asks the log whether the commit is there after all.

        Raises:
            ForeignVersion: another writer's is.
            StorageFailed: it is not.
            CommitUnknown: the log cannot be read.
        """
        try:
            text = commit_path(self._folder, number).read_text("utf-8")
        except FileNotFoundError:
            text = ""
        except OSError as second:
            raise CommitUnknown(
                f"table {self._name!r}: a commit was written and the log does not say what became of it: {error}",
                hint="start again: the table will be asked which epoch it holds",
            ) from second
        if commit in text:
            return
        if vectors is not None:
            with suppress(OSError):
                vectors.unlink()
        if text:
            raise ForeignVersion from error
        raise StorageFailed(
            f"table {self._name!r}: the commit failed: {error}",
            hint="look at the disk of the lake folder (df -h, dmesg); nothing was committed",
        ) from error

    def _checkpoint(self, number: int) -> None:
        """Writes a checkpoint; without one the table is whole too."""
        library = deltalake()
        with suppress(OSError, library.exceptions.DeltaError):
            library.DeltaTable(str(self._folder), version=number).create_checkpoint()
            for path in (self._folder / "_delta_log").glob(f"{number:020d}.checkpoint*.parquet"):
                fsync_path(path)

    def orphans(self, older_than_us: int, *, remove: bool) -> Sequence[str]:
        """Data files and deletion vectors that no version in the log has."""
        found = unreferenced(self._folder, self._name, list(self.heads()), older_than_us)
        for path in found if remove else ():
            path.unlink(missing_ok=True)
        return [str(path.relative_to(self._folder)) for path in found]

    def expire(self, keep: int, older_than_us: int) -> Sequence[str]:
        """Shortens the log to the newest `keep` versions and those that are not older; removes what is left over."""
        return vacuum(self._folder, self._name, list(self.heads()), keep, older_than_us, self._checkpoint)


def _state(version: Version) -> State:
    """A copy of the log's state at a version."""
    state = version.note["state"]
    assert isinstance(state, State)
    return replace(state, files=dict(state.files))


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


class DeltaFormat:
    """See `headwater.lake.files.lake.Format`."""

    def holds(self, folder: Path) -> bool:
        """Whether there is a log."""
        return not folder.name.startswith(".") and bool((folder / "_delta_log").is_dir() and commit_numbers(folder))

    def create(
        self, folder: Path, shape: Shape, key: tuple[str, ...], properties: Mapping[str, str], now_us: int
    ) -> None:
        """Makes version 0, without files."""
        make_folder(folder / "_delta_log")
        actions = first_actions(shape, key, properties, now_us)
        temporary = folder / "_delta_log" / f".{uuid4().hex}.json.tmp"
        _write(temporary, "".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions).encode())
        with suppress(FileExistsError):
            os.link(temporary, commit_path(folder, 0))
        temporary.unlink()
        fsync_path(folder / "_delta_log")

    def open(self, folder: Path, name: str) -> DeltaLog:
        """The log of a table."""
        return DeltaLog(folder, name)

    def admit(self, spec: TableSpec) -> None:
        """Takes every table, if the library is there."""
        deltalake()
