"""Writes a small file so that a reader finds either the old text or the new, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path

from headwater.errors import StorageFailed


def write_atomically(path: Path, text: str) -> None:
    """Replaces `path` by `text` (UTF-8), durable when this returns; makes the folder if it is not there.

    Raises:
        StorageFailed: it was not replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StorageFailed(
            f"{path} could not be written: {error.strerror}",
            hint="look at the disk's free space and the folder's rights",
        ) from error


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
