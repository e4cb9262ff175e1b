"""Writes a small file of the state folder so that a reader finds either the old text or the new."""

from __future__ import annotations

from pathlib import Path

from headwater.durable import make_folder, replace_file
from headwater.errors import StorageFailed


def write_atomically(path: Path, text: str) -> None:
    """Replaces `path` by `text` (UTF-8), durable when this returns; makes the folder if it is not there.

    Raises:
        StorageFailed: it was not replaced.
    """
    try:
        make_folder(path.parent)
        replace_file(path, text)
    except OSError as error:
        raise StorageFailed(
            f"{path} could not be written: {error.strerror}",
            hint="look at the disk's free space and the folder's rights",
        ) from error
