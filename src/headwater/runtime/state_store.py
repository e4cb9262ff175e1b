"""What the runtime must remember, in one SQLite file: epochs planned, checkpoints made, rejects.

The runtime has one connection (`headwater.sqlite_file`). Other processes (`headwater rejects`) open it too, each with
one connection, which the rollback journal's locks make safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headwater import sqlite_file
from headwater.errors import UserError
from headwater.quality.certificates import Certificates
from headwater.quality.check_results import CheckResults
from headwater.quality.rejects import Ledger
from headwater.quality.withheld import WithheldRows
from headwater.sqlite_file import storage_errors

FORMAT = 3

_DDL = """
CREATE TABLE IF NOT EXISTS epochs (
    epoch INTEGER PRIMARY KEY, plan TEXT NOT NULL, done_us INTEGER
);
CREATE TABLE IF NOT EXISTS checkpoints (
    epoch INTEGER PRIMARY KEY, contents TEXT NOT NULL, made_us INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class Replay:
    """Rejects that an epoch takes in once more.

    `stream` is where their rows enter ("orders", or "model/input"); `rows` an Arrow IPC stream in base64: log rows for
    decode rejects, delta rows, one for each of `rejects`, otherwise. They stand in the plan so that the epoch is the
    same each time it runs.
    """

    rejects: tuple[int, ...]
    stage: str
    stream: str
    rows: str

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Replay:
        """Back from JSON."""
        return cls(**{**told, "rejects": tuple(told["rejects"])})


@dataclass(frozen=True)
class EpochPlan:
    """What an epoch will take in; durable before any of its effects, so that it can be run again the same.

    Attributes:
        epoch: its number; epochs have no gaps.
        ranges: by source, the log offsets [start, end).
        models: fingerprints of the models that take part; one changed since sits out when the epoch runs again.
        rebuild: tables whose rows are replaced by a build from the whole current input in this epoch.
        snapshotting: sources whose initial snapshot was not complete; their watermarks stand still.
        replays: rejects taken in again.
        idle: streams that nothing has come from for so long that they do not hold event time back.
        swapped: models, of those to rebuild, whose views were made beside the former ones and know all that came before
            this epoch.
    """

    epoch: int
    ranges: Mapping[str, tuple[int, int]]
    models: Mapping[str, str] = field(default_factory=dict)
    rebuild: tuple[str, ...] = ()
    snapshotting: tuple[str, ...] = ()
    replays: tuple[Replay, ...] = ()
    idle: tuple[str, ...] = ()
    swapped: tuple[str, ...] = ()

    @property
    def rebuild_of_streams(self) -> tuple[str, ...]:
        """Tables to be rebuilt from streams. One of the name of a model of that time was built from the model, whatever
        is called so now."""
        return tuple(name for name in self.rebuild if name not in self.models)

    def to_json(self) -> str:
        """As kept in the state store."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "epoch"})

    @classmethod
    def from_json(cls, epoch: int, text: str) -> EpochPlan:
        """Back from `to_json`."""
        plan = json.loads(text)
        ranges = {source: (span[0], span[1]) for source, span in plan["ranges"].items()}
        return cls(
            epoch,
            ranges,
            models=plan["models"],
            rebuild=tuple(plan["rebuild"]),
            snapshotting=tuple(plan["snapshotting"]),
            replays=tuple(map(Replay.from_json, plan["replays"])),
            idle=tuple(plan.get("idle", ())),
            swapped=tuple(plan.get("swapped", ())),
        )


@dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint holds besides the state files in its folder.

    Attributes:
        epoch: the epoch whose effects the state includes, all of them.
        offsets: by source, the log offset to go on from.
        models: by model, the fingerprint its state was made with.
        watermarks: by stream, latest event time less the delay, in microseconds since 1970 UTC.
        watermark_settings: by stream, the column and delay that its watermark was made with.
        landed: by stream, changes taken in.
        rows: by table, its number of rows.
        refed: by model, rejects fed to it again.
        sources: by stream, the source that fed it.
        tables: by table kept up to date, the epoch that it held, 0 if none: it must not hold an older one later.
        syncs: by sync, its outbox and the last epoch that this held something of, "ID:EPOCH".
        checks: by check, what it states and how many rows fail (`CheckBoard.record`).
        gates: by stream and model with checks, the rows that were set aside.
        swapping: models whose views are new and up to date, with their fingerprints; the next epoch puts their rows in
            the place of what their tables hold.
    """

    epoch: int
    offsets: Mapping[str, int]
    models: Mapping[str, str] = field(default_factory=dict)
    watermarks: Mapping[str, int] = field(default_factory=dict)
    watermark_settings: Mapping[str, str] = field(default_factory=dict)
    landed: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    refed: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    syncs: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, int | str]] = field(default_factory=dict)
    gates: Mapping[str, Mapping[str, int | str]] = field(default_factory=dict)
    swapping: Mapping[str, str] = field(default_factory=dict)


class StateStore:
    """The open state store of a running project.

    Args:
        folder: the state folder; made if it is not there.

    Raises:
        StorageFailed: the file cannot be opened or written.
        UserError: it was written by a version of another format.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "state.db"
        with storage_errors("open the state store"):
            self._connection = sqlite_file.open_to_write(self.path)
            self._check_format()
            self._connection.executescript(_DDL)
            self.ledger = Ledger(self._connection)
            self.certificates = Certificates(self._connection)
            self.checks = CheckResults(self._connection)
            self.withheld = WithheldRows(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside becomes durable at once, or not at all.

        Raises:
            StorageFailed: it could not be made durable, and was not.
        """
        with storage_errors("write the state store"), sqlite_file.transaction(self._connection):
            yield

    def plan(self, plan: EpochPlan) -> None:
        """Makes a plan durable."""
        with self.transaction():
            self._connection.execute("INSERT INTO epochs (epoch, plan) VALUES (?, ?)", (plan.epoch, plan.to_json()))

    def mark_done(self, epoch: int, now_us: int) -> None:
        """Notes, inside a transaction, that every effect of the epoch is committed."""
        self._connection.execute("UPDATE epochs SET done_us = ? WHERE epoch = ?", (now_us, epoch))

    def withdraw(self, epoch: int) -> None:
        """Strikes, inside a transaction, the plan of an epoch that has had no effect anywhere."""
        self._connection.execute("DELETE FROM epochs WHERE epoch = ? AND done_us IS NULL", (epoch,))

    def is_done(self, epoch: int) -> bool:
        """Whether every effect of the epoch was committed."""
        query = "SELECT 1 FROM epochs WHERE epoch = ? AND done_us IS NOT NULL"
        return self._connection.execute(query, (epoch,)).fetchone() is not None

    def last_done(self) -> tuple[int, Mapping[str, int]]:
        """The last epoch of which every effect is committed, and by source the log offset that it goes up to; 0 if
        there is none yet."""
        query = "SELECT epoch, plan FROM epochs WHERE done_us IS NOT NULL ORDER BY epoch DESC LIMIT 1"
        row = self._connection.execute(query).fetchone()
        checkpoint = next(iter(self.checkpoints()), CheckpointRecord(0, {}))
        if row is None or row[0] <= checkpoint.epoch:
            return checkpoint.epoch, checkpoint.offsets
        plan = EpochPlan.from_json(*row)
        return plan.epoch, {**checkpoint.offsets, **{source: end for source, (_, end) in plan.ranges.items()}}

    def plans_after(self, epoch: int) -> list[EpochPlan]:
        """The plans of the epochs above `epoch`, in order."""
        rows = self._connection.execute("SELECT epoch, plan FROM epochs WHERE epoch > ? ORDER BY epoch", (epoch,))
        return [EpochPlan.from_json(number, text) for number, text in rows]

    def checkpoints(self) -> list[CheckpointRecord]:
        """Checkpoints made, newest first."""
        rows = self._connection.execute("SELECT epoch, contents FROM checkpoints ORDER BY epoch DESC")
        return [CheckpointRecord(epoch=epoch, **json.loads(text)) for epoch, text in rows]

    def add_checkpoint(self, record: CheckpointRecord, *, keep: int, now_us: int) -> list[CheckpointRecord]:
        """Enters a checkpoint, forgets all but the newest `keep` and the epochs below those; returns those kept."""
        contents = {name: dict(value) for name, value in vars(record).items() if name != "epoch"}
        with self.transaction():
            self._connection.execute(
                "INSERT OR REPLACE INTO checkpoints (epoch, contents, made_us) VALUES (?, ?, ?)",
                (record.epoch, json.dumps(contents), now_us),
            )
            kept = self.checkpoints()[:keep]
            self._connection.execute("DELETE FROM checkpoints WHERE epoch < ?", (kept[-1].epoch,))
            self._connection.execute("DELETE FROM epochs WHERE epoch <= ?", (kept[-1].epoch,))
        return kept

    def forget_checkpoints_after(self, epoch: int) -> None:
        """Strikes checkpoints that could not be read, so that they are not kept in place of one that can."""
        with self.transaction():
            self._connection.execute("DELETE FROM checkpoints WHERE epoch > ?", (epoch,))

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def _check_format(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, FORMAT):
            raise UserError(
                f"the state in {self.path.parent} has format {version}, this version reads format {FORMAT}",
                hint="run the Headwater version that wrote it, or move the state folder away to build anew",
            )
        self._connection.execute(f"PRAGMA user_version = {FORMAT}")
