"""Whole transactions from the messages of the stream, packed into groups.

Rows are kept as the bytes they came in, by table and by version of its layout, until their transaction commits; they
are decoded when the group is taken. A transaction is never torn apart, so a huge one is one big group, held in memory
as bytes (spilling it to disk is left to a later version).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from headwater.capture.postgres import pgoutput
from headwater.capture.postgres.pgoutput import HEADER, Message
from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.resume import Standing, boundary_before
from headwater.capture.postgres.rows import Places, decode_stream, reject_batch
from headwater.capture.postgres.table import Layout
from headwater.capture.postgres.wire import Frames
from headwater.change import ChangeBatch, Group
from headwater.errors import InvariantBroken
from headwater.position import Boundary, Position

GROUP_RECORDS = 10_000
GROUP_BYTES = 32 << 20
"""Once this much is complete, a group is handed over."""

BATCH_RECORDS = 50_000
BATCH_BYTES = 64 << 20
"""Size from which rows of one table are decoded in parts, so that no column comes near Arrow's 2 GiB."""


@dataclass(eq=False)
class Staged:
    """Rows of one table and layout in the transaction that is open. `layout` is None for a table not captured."""

    oid: int
    layout: Layout | None
    messages: list[Message] = field(default_factory=list)
    ordinals: list[int] = field(default_factory=list)


@dataclass(eq=False)
class Run:
    """Rows of one layout in whole transactions: per row the message and ordinal, per transaction how many rows it has,
    its commit LSN and its commit time."""

    layout: Layout
    messages: list[Message] = field(default_factory=list)
    ordinals: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    times_us: list[int] = field(default_factory=list)

    def add(self, staged: Staged, commit: int, time_us: int) -> None:
        """Adds what a committed transaction staged."""
        self.messages += staged.messages
        self.ordinals += staged.ordinals
        self.counts.append(len(staged.messages))
        self.commits.append(commit)
        self.times_us.append(time_us)

    def places(self) -> Places:
        """Where the rows stand."""
        commits = np.repeat(np.array(self.commits, np.uint64), self.counts)
        times = np.repeat(np.array(self.times_us, np.int64), self.counts)
        return Places(commits, np.array(self.ordinals, np.int64), times)


class Assembler:
    """Turns messages into groups.

    Args:
        relations: the captured tables.
        standing: goes into resume points.
        lsn: where the log ends; transactions that commit before it are in it and are passed over.
    """

    def __init__(self, relations: Relations, standing: Standing, lsn: int) -> None:
        self._relations = relations
        self._standing = standing
        self._after = lsn
        self.lsn = lsn
        """End of the last transaction that was read whole."""
        self.inside = False
        """A transaction has begun and not ended."""
        self._skip = False
        self._commit, self._time_us, self._ordinal = 0, 0, 0
        self._open: dict[int, Staged] = {}
        self._staged: list[Staged] = []
        self._clear()

    def _clear(self) -> None:
        self._runs: dict[Layout, Run] = {}
        self._filtered: dict[str, int] = {}
        self._last: Position | None = None
        self._last_time_us = 0
        self._records, self._bytes = 0, 0

    @property
    def complete(self) -> bool:
        """Whether whole transactions wait to be taken."""
        return self._last is not None

    @property
    def full(self) -> bool:
        """Whether enough whole transactions wait, and none is open."""
        return not self.inside and (self._records >= GROUP_RECORDS or self._bytes >= GROUP_BYTES)

    def feed(self, message: Message) -> None:
        """Takes one XLogData message.

        Raises:
            SourceStopped: a table has changed in a way that cannot be carried on with.
            InvariantBroken: the message is not of the protocol that was asked for.
        """
        kind = message[HEADER]
        if kind in pgoutput.ROWS:
            staged = self._open.get(pgoutput.relation_of(message)) or self._stage(pgoutput.relation_of(message))
            staged.messages.append(message)
            staged.ordinals.append(self._ordinal)
            self._ordinal += 1
        elif kind == pgoutput.BEGIN:
            self._begin(message)
        elif kind == pgoutput.COMMIT:
            self._end(message)
        elif kind == pgoutput.RELATION:
            self._declare(message)
        elif kind == pgoutput.TRUNCATE:
            self._truncate(message)
        elif kind not in pgoutput.IGNORED:
            raise InvariantBroken(f"pgoutput sent a message of unknown kind {chr(kind)!r}")

    def _begin(self, message: Message) -> None:
        self._commit, self._time_us = pgoutput.read_begin(message)
        self._skip = self._commit < self._after
        self._ordinal, self.inside = 0, True
        self._open, self._staged = {}, []

    def _stage(self, oid: int) -> Staged:
        staged = Staged(oid, self._relations.layout(oid))
        self._open[oid] = staged
        self._staged.append(staged)
        return staged

    def _declare(self, message: Message) -> None:
        relation = pgoutput.read_relation(message)
        if self._relations.declare(relation):
            self._open.pop(relation.oid, None)

    def _truncate(self, message: Message) -> None:
        """One record for each table that is emptied; all of them are the same message."""
        for oid in pgoutput.read_truncate(message):
            staged = self._open.get(oid) or self._stage(oid)
            staged.messages.append(message)
            staged.ordinals.append(self._ordinal)
            self._ordinal += 1

    def _end(self, message: Message) -> None:
        self.inside, self.lsn = False, pgoutput.read_commit(message)
        staged, self._staged, self._open = self._staged, [], {}
        if self._skip or not staged:
            return
        for part in staged:
            self._merge(part)
        self._last, self._last_time_us = Position(self._commit, self._ordinal - 1), self._time_us
        self._records += self._ordinal

    def _merge(self, staged: Staged) -> None:
        if staged.layout is None:
            name = self._relations.stream_name(staged.oid)
            self._filtered[name] = self._filtered.get(name, 0) + len(staged.messages)
            return
        run = self._runs.get(staged.layout)
        if run is None:
            run = self._runs[staged.layout] = Run(staged.layout)
        run.add(staged, self._commit, self._time_us)
        self._bytes += sum(map(len, staged.messages))

    def take(self) -> Group | None:
        """The whole transactions that wait, decoded; None if there are none."""
        last = self._last
        if last is None:
            return None
        batches: list[ChangeBatch] = []
        rejects: list[dict[str, object]] = []
        for run in self._runs.values():
            places = run.places()
            for part in _parts(run.messages):
                cut = Places(places.commits[part], places.ordinals[part], _times(places)[part])
                decoded = decode_stream(
                    run.layout, Frames.of([bytes(message) for message in run.messages[part]]), cut, HEADER
                )
                batches += [decoded.batch] if decoded.batch else []
                rejects += decoded.rejects
        boundary = Boundary(last, self._standing.resume(self.lsn), self._last_time_us)
        group = Group(boundary, tuple(batches), reject_batch(rejects), self._filtered)
        self._clear()
        return group

    def heartbeat(self, lsn: int) -> Group:
        """An empty group that says: nothing of ours commits before `lsn` that was not taken."""
        if self.inside or self.complete:
            raise InvariantBroken("a heartbeat in the middle of changes")
        self.lsn = max(self.lsn, lsn)
        return Group(boundary_before(self._standing, self.lsn))


def _times(places: Places) -> np.ndarray:
    if places.times_us is None:
        raise InvariantBroken("streamed rows without commit times")
    return places.times_us


def _parts(messages: list[Message]) -> Iterator[slice]:
    """Slices of a run that are small enough to be decoded at once."""
    first, size = 0, 0
    for at, message in enumerate(messages):
        size += len(message)
        if at - first >= BATCH_RECORDS or size > BATCH_BYTES:
            if at > first:
                yield slice(first, at)
            first, size = at, len(message)
    yield slice(first, len(messages))
