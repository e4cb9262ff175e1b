"""The ledger of rejects: every record that a stage could not take, whole, with what is needed to replay it.

One SQLite table in the state store. A reject's `uid` is derived from the epoch that met it and its number there,
and epochs are replayed with the very same input, so recording it twice changes nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Literal

import pyarrow as pa

from headwater.errors import UserError
from headwater.sqlite_file import transaction

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
    last_seen_us INTEGER NOT NULL,
    version TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS rejects_by_state ON rejects (state, last_seen_us);
CREATE INDEX IF NOT EXISTS rejects_by_key ON rejects (stream, key) WHERE stage = 'decode' AND key != '';
CREATE TABLE IF NOT EXISTS reject_counts (
    stream TEXT NOT NULL, stage TEXT NOT NULL, state TEXT NOT NULL, entries INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (stream, stage, state)
) WITHOUT ROWID;
"""

_SIZE = "length({row}.record) + length({row}.message) + length({row}.key)"
_COUNT = """
    INSERT INTO reject_counts VALUES ({row}.stream, {row}.stage, {state}, {sign}1, {sign}({size}))
    ON CONFLICT DO UPDATE SET entries = entries + excluded.entries, bytes = bytes + excluded.bytes;"""


def _counted(row: str, sign: str, state: str | None = None) -> str:
    return _COUNT.format(row=row, sign=sign, state=state or f"{row}.state", size=_SIZE.format(row=row))


TRIGGERS = f"""
CREATE TRIGGER IF NOT EXISTS reject_came AFTER INSERT ON rejects BEGIN {_counted("NEW", "+")} END;
DROP TRIGGER IF EXISTS reject_moved;
CREATE TRIGGER IF NOT EXISTS reject_changed AFTER UPDATE OF state, record ON rejects
BEGIN {_counted("OLD", "-")} {_counted("NEW", "+")} END;
CREATE TRIGGER IF NOT EXISTS reject_went AFTER DELETE ON rejects BEGIN {_counted("OLD", "-")}
    INSERT INTO reject_counts SELECT OLD.stream, OLD.stage, 'forgotten', 1, 0 WHERE OLD.state != 'replayed'
    ON CONFLICT DO UPDATE SET entries = entries + 1; END;
"""  # noqa: S608 constant
"""Who counts is the database, whichever process writes: the totals are asked for after every epoch, and a scan of a
million entries would take longer than the epoch."""

_NEEDED = "state = 'discarded' AND (stage IN ('delivery', 'quality') OR (stage = 'decode' AND key != ''))"
"""Entries that must be remembered though they are given up. A row that is missing at the lake for that: `headwater
verify` asks for it. A delivery: the sync's job may not have heard of it yet. A row that checks set aside: it counts as
long as it is there."""

SETTLED: tuple[State, ...] = ("replayed", "superseded", "discarded")

_GIVEN = ("stream", "stage", "reason", "message", "position", "key", "record", "weight")
"""Columns of `REJECT_SCHEMA`."""

_COLUMNS = (
    "id, epoch, stream, stage, reason, message, position, key, record, weight, project, state, attempts, "
    "first_seen_us, last_seen_us, version"
)


@dataclass(frozen=True)
class Reject:
    """One entry of the ledger; times in microseconds since 1970 UTC, `record` as in `change.REJECT_SCHEMA`.

    `version` is the fingerprint of the model, or of the source's settings, that could not take it."""

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
    version: str


@dataclass(frozen=True)
class Choice:
    """Which entries are meant; what is None or empty leaves all.

    Attributes:
        ids: by number.
        stream: of this stream, or model ("value" means all of "value/...").
        stage: of this stage.
        reason: of this reason.
        after: with a number above this one.
    """

    ids: tuple[int, ...] = ()
    stream: str | None = None
    stage: str | None = None
    reason: str | None = None
    after: int = 0

    def condition(self) -> tuple[str, list[object]]:
        """As SQL over the ledger's columns, and the values that it binds."""
        parts: list[str] = []
        values: list[object] = []
        if self.ids:
            parts.append(f"id IN ({','.join('?' * len(self.ids))})")
            values += self.ids
        if self.after:
            parts.append("id > ?")
            values.append(self.after)
        if self.stream is not None:
            parts.append("(stream = ? OR substr(stream, 1, ?) = ?)")
            values += (self.stream, len(self.stream) + 1, self.stream + "/")
        for column, value in (("stage", self.stage), ("reason", self.reason)):
            if value is not None:
                parts.append(f"{column} = ?")
                values.append(value)
        return " AND ".join(parts) or "true", values


@dataclass(frozen=True)
class Cause:
    """Entries that failed alike.

    Attributes:
        stream, stage, reason, state: what they have in common.
        count: how many.
        first_seen_us, last_seen_us: of all of them, microseconds since 1970 UTC.
        example: number of the newest.
        message: its message.
    """

    stream: str
    stage: str
    reason: str
    state: State
    count: int
    first_seen_us: int
    last_seen_us: int
    example: int
    message: str


def _together(one: Cause | None, other: Cause) -> Cause:
    """Two counts of one cause, the later one's example."""
    if one is None:
        return other
    seen = min(one.first_seen_us, other.first_seen_us), max(one.last_seen_us, other.last_seen_us)
    return replace(other, count=one.count + other.count, first_seen_us=seen[0], last_seen_us=seen[1])


EMPTIED = "given up; its record made room"
"""Message of an entry that is remembered without its record."""
COUNTED_AT_ONCE = 20_000
"""Numbers of entries that are counted in one look."""


class Ledger:
    """The ledger over the state store's one connection. Writing methods run inside the caller's transaction.

    Args:
        connection: to the state store.
        made: the ledger is there already.
    """

    def __init__(self, connection: sqlite3.Connection, *, made: bool = False) -> None:
        self._connection = connection
        if not made:
            connection.executescript(DDL + TRIGGERS)

    def record(
        self, rejects: pa.RecordBatch, *, epoch: int, first: int, project: str, now_us: int,
        versions: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Enters `rejects` (`REJECT_SCHEMA`), numbered from `first` within `epoch`; those entered before stay as
        they are.

        Args:
            rejects: what could not go on.
            epoch: which met it.
            first: number of the first of them within the epoch.
            project: the project's name.
            now_us: the time.
            versions: by stream or model, the fingerprint of what could not take it.
        """
        known = versions or {}
        columns = [rejects.column(name).to_pylist() for name in _GIVEN]
        uids = [f"{epoch}:{number}" for number in range(first, first + rejects.num_rows)]
        of = [known.get(stream.partition("/")[0], "") for stream in columns[0]]
        same = [repeat(value) for value in (epoch, project, now_us, now_us)]
        names = ("uid", *_GIVEN, "version", "epoch", "project", "first_seen_us", "last_seen_us")
        self._connection.executemany(
            f"INSERT INTO rejects ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 constant
            " ON CONFLICT (uid) DO NOTHING",
            zip(uids, *columns, of, *same, strict=False),
        )

    def entries(
        self, states: Sequence[State] = ("open", "requested"), limit: int = 1000, choice: Choice | None = None
    ) -> list[Reject]:
        """Entries in these states, oldest first."""
        marks = ",".join("?" * len(states))
        condition, values = (choice or Choice()).condition()
        query = f"SELECT {_COLUMNS} FROM rejects WHERE state IN ({marks}) AND {condition} ORDER BY id LIMIT ?"  # noqa: S608
        return [Reject(*row) for row in self._connection.execute(query, (*states, *values, limit))]

    def each(self, states: Sequence[State], choice: Choice) -> Iterator[Reject]:
        """Entries in these states, oldest first, however many: some at a time."""
        marks = ",".join("?" * len(states))
        condition, values = choice.condition()
        query = (
            f"SELECT {_COLUMNS} FROM rejects WHERE state IN ({marks}) AND {condition} AND id > ? ORDER BY id LIMIT 1000"  # noqa: S608
        )
        last = 0
        while rows := self._connection.execute(query, (*states, *values, last)).fetchall():
            last = rows[-1][0]
            yield from (Reject(*row) for row in rows)

    def causes(self, states: Sequence[State] = ("open", "requested"), choice: Choice | None = None) -> list[Cause]:
        """Entries in these states by what they failed of, the most frequent first. They are counted some at a time, so
        that no commit of the running project waits for all of a large ledger to be read."""
        marks = ",".join("?" * len(states))
        chosen, found = choice or Choice(), dict[tuple[str, str, str, State], Cause]()
        condition, values = replace(chosen, after=0).condition()
        query = (
            "SELECT stream, stage, reason, state, count(*), min(first_seen_us), max(last_seen_us), max(id), '' FROM"  # noqa: S608
            " (SELECT id, stream, stage, reason, state, first_seen_us, last_seen_us FROM rejects NOT INDEXED"
            f" WHERE id > ? AND id <= ? AND state IN ({marks}) AND {condition}) GROUP BY stream, stage, reason, state"
        )
        last, (end,) = chosen.after, self._connection.execute("SELECT coalesce(max(id), 0) FROM rejects").fetchone()
        while last < end:
            for row in self._connection.execute(query, (last, last + COUNTED_AT_ONCE, *states, *values)).fetchall():
                found[row[:4]] = _together(found.get(row[:4]), Cause(*row))
            last += COUNTED_AT_ONCE
        message = "SELECT message FROM rejects WHERE id = ?"
        told = [
            replace(cause, message=(self._connection.execute(message, (cause.example,)).fetchone() or ("",))[0])
            for cause in found.values()
        ]
        return sorted(told, key=lambda cause: (-cause.count, cause.example))

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
        """Marks open entries to be replayed by the next epochs; returns how many."""
        return self._move(identifiers, "requested", ("open",), " AND stage != 'gap'")

    def discard(self, identifiers: Iterable[int]) -> int:
        """Gives up open entries, which stay in the ledger; returns how many."""
        return self._move(identifiers, "discarded", ("open", "requested"))

    def ask_replay_of(self, choice: Choice) -> int:
        """Marks all open entries that are meant to be replayed by the next epochs; returns how many."""
        return self._move_all(choice, "requested", ("open",), " AND stage != 'gap'")

    def discard_all(self, choice: Choice) -> int:
        """Gives up all open entries that are meant; returns how many."""
        return self._move_all(choice, "discarded", ("open", "requested"))

    def forget(self, before_us: int) -> int:
        """Removes settled entries that were last seen before that time, but for those that are needed still; returns
        how many. They still count as rejected."""
        return self._connection.execute(
            "DELETE FROM rejects WHERE state IN ('replayed', 'superseded', 'discarded') AND last_seen_us < ?"  # noqa: S608
            f" AND NOT ({_NEEDED})",
            (before_us,),
        ).rowcount

    def make_room(self, most_bytes: int) -> bool:
        """Whether the ledger holds less than so many bytes; if it does not, settled entries go, all of them, and of
        those given up that must be remembered their records."""
        if self.held_bytes() < most_bytes:
            return True
        self.forget(before_us=1 << 62)
        self._connection.execute(
            f"UPDATE rejects SET record = x'', message = ? WHERE {_NEEDED} AND length(record) > 0",  # noqa: S608
            (EMPTIED,),
        )
        return self.held_bytes() < most_bytes

    def full(self, most_bytes: int, where: str) -> UserError | None:
        """Why nothing more is taken that might be rejected; None if there is room, which settled entries may make. To
        be called outside of transactions.

        Args:
            most_bytes: `rejects: max_bytes`.
            where: what the rest waits in.
        """
        if self.held_bytes() < most_bytes:
            return None
        with transaction(self._connection):
            if self.make_room(most_bytes):
                return None
        return UserError(
            f"the ledger of rejects is full: {self.open_count()} open ones hold {self.held_bytes()} bytes, and"
            f" `rejects: max_bytes` is {most_bytes}; nothing was dropped, the rest waits in {where}",
            hint="headwater rejects ls --by-cause; then replay or discard them, or raise `rejects: max_bytes`",
        )

    def held_bytes(self) -> int:
        """Bytes of all entries: records, messages and keys."""
        return int(self._connection.execute("SELECT coalesce(sum(bytes), 0) FROM reject_counts").fetchone()[0])

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
            "SELECT stream, stage, sum(entries) FROM reject_counts WHERE state != 'replayed' GROUP BY stream, stage"
            " HAVING sum(entries) > 0"
        )
        return {(stream, stage): count for stream, stage, count in rows}

    def open_count(self) -> int:
        """Number of entries that wait for a decision or a replay."""
        query = "SELECT coalesce(sum(entries), 0) FROM reject_counts WHERE state IN ('open', 'requested')"
        return int(self._connection.execute(query).fetchone()[0])

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

    def _move_all(self, choice: Choice, state: State, of: Sequence[State], only: str = "") -> int:
        marks = ",".join("?" * len(of))
        condition, values = choice.condition()
        statement = f"UPDATE rejects SET state = ? WHERE state IN ({marks}) AND {condition}{only}"  # noqa: S608
        return self._connection.execute(statement, (state, *of, *values)).rowcount
