"""A sync without a project: an outbox that a test fills, and a delivery that can be killed between any two calls."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.clock import SystemClock
from headwater.deliver.changes import changes_of
from headwater.deliver.deliveries import Deliveries
from headwater.deliver.delivery import Delivery, How, Picture
from headwater.deliver.destination import Batch, Destination, Outcomes, Send, Session, Sync
from headwater.deliver.ledger import NoLedger, Parked
from headwater.deliver.outbox import Outbox, current
from headwater.errors import HeadwaterError, UserError

Row = Mapping[str, object]
STEPS_MOST = 20_000


class Killed(BaseException):
    """The process would have died here."""


class Hurried(SystemClock):
    """The machine's clock, which waits take no time of: it is put on by as much."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def now_us(self) -> int:
        """See `Clock.now_us`."""
        return super().now_us() + int(self._ahead_s * 1e6)

    def monotonic_s(self) -> float:
        """See `Clock.monotonic_s`."""
        return super().monotonic_s() + self._ahead_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See `Clock.wait`."""
        self._ahead_s += timeout_s
        return event.is_set()


class RememberingLedger(NoLedger):
    """A ledger of rejects in memory: the open entries by `seq`; it is full with `most` of them."""

    def __init__(self) -> None:
        self.most = 1 << 40
        self.open: dict[int, Parked] = {}
        self.ended: dict[int, str] = {}

    def park(self, records: Sequence[Parked]) -> None:
        """See `Ledger.park`."""
        self.open |= {one.seq: one for one in records}

    def full(self) -> HeadwaterError | None:
        """See `Ledger.full`."""
        return UserError("the ledger is full") if len(self.open) >= self.most else None

    def delivered(self, seqs: object) -> None:
        """See `Ledger.delivered`."""
        self._end(seqs, "replayed")

    def superseded(self, seqs: object) -> None:
        """See `Ledger.superseded`."""
        self._end(seqs, "superseded")

    def discarded(self, seqs: object) -> None:
        """See `Ledger.discarded`."""
        self._end(seqs, "discarded")

    def keep_open(self, seqs: object) -> None:
        """See `Ledger.keep_open`."""
        assert isinstance(seqs, list)
        self._end([seq for seq in self.open if seq not in seqs], "replayed")

    def _end(self, seqs: object, how: str) -> None:
        assert isinstance(seqs, list)
        for seq in seqs:
            if self.open.pop(seq, None) is not None:
                self.ended[seq] = how


class SyncUnderTest:
    """One sync in a folder.

    Args:
        folder: its files.
        destination: where to.
        columns: of the model.
        key: of the sync.
        batch: most records of a call.
        send: see `Send`; the destination's own if not given.
        attempts: see `How`.
        name: of the sync.

    Attributes:
        kill: at which call, from 1, the process dies, and whether before or after the destination has taken it.
        calls: so many calls were made.
    """

    def __init__(
        self, folder: Path, destination: Destination, columns: pa.Schema, key: tuple[str, ...] = (), *,
        batch: int = 100, send: Send | None = None, attempts: int = 4, name: str = "test",
    ) -> None:  # fmt: skip
        self.destination, self.columns, self.key = destination, columns, key
        self.clock = Hurried()
        self.ledger = RememberingLedger()
        self.send = send
        self.kill: tuple[int, str] | None = None
        self.calls = 0
        self._folder, self._name = folder, name
        self._how = How(batch_records=batch, send=send, attempts=attempts, keep_s=0.0)
        found = current(folder)
        self.outbox = Outbox(folder, found, 1 << 16, self.clock) if found else self._new_outbox()
        self._epoch = max(self.outbox.committed, 0)
        self._store: Deliveries | None = None
        self._delivery: Delivery | None = None

    @property
    def sync(self) -> Sync:
        """What the destination is told."""
        return Sync("testing", self._name, self.outbox.of.id, "model", self.columns, self.key, self._folder, self.clock)

    def hand(self, added: Sequence[Row] = (), removed: Sequence[Row] = ()) -> None:
        """Hands over an epoch: rows that appear and rows that go."""
        self._epoch += 1
        rows = pa.Table.from_pylist([*removed, *added], schema=self.columns)
        weights = np.array([-1] * len(removed) + [1] * len(added), np.int64)
        delta = rows.append_column(pa.field(WEIGHT, pa.int64()), pa.array(weights))
        changes = changes_of(delta, self.key, with_before=self.destination.wants_before)
        self.outbox.commit(self._epoch, changes)

    def run(self, *, steps: int = STEPS_MOST, until_trouble: bool = False) -> Picture:
        """Delivers until all that can be is, and says where it stands then.

        Raises:
            Killed: as `kill` says; `run` again begins anew from what is durable.
        """
        delivery = self._open()
        try:
            for _ in range(steps):
                wait = delivery.step()
                if delivery.caught_up or (until_trouble and delivery.trouble is not None):
                    break
                if wait:
                    self.clock.wait(threading.Event(), wait)
            return delivery.picture()
        except Killed:
            self.restart()
            raise

    def run_on(self, kill: tuple[int, str]) -> bool:
        """Delivers, and dies at that call; whether it came there."""
        self.kill, self.calls = kill, 0
        try:
            self.run()
        except Killed:
            return True
        finally:
            self.kill = None
        return False

    def restart(self) -> None:
        """Drops everything that is not durable, as a new process would."""
        if self._delivery is not None and self._store is not None:
            self._delivery.close()
            self._store.close()
        self._delivery = None

    def ask(self, verb: str, seqs: Sequence[int] | None = None) -> None:
        """What a user does by `headwater syncs`."""
        store = Deliveries(self._folder)
        store.ask("retry" if verb == "retry" else "discard", seqs)
        store.close()
        self.clock.wait(threading.Event(), 1.0)

    def close(self) -> None:
        """Ends it."""
        self.restart()
        self.outbox.close()

    def _open(self) -> Delivery:
        if self._delivery is None:
            self._store = Deliveries(self._folder)
            self._delivery = Delivery(
                self.sync, self._how, _Killing(self.destination, self), self.outbox, self._store, self.ledger,
                random.Random(1),
            )  # fmt: skip
        return self._delivery

    def _new_outbox(self) -> Outbox:
        made = Outbox.anew(self._folder, "model", self.key, self.columns, 1 << 16, self.clock)
        made.commit(0, changes_of(self.columns.empty_table().append_column(WEIGHT, pa.array([], pa.int64())), self.key))
        made.takes_over()
        return made


class _Killing:
    """A destination whose process dies when the test says so."""

    def __init__(self, inner: Destination, bench: SyncUnderTest) -> None:
        self._inner, self._bench = inner, bench
        self.exactly_once, self.wants_before = inner.exactly_once, inner.wants_before
        self.repeats_keys, self.send = inner.repeats_keys, inner.send

    def check(self, sync: Sync) -> list[str]:
        return self._inner.check(sync)

    def open(self, sync: Sync) -> Session:
        return _KillingSession(self._inner.open(sync), self._bench)

    def preview(self, sync: Sync, batch: Batch) -> list[str]:
        return self._inner.preview(sync, batch)


class _KillingSession:
    def __init__(self, inner: Session, bench: SyncUnderTest) -> None:
        self._inner, self._bench = inner, bench

    def held(self) -> str | None:
        return self._inner.held()

    def deliver(self, batch: Batch) -> Outcomes:
        bench = self._bench
        bench.calls += 1
        if bench.kill == (bench.calls, "before"):
            _die()
        outcomes = self._inner.deliver(batch)
        if bench.kill == (bench.calls, "after"):
            _die()
        return outcomes

    def close(self) -> None:
        self._inner.close()


def _die() -> NoReturn:
    raise Killed
