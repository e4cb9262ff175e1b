"""The ledger of rejects: every record that a stage could not take, whole, with what is needed to replay it.

One SQLite table in the state store. A reject's `uid` is derived from the epoch that met it and its number there,
and epochs are replayed with the very same input, so recording it twice changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from headwater.errors import UserError

State = Literal["open", "requested", "replayed", "superseded", "discarded"]
"""open: waits for a decision; requested: to be replayed in the next epoch; replayed: went through; superseded: a later
change of the same key made it moot, or its model was rebuilt; discarded: given up on purpose."""

DDL = """
CREATE TABLE IF NOT EXISTS rejects (
    id INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    stream TEXT NOT NULL,
    stage TEXT NOT NULL,
    reason TEXT NOT NULL,
    message TEXT NOT NULL,
    position TEXT NOT NULL,
    key TEXT NOT NULL,
    record BLOB NOT NULL,
    weight INTEGER NOT NULL,
    project TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',
    attempts INTEGER NOT NULL DEFAULT 1,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL
)
"""

_COLUMNS = (
    "id, epoch, stream, stage, reason, message, position, key, record, weight, project, state, attempts, "
    "first_seen_us, last_seen_us"
)


@dataclass(frozen=True)
class Reject:
    """One entry of the ledger; times in microseconds since 1970 UTC, `record` as in `change.REJECT_SCHEMA`."""

    id: int
    epoch: int
    stream: str
    stage: str
    reason: str
    message: str
    position: str
    key: str
    record: bytes
    weight: int
    project: str
    state: State
    attempts: int
    first_seen_us: int
    last_seen_us: int


class Ledger:
    """The ledger over the state store's one connection. Writing methods run inside the caller's transaction.

    Args:
        connection: to the state store.
        make: make the table if it is not there; not for a connection that only reads.
    """

    def __init__(self, connection: sqlite3.Connection, *, make: bool = True) -> None:
        self._connection = connection
        if make:
            connection.execute(DDL)

    def record(self, rejects: pa.RecordBatch, *, epoch: int, first: int, project: str, now_us: int) -> None:
        """Enters `rejects` (`REJECT_SCHEMA`), numbered from `first` within `epoch`; those entered before stay as
        they are."""
        entries = [
            (
                f"{epoch}:{first + number}",
                epoch,
                *(row[name] for name in ("stream", "stage", "reason", "message", "position", "key", "record")),
                row["weight"],
                project,
                now_us,
                now_us,
            )
            for number, row in enumerate(rejects.to_pylist())
        ]
        self._connection.executemany(
            "INSERT INTO rejects (uid, epoch, stream, stage, reason, message, position, key, record, weight, project,"
            " first_seen_us, last_seen_us) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (uid) DO NOTHING",
            entries,
        )

    def entries(self, states: Sequence[State] = ("open", "requested"), limit: int = 1000) -> list[Reject]:
        """Entries in these states, oldest first."""
        marks = ",".join("?" * len(states))
        query = f"SELECT {_COLUMNS} FROM rejects WHERE state IN ({marks}) ORDER BY id LIMIT ?"  # noqa: S608 only marks
        return [Reject(*row) for row in self._connection.execute(query, (*states, limit))]

    def entry(self, identifier: int) -> Reject:
        """One entry.

        Raises:
            UserError: there is none of this number.
        """
        query = f"SELECT {_COLUMNS} FROM rejects WHERE id = ?"  # noqa: S608 constant text
        row = self._connection.execute(query, (identifier,)).fetchone()
        if row is None:
            raise UserError(f"no reject number {identifier}", hint="headwater rejects ls")
        return Reject(*row)

    def ask_replay(self, identifiers: Iterable[int]) -> int:
        """Marks open entries to be replayed by the next epoch; returns how many."""
        return self._move(identifiers, "requested", ("open",), " AND stage != 'gap'")

    def discard(self, identifiers: Iterable[int]) -> int:
        """Gives up open entries, which stay in the ledger; returns how many."""
        return self._move(identifiers, "discarded", ("open", "requested"))

    def supersede(self, identifiers: Iterable[int]) -> int:
        """Marks entries that a later change made moot."""
        return self._move(identifiers, "superseded", ("open", "requested"))

    def supersede_model(self, model: str) -> None:
        """Marks what a model's former state could not take: the model is built anew from whole rows."""
        self._connection.execute(
            "UPDATE rejects SET state = 'superseded' WHERE state IN ('open', 'requested') AND stage != 'decode'"
            " AND substr(stream, 1, ?) = ?",
            (len(model) + 1, model + "/"),
        )

    def open_gaps(self, stream: str) -> int:
        """Number of gaps of a source (by its `gap_stream`) that no later snapshot has closed."""
        query = "SELECT count(*) FROM rejects WHERE stage = 'gap' AND state = 'open' AND stream = ?"
        return int(self._connection.execute(query, (stream,)).fetchone()[0])

    def close_gaps(self, stream: str, decided: str) -> None:
        """Marks the gaps of a source that a later snapshot of all its tables has closed.

        Args:
            stream: the source's `gap_stream`.
            decided: the last decision that was carried out. If it had been to accept a gap, that gap would be here.
        """
        here = (
            "SELECT 1 FROM rejects WHERE stage = 'gap' AND stream = ?"
            " AND json_extract(CAST(record AS TEXT), '$.decision') = ?"
        )
        if self._connection.execute(here, (stream, decided)).fetchone() is None:
            self._connection.execute(
                "UPDATE rejects SET state = 'superseded' WHERE stage = 'gap' AND state = 'open' AND stream = ?"
                " AND json_extract(CAST(record AS TEXT), '$.decision') < ?",
                (stream, decided),
            )

    def settle(self, replayed: Iterable[int], failed: Mapping[int, str], now_us: int) -> None:
        """Notes how a replay ended: went through, even if it was given up meanwhile, or failed again with this message
        and is open once more."""
        self._move(replayed, "replayed", ("open", "requested", "discarded", "superseded"))
        self._connection.executemany(
            "UPDATE rejects SET state = 'open', attempts = attempts + 1, message = ?, last_seen_us = ? WHERE id = ?",
            [(message, now_us, identifier) for identifier, message in failed.items()],
        )

    def totals(self) -> dict[tuple[str, str], int]:
        """Number of records ever rejected by (stream, stage), those replayed since left out."""
        rows = self._connection.execute(
            "SELECT stream, stage, count(*) FROM rejects WHERE state != 'replayed' GROUP BY stream, stage"
        )
        return {(stream, stage): count for stream, stage, count in rows}

    def open_count(self) -> int:
        """Number of entries that wait for a decision or a replay."""
        row = self._connection.execute("SELECT count(*) FROM rejects WHERE state IN ('open', 'requested')").fetchone()
        return int(row[0])

    def keys_of(self, stream: str) -> list[str]:
        """Keys of the stream's rows that could not be decoded and did not go on since."""
        rows = self._connection.execute(
            "SELECT DISTINCT key FROM rejects WHERE stream = ? AND stage = 'decode' AND key != ''"
            " AND state IN ('open', 'requested', 'discarded')",
            (stream,),
        )
        return [key for (key,) in rows]

    def open_keys(self) -> dict[str, dict[str, list[int]]]:
        """By stream, the keys with open decode rejects, and which entries those are."""
        rows = self._connection.execute(
            "SELECT stream, key, id FROM rejects"
            " WHERE state IN ('open', 'requested') AND stage = 'decode' AND key != ''"
        )
        keys: dict[str, dict[str, list[int]]] = {}
        for stream, key, identifier in rows:
            keys.setdefault(stream, {}).setdefault(key, []).append(identifier)
        return keys

    def _move(self, identifiers: Iterable[int], state: State, of: Sequence[State], only: str = "") -> int:
        marks = ",".join("?" * len(of))
        statement = f"UPDATE rejects SET state = ? WHERE id = ? AND state IN ({marks}){only}"  # noqa: S608 only marks
        return sum(self._connection.execute(statement, (state, one, *of)).rowcount for one in identifiers)
