"""A partition's folder as such: making data and directory entries durable, and letting one writer in at a time."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from headwater.errors import StorageFailed, UserError

LOCK_NAME = "lock"


def fsync_data(descriptor: int) -> None:
    """Makes a file's data, and as much of its metadata as reading it back needs, durable.

    Raises:
        OSError: it failed; do not try it again.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def fsync_directory(folder: Path) -> None:
    """Makes files created in and removed from `folder` so for good.

    Raises:
        OSError: the fsync failed; do not try it again.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(folder: Path) -> None:
    """Makes `folder` and its missing parents, durably."""
    if folder.is_dir():
        return
    make_directory(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_directory(folder.parent)


def storage_failed(folder: Path, error: OSError) -> StorageFailed:
    """The error for a failed write or fsync in `folder`."""
    hint = "make room on the disk or mend it; the log goes on where it stood: headwater run"
    return StorageFailed(f"writing the log in {folder} failed: {error.strerror or error}", hint=hint)


class WriterLock:
    """The right to write to a partition: an flock, which the kernel lets go of when the process dies.

    Raises:
        UserError: another process, or this one elsewhere, is writing; the message names its process id.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            hint = f"stop it first (kill -TERM {holder}), or read along: headwater log ls"
            raise UserError(f"the log in {folder} is being written by process {holder}", hint=hint) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets the next writer in."""
        os.close(self._descriptor)
