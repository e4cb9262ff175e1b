"""The contract of a destination: what a foreign system must do to be told of a model's changes.

A *sync* sends the changes of one model to one *destination*. Its changes lie in a durable outbox, numbered (`seq`); a
thread of its own takes them from there in *calls* and hands them to a `Session`. Who implements this seam decides how a
batch is written and what became of each record; batching, order per key, rate limits, back-off, parking and the
accounts are `headwater.deliver.delivery`'s.

What a destination may rely on:

- One thread uses a session. Calls are numbered (`Batch.call`), ascending, and the outcomes of a call are durable with
  us before the next call is made: a destination that can say what it holds needs to keep its last receipt only.
- A key is at most once in a batch, unless the destination `repeats_keys`. Changes of one key come in order; a later one
  never overtakes one that failed.
- After a crash the records of the call that was under way are sent again, unless `Session.held` says that they are
  held. So a destination that cannot say it gets these records twice, with the same idempotency keys
  (`Batch.idempotency_keys`), and nothing else twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.clock import Clock, SystemClock
from headwater.formats.schema_source import SchemaSource

Send = Literal["newest", "every"]
"""newest: of several changes of a key that wait, the newest is sent, and it may overtake one that failed. every: each
change is sent, in order."""


class Op(IntEnum):
    """What a record asks for. A sync with a key has UPSERT and DELETE, one without has INSERT."""

    UPSERT = 0
    DELETE = 1
    INSERT = 2


class State(IntEnum):
    """What became of a record in a call."""

    DELIVERED = 0
    RETRY = 1
    REFUSED = 2


@dataclass(frozen=True)
class Sync:
    """What a destination is told of the sync that opens it.

    Attributes:
        project: the project's name.
        name: the sync's name in the project.
        outbox: id of the outbox; another one begins to number anew (state folder made anew, full resync).
        model: the model's name.
        columns: the model's columns. They may change; a batch's `rows` say what they are.
        key: names of the columns that identify a record; empty if it only has INSERT.
        folder: the project's folder, which relative paths are counted from.
        clock: time.
        schemas: the project's own registry, for formats whose messages name their schemas; None where there is none.
    """

    project: str
    name: str
    outbox: str
    model: str
    columns: pa.Schema
    key: tuple[str, ...] = ()
    folder: Path = field(default_factory=Path)
    clock: Clock = field(default_factory=SystemClock)
    schemas: SchemaSource | None = None

    @property
    def id(self) -> str:
        """What the sync is called at the destination: unique there."""
        return f"{self.project}/{self.name}"


@dataclass(frozen=True)
class Batch:
    """Records of one call, in order of `seq`.

    Attributes:
        call: number of the call.
        rows: the model's columns. Of a DELETE the row that went, whole.
        op: uint8 [row], `Op`.
        seq: int64 [row], number in the outbox: unique, ascending.
        epoch: int64 [row], the epoch that made the change.
        before: struct of the model's columns [row]: the row as it was, null where there was none or it is not known;
            None unless the destination `wants_before`.
    """

    call: int
    rows: pa.Table
    op: NDArray[np.uint8]
    seq: NDArray[np.int64]
    epoch: NDArray[np.int64]
    before: pa.StructArray | None = None

    def __len__(self) -> int:
        return len(self.seq)

    def idempotency_keys(self, sync: Sync) -> list[str]:
        """A text per record that is the same whenever it is sent, and no other record's."""
        return [f"{sync.id}:{sync.outbox}:{epoch}:{seq}" for epoch, seq in zip(self.epoch, self.seq, strict=True)]

    def receipt(self, outcomes: Outcomes) -> str:
        """What an `exactly_once` destination stores in the transaction of this call's records, as it is: which records
        it delivered and refused, in a few bytes (JSON), whatever was left to be retried."""
        return Receipt.of(self, outcomes).to_text()

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Batch:
        """The batch of some of the records, by their places, ascending."""
        which = np.asarray(rows, np.int64)
        before = self.before.take(pa.array(which)) if self.before is not None else None
        taken = self.rows.take(pa.array(which))
        return Batch(self.call, taken, self.op[which], self.seq[which], self.epoch[which], before)


@dataclass(frozen=True)
class Outcomes:
    """What became of each record of a call.

    Attributes:
        state: uint8 [row], `State`. RETRY: it may pass (a 503, a deadlock), try again later; the key's later changes
            wait. REFUSED: trying again is no help before somebody changes something; it is parked, whole.
        reasons: by row, why it was not delivered, in a sentence without secrets.
        retry_after_s: how long the destination asked to be left alone (`Retry-After`); None if it did not.
    """

    state: NDArray[np.uint8]
    reasons: Mapping[int, str] = field(default_factory=dict)
    retry_after_s: float | None = None

    @classmethod
    def delivered(cls, count: int) -> Outcomes:
        """All were."""
        return cls(np.zeros(count, np.uint8))

    @classmethod
    def of(
        cls, count: int, refused: Mapping[int, str], retry: Mapping[int, str] | None = None, *,
        retry_after_s: float | None = None,
    ) -> Outcomes:  # fmt: skip
        """All were delivered but for these, by row, with why."""
        state = np.zeros(count, np.uint8)
        state[list(refused)] = State.REFUSED
        state[list(retry or {})] = State.RETRY
        return cls(state, {**refused, **(retry or {})}, retry_after_s)


@dataclass(frozen=True)
class Receipt:
    """What a destination says of the last call that it holds.

    Attributes:
        call: the call's number.
        delivered: int64, ascending, by `seq`.
        refused: by `seq`, why.
    """

    call: int
    delivered: NDArray[np.int64]
    refused: Mapping[int, str]

    @classmethod
    def of(cls, batch: Batch, outcomes: Outcomes) -> Receipt:
        """Of a call with these outcomes."""
        refused = np.flatnonzero(outcomes.state == State.REFUSED)
        reasons = {int(batch.seq[at]): outcomes.reasons.get(int(at), "") for at in refused}
        return cls(batch.call, batch.seq[outcomes.state == State.DELIVERED], reasons)

    def to_text(self) -> str:
        """As JSON; consecutive numbers as one range."""
        breaks = np.flatnonzero(np.diff(self.delivered) != 1) + 1
        spans = [[int(run[0]), int(run[-1])] for run in np.split(self.delivered, breaks) if len(run)]
        return json.dumps({"v": 1, "call": self.call, "delivered": spans, "refused": self.refused})

    @classmethod
    def from_text(cls, text: str) -> Receipt:
        """Back from `to_text`.

        Raises:
            ValueError: it is none.
        """
        try:
            told = json.loads(text)
            runs = [np.arange(first, last + 1, dtype=np.int64) for first, last in told["delivered"]]
            refused = {int(seq): str(why) for seq, why in told["refused"].items()}
            return cls(int(told["call"]), np.concatenate([np.zeros(0, np.int64), *runs]), refused)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a receipt: {error}") from error


class Session(Protocol):
    """One open connection of a sync to its destination, used by one thread."""

    def held(self) -> str | None:
        """The last receipt (`Batch.receipt`) that the destination holds, read from the destination itself; "" if it
        holds none; None if it cannot say.

        Asked once, after opening. A destination that answers is `exactly_once`: it stores each call's receipt in place
        of the one before, in the same transaction as the call's records.
        """

    def deliver(self, batch: Batch) -> Outcomes:
        """Hands the records over, and returns what became of each. When it returns, what is said to be delivered is
        durable there.

        Raises:
            DestinationUnavailable: the destination as a whole does not answer, or it is not known whether the call is
                held. The session is closed, another opened later, and nothing is held against the records.
            DestinationStopped: it cannot go on without a decision of the user's.
        """

    def close(self) -> None:
        """Gives up the connection. May be called twice."""


class Destination(Protocol):
    """A configured destination; made of its settings, `make(settings)`, nothing connected yet.

    Attributes:
        exactly_once: a session can say which call is held.
        wants_before: batches are to bring the rows as they were.
        repeats_keys: a batch may hold several changes of a key, in order; if one is not delivered, the destination
            gives later ones of its key in the batch RETRY.
        send: what is best for it if the settings do not say.
    """

    exactly_once: bool
    wants_before: bool
    repeats_keys: bool
    send: Send

    def check(self, sync: Sync) -> list[str]:
        """Looks whether the sync can work, and returns what opening it will do, a sentence each.

        Raises:
            DestinationStopped: it cannot; the message says why, and the hint what mends it.
            DestinationUnavailable: it does not answer.
        """

    def open(self, sync: Sync) -> Session:
        """Connects. Takes the sync over from whoever else has it open (a process thought dead).

        Raises:
            DestinationStopped, DestinationUnavailable: as `check`.
        """

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """What would be sent for each record, for people; nothing is connected."""
