"""The idempotency keys that were taken, durable: a request that is sent again under its key is not taken again.

A key must be as durable as its records, and there is one fsync between them. So a key travels in the resume point of
the group that holds its records (`carried`), which the log writes with them, and stays in the resume points after it
until it stands in this file. What the log's end carries is put into the file whenever a reading begins. So after a
kill at any instant either the records and the key are there, or neither is.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from headwater import sqlite_file
from headwater.capture.http.submission import Receipt
from headwater.durable import make_folder
from headwater.errors import StorageFailed

CARRIED = "keys"
"""Name in a resume point."""
_DDL = """
CREATE TABLE IF NOT EXISTS keys (
    key BLOB PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    commit_number INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    at_us INTEGER NOT NULL
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS keys_by_age ON keys (at_us)"


@dataclass(frozen=True)
class Taken:
    """A request that was taken under a key; hashes in hexadecimal, time in microseconds since 1970 UTC."""

    key: str
    fingerprint: str
    commit: int
    accepted: int
    rejected: int
    at_us: int

    def receipt(self) -> Receipt:
        """What its sender is told when it sends it again."""
        return Receipt(self.commit, self.accepted, self.rejected, repeated=True)


def hashed(stream: str, key: str) -> str:
    """How a key is kept: of a fixed size, and nobody reads what it was."""
    return hashlib.blake2b(f"{stream}\n{key}".encode(), digest_size=16).hexdigest()


def carried(taken: Iterable[Taken]) -> str:
    """Keys as a resume point carries them."""
    return json.dumps([astuple(one) for one in taken], separators=(",", ":"))


def brought(resume: object) -> list[Taken]:
    """The inverse of `carried`, of what stands in a resume point."""
    return [Taken(*fields) for fields in json.loads(resume)] if isinstance(resume, str) else []


class Keys:
    """The file of one source. Used by the capture thread alone.

    Args:
        path: the file; made if it is not there.
        keep_us: how long a key is remembered.

    Raises:
        StorageFailed: it cannot be read.
    """

    def __init__(self, path: Path, keep_us: int) -> None:
        self._keep_us = keep_us
        make_folder(path.parent)
        try:
            self._connection = sqlite_file.open_to_write(path)
            for statement in (_DDL, _INDEX):
                self._connection.execute(statement)
        except sqlite3.Error as error:
            raise StorageFailed(f"the keys of requests in {path} cannot be read: {error}") from error

    def find(self, key: str) -> Taken | None:
        """The request that was taken under a key (`hashed`)."""
        row = self._connection.execute(
            "SELECT fingerprint, commit_number, accepted, rejected, at_us FROM keys WHERE key = ?",
            (bytes.fromhex(key),),
        ).fetchone()
        return None if row is None else Taken(key, row[0].hex(), *row[1:])

    def remember(self, taken: Iterable[Taken], now_us: int) -> None:
        """Makes keys durable; those that are there already stay as they are. Forgets old ones.

        Raises:
            StorageFailed: they are not durable.
        """
        rows = [
            (bytes.fromhex(one.key), bytes.fromhex(one.fingerprint), one.commit, one.accepted, one.rejected, one.at_us)
            for one in taken
        ]
        if not rows:
            return
        try:
            with sqlite_file.transaction(self._connection):
                self._connection.executemany("INSERT OR IGNORE INTO keys VALUES (?,?,?,?,?,?)", rows)
                self._connection.execute("DELETE FROM keys WHERE at_us < ?", (now_us - self._keep_us,))
        except sqlite3.Error as error:
            raise StorageFailed(f"the keys of requests could not be written: {error}") from error

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()
