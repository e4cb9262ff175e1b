"""The delivery table of a sync: how far it got, and every record that is not plainly delivered.

    syncs/SYNC/deliveries.db    SQLite

Records below `cursor` are delivered, or superseded by a newer state of their key, or discarded, or stand in `waiting`.
So a record that goes through at once costs nothing here. What users ask for (`headwater syncs`) stands in
`requests` until the delivery job has taken it up, in the run under way or the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headwater import sqlite_file
from headwater.durable import make_folder
from headwater.sqlite_file import storage_errors

FILE = "deliveries.db"

WaitState = Literal["failed", "parked", "queued"]
"""failed: it is tried again at `next_try_us`; parked: it waits for a decision; queued: behind an earlier change of its
key."""
Verb = Literal["retry", "discard"]

_DDL = """
CREATE TABLE IF NOT EXISTS sync (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    outbox TEXT NOT NULL,
    cursor INTEGER NOT NULL,
    call INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    superseded INTEGER NOT NULL,
    discarded INTEGER NOT NULL,
    paused INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS waiting (
    seq INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    op INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_try_us INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    record BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, verb TEXT NOT NULL, seq INTEGER);
INSERT OR IGNORE INTO sync (one, outbox, cursor, call, delivered, superseded, discarded) VALUES (1, '', 0, 0, 0, 0, 0);
"""
_WAITING = "seq, key, op, epoch, state, reason, attempts, next_try_us, first_us, last_us"


@dataclass(frozen=True)
class Place:
    """How far a sync got.

    Attributes:
        outbox: id of the outbox that this is of.
        cursor: the first `seq` that has not been looked at.
        call: number of the last call whose outcomes are known.
        delivered, superseded, discarded: so many records.
        paused: the user wants nothing to be sent.
    """

    outbox: str = ""
    cursor: int = 0
    call: int = 0
    delivered: int = 0
    superseded: int = 0
    discarded: int = 0
    paused: bool = False


@dataclass(frozen=True)
class Waiting:
    """A record that is not delivered; `record` as `headwater.deliver.record` writes it, b"" where it was not asked for.
    Times in microseconds since 1970 UTC."""

    seq: int
    key: str
    op: int
    epoch: int
    state: WaitState
    reason: str
    attempts: int
    next_try_us: int
    first_us: int
    last_us: int
    record: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        id: its number.
        verb: what to do.
        seq: with which record; None for all that are parked or failed.
    """

    id: int
    verb: Verb
    seq: int | None


class Deliveries:
    """The open delivery table. The job's thread uses one; each command of a user opens its own for a moment.

    Args:
        folder: the sync's folder; made if it is not there.

    Raises:
        StorageFailed: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        with storage_errors("open a delivery table"):
            self._connection = sqlite_file.open_to_write(folder / FILE)
            self._connection.executescript(_DDL)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside becomes durable at once, or not at all.

        Raises:
            StorageFailed: it could not be made durable, and was not.
        """
        with storage_errors("write a delivery table"), sqlite_file.transaction(self._connection):
            yield

    def place(self) -> Place:
        """How far the sync got."""
        query = "SELECT outbox, cursor, call, delivered, superseded, discarded, paused FROM sync"
        outbox, cursor, call, delivered, superseded, discarded, paused = self._connection.execute(query).fetchone()
        return Place(outbox, cursor, call, delivered, superseded, discarded, bool(paused))

    def begin(self, outbox: str) -> None:
        """Begins anew, with another outbox."""
        self._connection.execute("DELETE FROM waiting")
        self._connection.execute(
            "UPDATE sync SET outbox = ?, cursor = 0, call = 0, delivered = 0, superseded = 0, discarded = 0", (outbox,)
        )

    def move(self, *, cursor: int, call: int, delivered: int, superseded: int) -> None:
        """Notes how far it got, and how many records more were delivered and superseded."""
        self._connection.execute(
            "UPDATE sync SET cursor = ?, call = ?, delivered = delivered + ?, superseded = superseded + ?",
            (cursor, call, delivered, superseded),
        )

    def waiting(self, state: WaitState | None = None, limit: int = -1) -> list[Waiting]:
        """Records that are not delivered, in order, without themselves."""
        where, values = ("WHERE state = ?", (state,)) if state else ("", ())
        query = f"SELECT {_WAITING} FROM waiting {where} ORDER BY seq LIMIT ?"  # noqa: S608 constant text
        return [Waiting(*row) for row in self._connection.execute(query, (*values, limit))]

    def records(self, seqs: Iterable[int]) -> list[Waiting]:
        """Some of them whole, in the order asked for; those that are not there are left out."""
        query = f"SELECT {_WAITING}, record FROM waiting WHERE seq = ?"  # noqa: S608 constant text
        rows = (self._connection.execute(query, (seq,)).fetchone() for seq in seqs)
        return [Waiting(*row) for row in rows if row is not None]

    def put(self, entries: Sequence[Waiting]) -> None:
        """Enters records; of those that are there, state, reason, attempts and times change."""
        self._connection.executemany(
            "INSERT INTO waiting (seq, key, op, epoch, state, reason, attempts, next_try_us, first_us, last_us, record)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (seq) DO UPDATE SET state = excluded.state,"
            " reason = excluded.reason, attempts = excluded.attempts, next_try_us = excluded.next_try_us,"
            " last_us = excluded.last_us",
            [tuple(getattr(one, name) for name in (*_WAITING.split(", "), "record")) for one in entries],
        )

    def remove(self, seqs: Iterable[int]) -> None:
        """Strikes records that wait no longer."""
        self._connection.executemany("DELETE FROM waiting WHERE seq = ?", [(seq,) for seq in seqs])

    def discard(self, seqs: Sequence[int]) -> None:
        """Strikes records that are given up, and counts them."""
        self.remove(seqs)
        self._connection.execute("UPDATE sync SET discarded = discarded + ?", (len(seqs),))

    def counts(self) -> dict[str, int]:
        """Number of waiting records by state."""
        rows = self._connection.execute("SELECT state, count(*) FROM waiting GROUP BY state")
        return {"failed": 0, "parked": 0, "queued": 0} | dict(rows.fetchall())

    def ask(self, verb: Verb, seqs: Sequence[int] | None) -> None:
        """Leaves a request for the delivery job; None means every record that is parked or failed."""
        with self.transaction():
            self._connection.executemany(
                "INSERT INTO requests (verb, seq) VALUES (?, ?)",
                [(verb, None)] if seqs is None else [(verb, seq) for seq in seqs],
            )

    def requests(self) -> list[Request]:
        """What was asked for and not taken up, oldest first."""
        return [Request(*row) for row in self._connection.execute("SELECT id, verb, seq FROM requests ORDER BY id")]

    def take_up(self, requests: Iterable[Request]) -> None:
        """Strikes requests."""
        self._connection.executemany("DELETE FROM requests WHERE id = ?", [(one.id,) for one in requests])

    def pause(self, paused: bool) -> None:
        """Says whether anything is to be sent."""
        with self.transaction():
            self._connection.execute("UPDATE sync SET paused = ?", (int(paused),))

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()
