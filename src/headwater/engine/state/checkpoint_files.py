"""Files of a checkpoint folder: immutable, checksummed, fsynced, and shared between checkpoints by hard links.

A folder holds Arrow IPC files and `manifest.json`, which names every file with its size and SHA-256 and begins with a
checksum of its own. Nothing in a folder is read that the manifest does not name.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import pyarrow as pa

from headwater import failpoint
from headwater.durable import fsync_path
from headwater.errors import CorruptCheckpoint, StorageFailed

Json = dict[str, "str | int | list[Json] | list[str] | Json"]
_MANIFEST = "manifest.json"
_MAPPED_BYTES = 8 << 20


@dataclass(frozen=True)
class StateFile:
    """A file as the manifest names it: its name in the folder, size in bytes and SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@contextmanager
def storage(folder: Path) -> Iterator[None]:
    """Turns a failing write into an error that says where and what to do.

    Raises:
        StorageFailed: an OSError was raised inside.
    """
    try:
        yield
    except OSError as error:
        cure = "Free space on" if error.errno == errno.ENOSPC else "Check"
        reason = error.strerror or type(error).__name__
        hint = f"{cure} the disk of the state folder; the run then goes on."
        raise StorageFailed(f"cannot write the checkpoint {folder}: {reason}", hint=hint) from error


def write_batch(folder: Path, name: str, batch: pa.RecordBatch) -> StateFile:
    """Writes a batch as an Arrow IPC file and fsyncs it. The batch, which may be large, is not copied.

    Raises:
        OSError: the write failed; see `storage`.
    """
    with _new_file(folder / name) as file:
        hashed = _Hashed(file)
        with pa.PythonFile(hashed, mode="w") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return StateFile(name, hashed.size, hashed.sha.hexdigest())


class _Hashed:
    """Takes the bytes of a file, and their checksum, on their way to it."""

    closed = False

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.sha = hashlib.sha256()
        self.size = 0

    def write(self, data: pa.Buffer) -> int:
        view = memoryview(data).cast("B")
        _write_whole(self._file, view)
        self.sha.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Whoever opened the file closes it."""


def read_batch(folder: Path, file: StateFile) -> pa.RecordBatch:
    """Reads a file written by `write_batch`; a large one is mapped, so that its rows need not be in memory.

    Raises:
        CorruptCheckpoint: the file is missing or not as it was written.
    """
    content = _mapped(folder, file.name) if file.size >= _MAPPED_BYTES else pa.py_buffer(_read(folder, file.name))
    if content.size != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        raise corrupt(folder, f"{file.name} fails its checksum")
    return pa.ipc.open_file(content).get_batch(0)


def share(previous: Path, folder: Path, file: StateFile) -> None:
    """Makes a file of another checkpoint one of this folder, by a hard link, or a copy where there can be none.

    Raises:
        OSError: neither could be made; see `storage`.
        CorruptCheckpoint: the other checkpoint has lost the file.
    """
    target = folder / file.name
    target.unlink(missing_ok=True)
    try:
        os.link(previous / file.name, target)
    except FileNotFoundError as error:
        raise corrupt(previous, f"{file.name} is missing") from error
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
            raise
        shutil.copyfile(previous / file.name, target)
        fsync_path(target)


def write_manifest(folder: Path, body: Json) -> None:
    """Writes the manifest, which completes the folder, and fsyncs it and the folder.

    Raises:
        OSError: the write failed; see `storage`.
    """
    text = json.dumps(body, indent=1).encode()
    _write(folder / _MANIFEST, memoryview(hashlib.sha256(text).hexdigest().encode() + b"\n" + text + b"\n"))
    fsync_path(folder)


def read_manifest(folder: Path) -> Json:
    """The body given to `write_manifest`.

    Raises:
        CorruptCheckpoint: there is none, or it is not as it was written.
    """
    checksum, _, text = _read(folder, _MANIFEST).partition(b"\n")
    if hashlib.sha256(text[:-1]).hexdigest().encode() != checksum or text[-1:] != b"\n":
        raise corrupt(folder, f"{_MANIFEST} fails its checksum")
    body: Json = json.loads(text)
    return body


def corrupt(folder: Path, what: str) -> CorruptCheckpoint:
    """The error to raise for a folder that cannot be restored."""
    hint = f"Bring the folder back from a backup, or delete {folder}: the state is then built again from the log."
    return CorruptCheckpoint(f"the checkpoint {folder} cannot be restored: {what}", hint=hint)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise corrupt(folder, f"{name}: {error.strerror or type(error).__name__}") from error


def _mapped(folder: Path, name: str) -> pa.Buffer:
    try:
        with pa.memory_map(str(folder / name)) as file:
            return file.read_buffer()
    except OSError as error:
        raise corrupt(folder, f"{name}: {error.strerror or type(error).__name__}") from error


def _write(path: Path, content: memoryview) -> None:
    """Writes and fsyncs a new file."""
    with _new_file(path) as file:
        _write_whole(file, content)


@contextmanager
def _new_file(path: Path) -> Iterator[FileIO]:
    """A new file, fsynced at the end; one left by a failed attempt is unlinked, for it may be linked elsewhere."""
    path.unlink(missing_ok=True)
    with path.open("xb", buffering=0) as file:
        yield file
        os.fsync(file.fileno())
    failpoint.reach("checkpoint.after_state_file")


def _write_whole(file: FileIO, content: memoryview) -> None:
    written = 0
    while written < len(content):
        written += file.write(content[written:])
