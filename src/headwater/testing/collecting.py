"""A destination in memory: takes what it is given, and fails as a test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from headwater.deliver.destination import Batch, Op, Outcomes, Send, Sync
from headwater.deliver.value_text import json_text
from headwater.errors import DestinationStopped, DestinationUnavailable

Row = dict[str, object]


@dataclass
class CollectingDestination:
    """Keeps rows by key, and every record that came.

    Attributes:
        exactly_once, wants_before, repeats_keys, send: see `Destination`.
        refuses: rows that it will not have.
        retries: rows for which it says that they may go later.
        down: nothing gets through: "" is up, "refused" does not answer, "busy" answers that all is to be retried.
        retry_after_s: what it asks for with retries.
        rows: by key, the row; of a sync without a key, by idempotency key.
        received: every record that it took, in order: op, row, idempotency key.
        calls: sizes of the calls.
        befores: the rows as they were, of those received.
    """

    exactly_once: bool = True
    wants_before: bool = False
    repeats_keys: bool = False
    send: Send = "every"
    refuses: Callable[[Row], bool] = lambda row: False
    retries: Callable[[Row], bool] = lambda row: False
    down: str = ""
    retry_after_s: float | None = None
    rows: dict[str, Row] = field(default_factory=dict)
    received: list[tuple[Op, Row, str]] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    befores: list[object] = field(default_factory=list)
    receipts: dict[tuple[str, str], str] = field(default_factory=dict)
    turn: int = 0

    def check(self, sync: Sync) -> list[str]:
        """See `Destination.check`."""
        return [f"collects the changes of {sync.model}"]

    def open(self, sync: Sync) -> _Session:
        """See `Destination.open`."""
        if self.down == "refused":
            raise DestinationUnavailable("nobody is at home")
        self.turn += 1
        return _Session(self, sync, self.turn)

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        """See `Destination.preview`."""
        return [f"{Op(op).name} {json_text(row)}" for op, row in zip(batch.op, batch.rows.to_pylist(), strict=True)]


@dataclass
class _Session:
    destination: CollectingDestination
    sync: Sync
    turn: int

    def held(self) -> str | None:
        told = self.destination.receipts.get((self.sync.id, self.sync.outbox), "")
        return told if self.destination.exactly_once else None

    def deliver(self, batch: Batch) -> Outcomes:
        there = self.destination
        if there.down == "refused":
            raise DestinationUnavailable("nobody is at home")
        if there.turn != self.turn:
            raise DestinationStopped("another has taken over")
        there.calls.append(len(batch))
        rows, names = batch.rows.to_pylist(), batch.idempotency_keys(self.sync)
        refused: dict[int, str] = {}
        retry: dict[int, str] = {}
        waits: set[str] = set()
        for at, row in enumerate(rows):
            key = self._key(row, names[at])
            if there.down == "busy" or there.retries(row) or key in waits:
                retry[at] = "come again later"
                waits.add(key)
            elif there.refuses(row):
                refused[at] = "not this one"
                waits.add(key)
            else:
                self._take(batch, at, row, key, names[at])
        outcomes = Outcomes.of(len(batch), refused, retry, retry_after_s=there.retry_after_s if retry else None)
        if there.exactly_once:
            there.receipts[self.sync.id, self.sync.outbox] = batch.receipt(outcomes)
        return outcomes

    def close(self) -> None:
        """Nothing to give up."""

    def _take(self, batch: Batch, at: int, row: Row, key: str, name: str) -> None:
        there, op = self.destination, Op(batch.op[at])
        there.received.append((op, row, name))
        there.befores.append(batch.before[at].as_py() if batch.before is not None else None)
        if op == Op.DELETE:
            there.rows.pop(key, None)
        else:
            there.rows[key] = row

    def _key(self, row: Row, name: str) -> str:
        return json.dumps([row[column] for column in self.sync.key], default=str) if self.sync.key else name
