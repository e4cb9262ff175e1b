"""The parked records of a sync in the ledger of rejects (stage `delivery`, stream `sync:NAME`).

The delivery job's thread has a connection of its own. An entry's uid names sync, outbox and record, so that a
record which is parked again after a crash, or refused again, is the same entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from headwater import sqlite_file
from headwater.clock import Clock
from headwater.deliver.ledger import Parked
from headwater.errors import HeadwaterError
from headwater.quality import rejects
from headwater.sqlite_file import storage_errors

STAGE = "delivery"
_WRITE = "write the ledger of rejects"


def stream_of(sync: str) -> str:
    """What the ledger calls a sync."""
    return f"sync:{sync}"


class DeliveryLedger:
    """See `headwater.deliver.ledger.Ledger`.

    Args:
        state: the state folder; its state store must be there already.
        project: the project's name.
        sync: the sync's name.
        outbox: id of its outbox.
        version: fingerprint of the model.
        most_bytes: `rejects: max_bytes`, which all of the project's rejects share.
    """

    def __init__(
        self, state: Path, project: str, sync: str, outbox: str, version: str, clock: Clock, most_bytes: int
    ) -> None:
        self._project, self._stream, self._version, self._clock = project, stream_of(sync), version, clock
        self._most_bytes = most_bytes
        self._prefix = f"{self._stream}:{outbox}:"
        with storage_errors(_WRITE):
            self._connection = sqlite_file.open_to_write(state / "state.db")
        self._all = rejects.Ledger(self._connection, made=True)

    def park(self, records: Sequence[Parked]) -> None:
        """See `Ledger.park`."""
        now = self._clock.now_us()
        rows = [
            (f"{self._prefix}{one.seq}", one.epoch, self._stream, STAGE, one.reason, one.message, str(one.seq), one.key,
             one.record, one.weight, self._project, now, now, self._version)
            for one in records
        ]  # fmt: skip
        self._write(
            "INSERT INTO rejects (uid, epoch, stream, stage, reason, message, position, key, record, weight, project,"
            " first_seen_us, last_seen_us, version) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (uid) DO UPDATE SET state = 'open', attempts = attempts + 1, message = excluded.message,"
            " reason = excluded.reason, record = excluded.record, last_seen_us = excluded.last_seen_us",
            rows,
        )

    def delivered(self, seqs: Iterable[int]) -> None:
        """See `Ledger.delivered`."""
        self._move(seqs, "replayed")

    def superseded(self, seqs: Iterable[int]) -> None:
        """See `Ledger.superseded`."""
        self._move(seqs, "superseded")

    def discarded(self, seqs: Iterable[int]) -> None:
        """See `Ledger.discarded`."""
        self._move(seqs, "discarded")

    def keep_open(self, seqs: Iterable[int]) -> None:
        """See `Ledger.keep_open`. Entries of a former outbox are superseded by the new one."""
        query = "SELECT uid FROM rejects WHERE stage = ? AND stream = ? AND state IN ('open', 'requested')"
        with storage_errors(_WRITE):
            waiting = [uid for (uid,) in self._connection.execute(query, (STAGE, self._stream))]
        kept = {f"{self._prefix}{seq}" for seq in seqs}
        gone = [uid for uid in waiting if uid not in kept]
        self._update([("replayed" if uid.startswith(self._prefix) else "superseded", uid) for uid in gone])

    def full(self) -> HeadwaterError | None:
        """See `Ledger.full`."""
        with storage_errors(_WRITE):
            return self._all.full(self._most_bytes, "the sync's outbox")

    def asked(self) -> tuple[list[int], list[int]]:
        """See `Ledger.asked`."""
        query = "SELECT position, state, uid FROM rejects WHERE stage = ? AND stream = ? AND state IN (?, ?)"
        with storage_errors(_WRITE):
            rows = self._connection.execute(query, (STAGE, self._stream, "requested", "discarded")).fetchall()
        ours = [(int(seq), state) for seq, state, uid in rows if uid.startswith(self._prefix)]
        return [seq for seq, state in ours if state == "requested"], [
            seq for seq, state in ours if state == "discarded"
        ]

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def _move(self, seqs: Iterable[int], state: str) -> None:
        self._update([(state, f"{self._prefix}{seq}") for seq in seqs])

    def _update(self, changes: Sequence[tuple[str, str]]) -> None:
        self._write("UPDATE rejects SET state = ? WHERE uid = ? AND state IN ('open', 'requested')", changes)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        if not rows:
            return
        with storage_errors(_WRITE), sqlite_file.transaction(self._connection):
            self._connection.executemany(statement, rows)
