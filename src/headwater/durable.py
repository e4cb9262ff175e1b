"""What it takes to make files outlast a power cut: data forced out, folder entries forced out, files replaced whole.

A failed fsync is never tried again: the kernel may have marked the pages clean, and a second try would succeed without
having written anything (PostgreSQL's "fsyncgate", 2018).
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path


def fsync_data(descriptor: int) -> None:
    """Makes a file's data, and as much of its metadata as reading it back needs, durable.

    Raises:
        OSError: it failed; do not try it again.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def fsync_path(path: Path) -> None:
    """Makes a file, or the names in a folder, durable.

    Raises:
        OSError: it failed; do not try it again.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes `folder` and its missing parents, durably.

    Raises:
        OSError: it could not be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    fsync_path(folder.parent)


def replace_file(path: Path, text: str) -> None:
    """Replaces `path` by `text` (UTF-8), durable when this returns; a reader finds either the old text or the new.

    Raises:
        OSError: it was not replaced.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_path(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
