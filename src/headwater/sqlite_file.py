"""How every SQLite file of ours is opened and written.

Rollback journal and synchronous=FULL: the SQLite of many Pythons can corrupt a WAL-mode database with two connections
(mended in 3.51.3), and what is committed is to outlive a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.errors import StorageFailed

BUSY_TIMEOUT_S = 20.0


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection without transactions of its own: see `transaction`. Threads that share it must take turns.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing of a file that is there. It is opened for writing all the same: after a crash
    of the writer somebody must roll its journal back, and who may only read gets an error instead of rows.

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)
    connection.execute("PRAGMA query_only=ON")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside becomes durable at once, or not at all.

    Raises:
        sqlite3.Error: it could not be made durable, and was not.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Tells of a file that cannot be read or written in our own words.

    Args:
        doing: what was being done, after "cannot".

    Raises:
        StorageFailed: it could not be done.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        hint = "free some space on the disk of the state folder; nothing was lost"
        raise StorageFailed(f"cannot {doing}: {error}", hint=hint) from error
