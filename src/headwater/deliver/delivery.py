"""From the outbox to the destination: batches, order per key, what became of each record, waits, parking, accounts."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np

from headwater import failpoint
from headwater.deliver.deliveries import Deliveries, Waiting
from headwater.deliver.destination import Destination, Outcomes, Receipt, Send, Session, State, Sync
from headwater.deliver.ledger import Ledger, Parked
from headwater.deliver.line import Line
from headwater.deliver.outbox import Outbox
from headwater.deliver.pace import Pace
from headwater.deliver.record import key_texts, record_bytes
from headwater.deliver.resume import take_receipt
from headwater.deliver.selection import Selection, Selector
from headwater.errors import DestinationStopped, DestinationUnavailable, HeadwaterError, InvariantBroken

LOOK_S = 0.25
"""Longest wait between two looks for what users ask for."""
ASKED_S = 1.0
"""Time between two looks into the ledger of rejects."""
IDLE_S = 0.05
RETAIN_S = 2.0


@dataclass(frozen=True)
class How:
    """How a sync delivers; see `headwater.project.settings.SyncSection`."""

    batch_records: int = 1000
    records_per_second: float | None = None
    attempts: int = 8
    first_wait_s: float = 0.2
    longest_wait_s: float = 300.0
    send: Send | None = None
    keep_s: float = 3600.0
    keep_bytes: int = 256 << 20


@dataclass(frozen=True)
class Picture:
    """Where a sync stands; other threads may read it.

    Attributes:
        handed: records handed over since the outbox began.
        delivered, superseded, discarded: so many of them are done with.
        parked: wait for a decision. pending: all others; of these, `failed` are tried again, and `queued` wait behind
            an earlier change of their key.
        oldest_us: when the oldest record that has not been tried was handed over; None if there is none.
        trouble: why nothing gets through, if so.
    """

    handed: int = 0
    delivered: int = 0
    superseded: int = 0
    discarded: int = 0
    parked: int = 0
    pending: int = 0
    failed: int = 0
    queued: int = 0
    oldest_us: int | None = None
    paused: bool = False
    trouble: str = ""

    @property
    def holds(self) -> bool:
        """Whether it adds up."""
        return self.handed == self.delivered + self.superseded + self.discarded + self.parked + self.pending


@dataclass
class _Noted:
    """What the outcomes of a call mean."""

    delivered: list[int] = field(default_factory=list)
    put: list[Waiting] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)


class Delivery:
    """Delivers what lies in one outbox; used by one thread.

    Args:
        sync: what the destination is told.
        how: settings.
        destination: where to.
        outbox: where from.
        store: how far it got.
        ledger: takes what is parked.
        chance: for the waits.
    """

    def __init__(
        self, sync: Sync, how: How, destination: Destination, outbox: Outbox, store: Deliveries, ledger: Ledger,
        chance: random.Random | None = None,
    ) -> None:  # fmt: skip
        self._sync, self._how, self._destination, self._outbox = sync, how, destination, outbox
        self._store, self._ledger, self._clock = store, ledger, sync.clock
        self._pace = Pace(
            sync.clock, how.first_wait_s, how.longest_wait_s, how.records_per_second, chance or random.Random()
        )
        self._session: Session | None = None
        if store.place().outbox != outbox.of.id:
            ledger.keep_open([])
            with store.transaction():
                store.begin(outbox.of.id)
        self._place = store.place()
        self._line = Line(store.waiting())
        ledger.keep_open(self._line.seqs("parked"))
        send: Send = how.send or destination.send
        self._selector = Selector(outbox, store, sync.key, send, destination.repeats_keys, destination.wants_before)
        self._newest = bool(sync.key) and send == "newest"
        self._looked_s = self._retained_s = self._asked_s = self._room_s = float("-inf")
        self._full: HeadwaterError | None = None
        self._turn_of_late = True
        self.trouble: HeadwaterError | None = None

    @property
    def outbox(self) -> Outbox:
        """Where it takes records from."""
        return self._outbox

    @property
    def caught_up(self) -> bool:
        """Whether all that can be delivered without another decision is."""
        return self._place.cursor >= self._outbox.head and not self._line.has_more()

    @property
    def held_up(self) -> HeadwaterError | None:
        """Why records that were not tried yet are not, with nothing else to do; None if that is not so."""
        return self._full if not self._line.has_more() else None

    @property
    def failures(self) -> int:
        """How often in a row nothing got through."""
        return self._pace.failures

    def step(self) -> float:
        """Does the next thing; returns for how many seconds there is nothing more to do.

        Raises:
            DestinationStopped: a decision is needed.
            StorageFailed: what became of a call could not be noted; open anew.
            InvariantBroken: the account is wrong.
        """
        self._take_up()
        if self._place.paused:
            return LOOK_S
        wait = self._pace.wait_s()
        if wait > 0:
            return min(wait, LOOK_S)
        try:
            session = self._opened()
            selection = self._select()
            if selection is None:
                self._retain()
                return IDLE_S
            outcomes = self._call(session, selection)
        except DestinationUnavailable as error:
            self.trouble = error
            self._hang_up()
            self._pace.down()
            return 0.0
        self._note(selection, outcomes)
        failpoint.reach("deliver.noted")
        self._retain()
        return 0.0

    def picture(self) -> Picture:
        """Where it stands."""
        place, counts = self._place, self._store.counts()
        head = self._outbox.head
        return Picture(
            handed=head,
            delivered=place.delivered,
            superseded=place.superseded,
            discarded=place.discarded,
            parked=counts["parked"],
            pending=head - place.cursor + counts["failed"] + counts["queued"],
            failed=counts["failed"],
            queued=counts["queued"],
            oldest_us=self._selector.oldest_us(place.cursor) if place.cursor < head else None,
            paused=place.paused,
            trouble=str(self.trouble) if self.trouble is not None else "",
        )

    def close(self) -> None:
        """Hangs up."""
        self._hang_up()

    def _opened(self) -> Session:
        """The session; a new one is asked first what it holds of the call that was under way."""
        if self._session is None:
            session = self._destination.open(self._sync)
            try:
                held = session.held()
                if held:
                    self._resume(held)
            except BaseException:
                session.close()
                raise
            self._session = session
        return self._session

    def _resume(self, held: str) -> None:
        try:
            receipt = Receipt.from_text(held)
        except ValueError as error:
            raise DestinationStopped(f"what the destination says that it holds cannot be read: {error}") from error
        if receipt.call > self._place.call + 1:
            raise DestinationStopped(
                f"the destination holds call {receipt.call} of this sync, this state knows of {self._place.call}:"
                " it is an older copy",
                hint=f"put the newer state folder back, or send everything again: headwater syncs resync"
                f" {self._sync.name} --anew",
            )
        if receipt.call == self._place.call + 1:
            found = take_receipt(receipt, self._place.cursor, self._selector, self._line, newest=self._newest,
                                 now_us=self._clock.now_us())  # fmt: skip
            self._settle(found.selection, _Noted(found.delivered, found.put, found.parked), receipt.call)

    def _select(self) -> Selection | None:
        now_us, call = self._clock.now_us(), self._place.call + 1
        most = self._pace.most(self._how.batch_records)
        self._turn_of_late = not self._turn_of_late
        full = self._look_for_room()
        for late in (self._turn_of_late, not self._turn_of_late):
            if not late and full:
                continue
            if not late:
                selection = self._selector.fresh(self._place.cursor, most, call, self._line, now_us)
            else:
                due = self._line.due(now_us, most)
                selection, left = self._selector.late(due, call, self._place.cursor) if due else (None, [])
                self._line.again(left)
            if selection is not None:
                return selection
        return None

    def _call(self, session: Session, selection: Selection) -> Outcomes:
        batch = selection.batch
        if not len(batch):
            return Outcomes.delivered(0)
        self._pace.spend(len(batch))
        failpoint.reach("deliver.call.before")
        try:
            outcomes = session.deliver(batch)
        except BaseException:
            if selection.late:
                self._line.again(int(seq) for seq in batch.seq)
            raise
        failpoint.reach("deliver.call.after")
        if len(outcomes.state) != len(batch):
            raise InvariantBroken(f"{len(outcomes.state)} outcomes of {len(batch)} records")
        return outcomes

    def _note(self, selection: Selection, outcomes: Outcomes) -> None:
        """Makes durable what became of a call."""
        retried = np.flatnonzero(outcomes.state == State.RETRY)
        through = len(outcomes.state) - len(retried)
        if len(retried) and not through:
            self._nothing_through(selection, outcomes)
            return
        if through:
            self._line.progress += 1
            self._pace.up(outcomes.retry_after_s)
            self.trouble = None
        noted = _Noted([int(seq) for seq in selection.batch.seq[outcomes.state == State.DELIVERED]])
        for at in np.flatnonzero(outcomes.state != State.DELIVERED):
            self._failed(selection, int(at), outcomes, noted)
        self._settle(selection, noted, selection.batch.call)

    def _nothing_through(self, selection: Selection, outcomes: Outcomes) -> None:
        """The destination is taken to be down. The first record steps aside, so that the next probe is another one: it
        might have been the record's fault."""
        reason = outcomes.reasons.get(0, "it did not say why")
        self.trouble = DestinationUnavailable(f"nothing gets through: {reason}")
        wait = self._pace.down(outcomes.retry_after_s)
        first = self._waiting(selection, 0, reason, self._line.attempts(int(selection.batch.seq[0])), wait)
        aside = not selection.late and len(selection.batch) == 1
        progressed = self._line.progressed_since(first.seq)
        if selection.late:
            self._line.again(int(seq) for seq in selection.batch.seq[1:])
            attempts = first.attempts + progressed
            if attempts >= self._how.attempts:
                noted = _Noted()
                self._park(selection, 0, "gave_up", f"given up after {attempts} tries: {reason}", attempts, noted)
                self._settle(replace(selection, overtaken=[]), noted, selection.batch.call)
            else:
                self._settle(selection, _Noted(put=[replace(first, attempts=attempts)]), selection.batch.call)
        elif aside:
            self._settle(selection, _Noted(put=[first]), selection.batch.call)

    def _failed(self, selection: Selection, at: int, outcomes: Outcomes, noted: _Noted) -> None:
        seq = int(selection.batch.seq[at])
        reason = outcomes.reasons.get(at, "it did not say why")
        attempts = self._line.attempts(seq) + 1
        if outcomes.state[at] == State.REFUSED:
            self._park(selection, at, "refused", reason, attempts, noted)
        elif attempts >= self._how.attempts:
            self._park(selection, at, "gave_up", f"given up after {attempts} tries: {reason}", attempts, noted)
        else:
            wait = max(self._pace.delay_s(attempts - 1), outcomes.retry_after_s or 0.0)
            noted.put.append(self._waiting(selection, at, reason, attempts, wait))

    def _park(self, selection: Selection, at: int, code: str, reason: str, attempts: int, noted: _Noted) -> None:
        entry = replace(self._waiting(selection, at, reason, attempts, 0.0), state="parked")
        noted.put.append(entry)
        noted.parked.append(parked(entry, code))

    def _waiting(self, selection: Selection, at: int, reason: str, attempts: int, wait_s: float) -> Waiting:
        batch, now_us = selection.batch, self._clock.now_us()
        if not selection.keys:
            selection.keys = key_texts(batch.rows, self._sync.key)
        return Waiting(
            int(batch.seq[at]), selection.keys[at], int(batch.op[at]), int(batch.epoch[at]), "failed", reason, attempts,
            now_us + int(wait_s * 1e6), now_us, now_us, record_bytes(batch, at),
        )  # fmt: skip

    def _settle(self, selection: Selection, noted: _Noted, call: int) -> None:
        """Writes all that a call has changed, the ledger first: it takes nothing twice."""
        waited = [seq for seq in noted.delivered if seq in self._line]
        moot = [seq for seq in selection.overtaken if seq in self._line]
        if noted.parked:
            self._ledger.park(noted.parked)
            self._room_s = float("-inf")
        failpoint.reach("deliver.note.before")
        with self._store.transaction():
            self._store.remove([*waited, *moot])
            self._store.put([*selection.queued, *noted.put])
            self._store.move(
                cursor=selection.cursor, call=call, delivered=len(noted.delivered),
                superseded=selection.superseded + len(moot),
            )  # fmt: skip
        if waited:
            self._ledger.delivered(waited)
        if moot:
            self._ledger.superseded(moot)
        self._line.remove([*waited, *moot])
        for entry in (*noted.put, *selection.queued):
            self._line.put(entry)
        self._place = self._store.place()

    def _look_for_room(self) -> bool:
        """Whether the ledger of rejects is full: then nothing is tried that might have to be parked, but for what waits
        already."""
        now = self._clock.monotonic_s()
        if now - self._room_s >= ASKED_S:
            before, self._room_s, self._full = self._full, now, self._ledger.full()
            if self._full is not None or self.trouble is before:
                self.trouble = self._full
        return self._full is not None

    def _take_up(self) -> None:
        """Looks for what users ask for."""
        now = self._clock.monotonic_s()
        if now - self._looked_s < LOOK_S:
            return
        self._looked_s = now
        self._place = self._store.place()
        requests = self._store.requests()
        again, given_up = self._asked_by_ledger(now)
        if not requests and not again and not given_up:
            return
        every = self._line.seqs("parked", "failed") if requests else []
        for request in requests:
            chosen = every if request.seq is None else [request.seq] if request.seq in self._line else []
            (again if request.verb == "retry" else given_up).extend(chosen)
        given_up = sorted({seq for seq in given_up if seq in self._line})
        entries = [
            replace(one, state="failed", attempts=0, next_try_us=0)
            for one in self._store.records(sorted(set(again) - set(given_up)))
        ]
        with self._store.transaction():
            self._store.put(entries)
            self._store.discard(given_up)
            self._store.take_up(requests)
        self._ledger.discarded(given_up)
        self._line.remove(given_up)
        for entry in entries:
            self._line.put(entry)
        self._pace.now()
        self._place = self._store.place()

    def _asked_by_ledger(self, now: float) -> tuple[list[int], list[int]]:
        """Parked records that are to be tried again, and those given up."""
        if now - self._asked_s < ASKED_S or not self._line.count("parked"):
            return [], []
        self._asked_s = now
        again, given_up = self._ledger.asked()
        return [seq for seq in again if self._line.is_parked(seq)], given_up

    def _retain(self) -> None:
        """Checks the account, and lets go of what is done with."""
        now = self._clock.monotonic_s()
        if now - self._retained_s < RETAIN_S:
            return
        self._retained_s = now
        picture = self.picture()
        if not picture.holds:
            raise InvariantBroken(f"the account of sync {self._sync.name!r} does not add up: {picture}")
        self._outbox.retain(before=self._place.cursor, min_age_s=self._how.keep_s, max_bytes=self._how.keep_bytes)

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def parked(entry: Waiting, code: str) -> Parked:
    """A waiting record as the ledger has it."""
    weight = -1 if entry.op == 1 else 1
    return Parked(entry.seq, entry.epoch, entry.key, code, entry.reason, weight, entry.record)
