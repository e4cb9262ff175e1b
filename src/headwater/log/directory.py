"""A partition's folder as such: letting one writer in at a time, and what is said when the disk fails."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from headwater.errors import StorageFailed, UserError

LOCK_NAME = "lock"


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
