"""Reads the state store beside the thread that writes it: short looks, so that no commit waits for a page."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from headwater.runtime.running import Running
from headwater.sqlite_file import open_to_read, storage_errors

FILE = "state.db"
_TABLES = ("checkpoints", "rejects", "reject_counts")
_MADE = f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN {_TABLES}"  # noqa: S608 constant
"""In a project's first second the file is there, and not yet what is in it."""


@contextmanager
def reading(running: Running) -> Iterator[sqlite3.Connection | None]:
    """A connection for a few small queries; None before there is a state store. Fetch all at once, then leave: an
    unfinished query holds up the next commit.

    Raises:
        StorageFailed: it cannot be read now.
    """
    path = running.project.state / FILE
    if not path.exists():
        yield None
        return
    with storage_errors("read the state store"):
        connection = open_to_read(path)
        try:
            yield connection if connection.execute(_MADE).fetchone() == (len(_TABLES),) else None
        finally:
            connection.close()
