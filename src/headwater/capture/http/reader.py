"""One reading of an HTTP source: requests in line become groups, and are answered once those are durable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.capture.http.door import SHUT, Door
from headwater.capture.http.keys import CARRIED, Keys, Taken, brought, carried, hashed
from headwater.capture.http.shapers import Shapers
from headwater.capture.http.submission import NotTaken, Receipt, Submission, Wrong
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group
from headwater.clock import Clock
from headwater.errors import UserError
from headwater.failpoint import reach
from headwater.position import Boundary, Position, Resume

Longs = NDArray[np.int64]

MOST_RECORDS = 50_000
MOST_BYTES = 16 << 20
"""Requests that wait are taken together up to about so much: they share a group, and with others an fsync."""
TOLD = 10
"""So many of a request's bad records are told of."""
REUSED = "this Idempotency-Key was used for another request"


@dataclass
class _Taken:
    """A request whose records are in a group that is not known to be durable.

    Attributes:
        submission: the request.
        receipt: what it will be told.
        same: requests that came meanwhile under the same key.
    """

    submission: Submission
    receipt: Receipt
    same: list[Submission] = field(default_factory=list)

    def answer(self) -> None:
        """Tells all who wait."""
        self.submission.take(self.receipt)
        for other in self.same:
            other.take(replace(self.receipt, repeated=True))

    def refuse(self) -> None:
        """Nobody knows whether it is durable."""
        for one in (self.submission, *self.same):
            one.refuse(NotTaken(503, SHUT))


@dataclass
class _Pieces:
    """What goes into one group."""

    commit: int
    records: int = 0
    batches: list[ChangeBatch] = field(default_factory=list)
    rejects: list[pa.RecordBatch] = field(default_factory=list)
    filtered: dict[str, int] = field(default_factory=dict)

    @property
    def next(self) -> Position:
        """Where the next message stands."""
        return Position(self.commit, self.records)


class HttpReader:
    """See `capture.source.Reader`.

    Args:
        door: where requests come in; open from now until `close`.
        shapers: make changes of messages.
        keys: the idempotency keys; closed with the reading.
        resume: where the log ends.
        clock: time.
    """

    def __init__(self, door: Door, shapers: Shapers, keys: Keys, resume: Resume | None, clock: Clock) -> None:
        self._door, self._shapers, self._keys, self._clock = door, shapers, keys, clock
        self._commit = int(resume["commit"] or 0) if resume else 0
        self._new = resume is None
        self._waiting: list[_Taken] = []
        self._by_key: dict[str, _Taken] = {}
        self._carried: list[Taken] = []
        keys.remember(brought((resume or {}).get(CARRIED)), clock.now_us())
        door.unlock()

    def poll(self, timeout_s: float) -> Group | None:
        """Requests that are there, as one group. The first group of all only says that the source has begun."""
        if self._new:
            self._new = False
            return Group(Boundary(Position(0), {"commit": 0}, self._clock.now_us()))
        submissions = [one for one in self._door.take(timeout_s, MOST_RECORDS, MOST_BYTES) if not self._is_known(one)]
        grouped = False
        try:
            group = self._group(submissions) if submissions else None
            grouped = True
            return group
        finally:
            for one in () if grouped else submissions:
                self._refuse(one, NotTaken(503, SHUT))

    def confirm(self, boundary: Boundary) -> None:
        """The group is durable: so are, now, its keys, and its requests are answered."""
        durable = boundary.position.commit
        reach("capture.confirm.before")
        due = [one for one in self._carried if one.commit <= durable]
        self._keys.remember(due, self._clock.now_us())
        reach("capture.http.keys_stored")
        self._carried = self._carried[len(due) :]
        answered = [one for one in self._waiting if one.receipt.commit <= durable]
        self._waiting = self._waiting[len(answered) :]
        for one in answered:
            if one.submission.key:
                del self._by_key[hashed(one.submission.stream, one.submission.key)]
            one.answer()
        reach("capture.confirm.after")

    def ask(self, request: Request) -> None:
        """Nothing can be asked of clients."""
        raise UserError(f"{request.action} cannot be asked of a source that others send to")

    def progress(self) -> Sequence[Progress]:
        """There are no snapshots."""
        return ()

    def lag_bytes(self) -> int | None:
        """Bytes of requests in line."""
        return self._door.bytes

    def close(self) -> None:
        """Whoever waits is told to come again."""
        self._door.shut()
        waiting, self._waiting = self._waiting, []
        self._by_key.clear()
        for one in waiting:
            one.refuse()
        self._keys.close()

    def _is_known(self, submission: Submission) -> bool:
        """Whether a request was taken before, under its key; then it is answered, now or with the one before."""
        if not submission.key:
            return False
        key = hashed(submission.stream, submission.key)
        before = self._by_key.get(key)
        if before is not None:
            same = before.submission.fingerprint == submission.fingerprint
            before.same.append(submission) if same else submission.refuse(NotTaken(422, REUSED))
            return True
        stored = self._keys.find(key)
        if stored is None:
            self._by_key[key] = _Taken(submission, Receipt(self._commit + 1, 0, 0))
            return False
        if stored.fingerprint == submission.fingerprint.hex():
            submission.take(stored.receipt())
        else:
            submission.refuse(NotTaken(422, REUSED))
        return True

    def _group(self, submissions: Sequence[Submission]) -> Group | None:
        """What the requests bring, whole requests in the order in which they came; None if none of it can be taken."""
        pieces = _Pieces(self._commit + 1)
        taken: list[tuple[Submission, Receipt]] = []
        for _, run in groupby(enumerate(submissions), lambda entry: _together(*entry)):
            taken += self._shape([submission for _, submission in run], pieces)
        for submission, receipt in taken:
            self._note(submission, receipt)
        if not taken:
            return None
        self._commit = pieces.commit
        resume: Resume = {"commit": pieces.commit}
        if self._carried:
            resume[CARRIED] = carried(self._carried)
        rejects = pa.concat_batches(pieces.rejects) if pieces.rejects else None
        boundary = Boundary(pieces.next, resume, self._clock.now_us())
        return Group(boundary, tuple(pieces.batches), rejects, pieces.filtered)

    def _shape(self, run: list[Submission], pieces: _Pieces) -> list[tuple[Submission, Receipt]]:
        """Adds the records of requests of one stream and form to the pieces; returns those that were taken."""
        first, messages = run[0], pa.concat_batches([submission.messages for submission in run])
        try:
            shaped = self._shapers.shaper(first.stream, first.form).shape(messages, pieces.next)
        except UserError as error:
            for submission in run:
                self._refuse(submission, NotTaken(415, error.message))
            return []
        rejected = np.asarray(shaped.rejected, np.int64)
        wrong = _wrong(shaped.rejects, rejected)
        if wrong and first.strict:
            self._refuse(
                first, NotTaken(400, f"{len(wrong)} records are wrong; nothing was taken", tuple(wrong[:TOLD]))
            )
            return []
        pieces.batches += [batch for batch in shaped.batches if len(batch)]
        if shaped.rejects is not None and shaped.rejects.num_rows:
            pieces.rejects.append(shaped.rejects)
        if shaped.filtered:
            pieces.filtered[first.stream] = pieces.filtered.get(first.stream, 0) + shaped.filtered
        counts = np.array([submission.messages.num_rows for submission in run], np.int64)
        receipts = _receipts(pieces.commit, counts, rejected, wrong)
        pieces.records += messages.num_rows
        return list(zip(run, receipts, strict=True))

    def _note(self, submission: Submission, receipt: Receipt) -> None:
        """Remembers who is to be told once the group is durable."""
        if not submission.key:
            self._waiting.append(_Taken(submission, receipt))
            return
        key = hashed(submission.stream, submission.key)
        waiting = self._by_key[key]
        waiting.receipt = receipt
        self._waiting.append(waiting)
        self._carried.append(
            Taken(
                key, submission.fingerprint.hex(), receipt.commit, receipt.accepted, receipt.rejected,
                self._clock.now_us(),
            )
        )  # fmt: skip

    def _refuse(self, submission: Submission, why: NotTaken) -> None:
        """Tells a request, and those under the same key, that it was not taken."""
        waiting = self._by_key.pop(hashed(submission.stream, submission.key), None) if submission.key else None
        for one in (submission, *(waiting.same if waiting else ())):
            one.refuse(why)


def _together(number: int, submission: Submission) -> tuple[str, str, int]:
    """Neighbours that agree in this are shaped as one; one that is taken whole or not at all is by itself."""
    return submission.stream, submission.form, number if submission.strict else -1


def _wrong(rejects: pa.RecordBatch | None, rejected: Longs) -> list[Wrong]:
    """What is told of rejected messages, by their numbers among those that were shaped together."""
    if rejects is None:
        return []
    told = zip(rejected.tolist(), *(rejects.column(name).to_pylist() for name in ("reason", "message")), strict=True)
    return [Wrong(*fields) for fields in told]


def _receipts(commit: int, counts: Longs, rejected: Longs, wrong: list[Wrong]) -> list[Receipt]:
    """What each request is told, of those that were shaped together.

    Args:
        commit: where their records stand.
        counts: number of messages of each.
        rejected: numbers of the messages that were rejected, ascending.
        wrong: what is told of these.
    """
    ends = np.cumsum(counts)
    starts = ends - counts
    first, last = np.searchsorted(rejected, starts), np.searchsorted(rejected, ends)
    return [
        Receipt(
            commit,
            int(counts[at] - (last[at] - first[at])),
            int(last[at] - first[at]),
            tuple(replace(one, record=one.record - int(starts[at])) for one in wrong[first[at] : last[at]][:TOLD]),
        )
        for at in range(len(counts))
    ]
