"""Whole transactions from the messages of the stream, packed into groups.

Rows are kept as the bytes they came in until their transaction commits; they are decoded when the group is taken. Rows
are followed by compiled walks (`walk`); what happens here happens once for each table, and each message that is not a
row, Begin or Commit.

A transaction comes in one of three ways. Ordinary: after its commit, Begin to Commit, one after the other. Streamed: in
parts while it runs, among those of others, ended by Stream Commit or Stream Abort. Prepared: before its Commit Prepared
or Rollback Prepared. The last two are held (`held`) until they commit, and then walked like ordinary ones, so that
there is one way to a group. One too large for memory becomes a group in parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.capture.postgres import pgoutput, walk
from headwater.capture.postgres.held import Held, Transaction
from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.resume import Standing, boundary_before
from headwater.capture.postgres.rows import decode_stream, reject_batch
from headwater.capture.postgres.staging import Input, Staging, Transactions
from headwater.capture.postgres.wire import Frames
from headwater.change import ChangeBatch, Group
from headwater.errors import HeadwaterError, InvariantBroken
from headwater.position import Boundary, Position


@dataclass(frozen=True)
class LogicalMessage:
    """What somebody wrote with `pg_logical_emit_message`.

    Attributes:
        position: its own; a transactional one has an ordinal inside its transaction, as a row has.
        transactional: it belongs to the transaction of that commit, and came only because that committed.
        prefix, content: what was written.
    """

    position: Position
    transactional: bool
    prefix: str
    content: bytes


Observer = Callable[[Transactions, Sequence[LogicalMessage]], Sequence[ChangeBatch]]
"""Told of all transactions and logical messages of a group when it is taken; what it returns goes into that group."""


class Assembler:
    """Turns messages into groups.

    Args:
        relations: the captured tables.
        standing: goes into resume points.
        lsn: where the log ends; transactions that commit before it are in it and are passed over.
        folder: for what is held of transactions in progress beyond memory; None: where temporary files go.
        observer: see `Observer`.
    """

    def __init__(
        self,
        relations: Relations,
        standing: Standing,
        lsn: int,
        *,
        folder: Path | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._relations = relations
        self._standing = standing
        self._observer = observer
        self._staging = Staging(lsn)
        self._held = Held(folder)
        self._holding: Transaction | None = None
        self._wire: Input | None = None
        self._replay: Input | None = None
        self._replays: Iterator[Frames] = iter(())
        self._replay_ends = 0
        self._parted = False
        self._messages: list[LogicalMessage] = []
        self._stopped: HeadwaterError | None = None
        self._handed: list[Transactions] | None = None
        self.quiet = 0
        """Before this LSN no transaction of ours commits that was not received."""
        self.head = lsn
        """How far the server's log goes, as far as it said."""
        self.asked = False
        """The server wants an answer at once; whoever gives it resets this."""

    @property
    def lsn(self) -> int:
        """End of the last transaction that was read whole."""
        return int(self._staging.state[walk.LSN])

    @property
    def inside(self) -> bool:
        """A transaction has begun and not ended."""
        return bool(self._staging.state[walk.INSIDE])

    @property
    def complete(self) -> bool:
        """Whether whole transactions wait to be taken."""
        return self._staging.spoken or (self._parted and bool(self._staging.state[walk.TRANSACTIONS]))

    @property
    def full(self) -> bool:
        """Whether something is to be taken before more is fed."""
        return self._stopped is not None or self._staging.full

    @property
    def hungry(self) -> bool:
        """Whether all that was fed has been read; only then more may be."""
        return self._wire is None and self._replay is None

    def feed(self, frames: Frames) -> None:
        """Takes XLogData and keepalive messages, when `hungry`, and reads on until they end or a group is full.

        What goes wrong is raised by `take`, once all that came before is taken.
        """
        if not self.hungry:
            raise InvariantBroken("messages were fed before those before them were read")
        self._staging.follow(self._relations.layout)
        self._wire = Input(frames, pgoutput.HEADER)
        self._read_on()

    def _read_on(self) -> None:
        try:
            while not self.full:
                source = self._source()
                if source is None:
                    return
                self._step(source)
        except HeadwaterError as error:
            self._stopped = error

    def _source(self) -> Input | None:
        """What is to be walked next; None when nothing is left."""
        while self._replay is not None and self._replay.done:
            frames = next(self._replays, None)
            if frames is None:
                self._replay = None
                self._staging.settle(self._replay_ends)
            else:
                self._replay = Input(frames, 0)
        if self._wire is not None and self._wire.done:
            self._wire = None
        return self._replay or self._wire

    def _step(self, source: Input) -> None:
        """Walks to the next message that is to be acted on here, and acts."""
        holding = self._holding if source is self._wire else None
        reason = self._held.take(source, holding) if holding else self._staging.walk(source)
        if reason == walk.RARE:
            source.at += 1
            self._act(source.frames[source.at - 1], source)
        elif reason == walk.DECLARED:
            self._declare(source.frames[source.at - 1][source.header :])
        elif reason == walk.UNKNOWN_TABLE:
            self._slot(int.from_bytes(source.frames[source.at][source.header + 1 :][:4], "big"))
        elif reason == walk.MALFORMED:
            raise InvariantBroken(f"pgoutput sent what does not belong there: {source.frames[source.at][:100]!r}")

    def _act(self, message: bytes, source: Input) -> None:
        """Acts on a message as it came."""
        if source is self._replay:
            acts = _WITHIN
        elif message[0] == pgoutput.XLOG_DATA:
            acts, message = _WHILE_HOLDING if self._holding else _EVERYWHERE, message[pgoutput.HEADER :]
        else:
            acts = _OUTSIDE
        if message[:1] not in acts:
            raise InvariantBroken(f"pgoutput sent a message of unknown kind {message[:1]!r}")
        acts[message[:1]](self, message)

    def _hear(self, keepalive: bytes) -> None:
        """A keepalive tells how far the server has read its log for us.

        It is sent on the same connection, after everything that the server decoded before that point: a transaction is
        sent when its commit record is read, so outside of a transaction no commit of ours lies before `wal_end` that
        has not been received. One that is still running commits later, at a higher LSN, and the slot's restart_lsn
        keeps its changes.
        """
        wal_end, reply = pgoutput.read_keepalive(keepalive)
        self.head = max(self.head, wal_end)
        self.asked |= reply
        if not self.inside:
            self.quiet = wal_end

    def _slot(self, oid: int) -> int:
        slot = self._staging.slot(oid)
        if slot is not None:
            return slot
        try:
            self._relations.stream_name(oid)
        except KeyError:
            raise InvariantBroken(f"pgoutput sent a row of table {oid}, which it had not described") from None
        return self._staging.put(oid, self._relations.layout(oid))

    def _declare(self, message: bytes) -> None:
        relation = pgoutput.read_relation(message)
        if self._relations.declare(relation, int(self._staging.state[walk.XID])):
            self._staging.forget(relation.oid)

    def _truncate(self, message: bytes) -> None:
        """One record for each table that is emptied; all of them are the same message."""
        oids = pgoutput.read_truncate(message)
        self._require_inside()
        if not self._staging.state[walk.SKIP]:
            for oid in oids:
                self._staging.append(self._slot(oid), message)

    def _require_inside(self) -> None:
        if not self.inside:
            raise InvariantBroken("pgoutput sent a change outside of a transaction")

    def _note(self, message: bytes) -> None:
        """A logical message: of the open transaction, or by itself."""
        found = pgoutput.read_message(message)
        state = self._staging.state
        if found.transactional:
            self._require_inside()
            position = Position(int(state[walk.COMMIT]), self._staging.next_ordinal())
            passed_over = bool(state[walk.SKIP])
        else:
            position, passed_over = Position(found.lsn), found.lsn < state[walk.AFTER]
        if self._observer is not None and not passed_over:
            self._messages.append(LogicalMessage(position, found.transactional, found.prefix, found.content))

    def _ignore(self, message: bytes) -> None:
        """Type and Origin say nothing that rows need."""

    def _start_part(self, message: bytes) -> None:
        xid, _ = pgoutput.read_stream_start(message)
        self._require_outside()
        self._holding = self._held.begin(xid, 4)

    def _stop_part(self, message: bytes) -> None:
        if self._holding is None or self._holding.prefix == 0:
            raise InvariantBroken("pgoutput ended a part of a transaction that had not begun")
        self._holding = None

    def _commit_streamed(self, message: bytes) -> None:
        self._commit_held(pgoutput.read_stream_commit(message))

    def _abort_streamed(self, message: bytes) -> None:
        self._held.abort(*pgoutput.read_stream_abort(message))

    def _begin_prepare(self, message: bytes) -> None:
        begun = pgoutput.read_begin_prepare(message)
        self._require_outside()
        self._held.discard(begun.xid)
        self._holding = self._held.begin(begun.xid, 0)
        self._holding.prepared = begun.commit

    def _prepare(self, message: bytes) -> None:
        pgoutput.read_prepared(message)
        if self._holding is None or self._holding.prefix:
            raise InvariantBroken("pgoutput ended the preparing of a transaction that had not begun")
        self._holding = None

    def _prepare_streamed(self, message: bytes) -> None:
        prepared = pgoutput.read_prepared(message)
        if prepared.xid not in self._held:
            raise InvariantBroken(f"pgoutput prepared transaction {prepared.xid}, of which nothing was sent")
        self._held.begin(prepared.xid, 4).prepared = prepared.commit

    def _commit_prepared(self, message: bytes) -> None:
        self._commit_held(pgoutput.read_prepared(message))

    def _rollback_prepared(self, message: bytes) -> None:
        self._held.discard(pgoutput.read_rollback_prepared(message))

    def _require_outside(self) -> None:
        if self.inside or self._holding is not None:
            raise InvariantBroken("pgoutput began a transaction inside another")

    def _commit_held(self, end: pgoutput.End) -> None:
        """What was held is walked now, as if it came between Begin and Commit."""
        self._require_outside()
        self._staging.open(end.commit, end.time_us, end.xid)
        self._replays = iter(())
        if self._staging.state[walk.SKIP]:
            self._held.discard(end.xid)
        elif end.xid not in self._held:
            raise InvariantBroken(f"pgoutput committed transaction {end.xid}, of which nothing was sent")
        else:
            self._replays = self._held.pop(end.xid).messages()
        self._replay, self._replay_ends = Input(Frames.of(()), 0), end.lsn

    def take(self) -> Group | None:
        """The whole transactions that wait, decoded, or a part of one that is too large; None if there are none.

        Raises:
            SourceStopped: a table has changed in a way that cannot be carried on with.
            InvariantBroken: a message is not of the protocol that was asked for.
        """
        state = self._staging.state
        if self.complete:
            group = self._group(int(state[walk.SETTLED_ROWS]))
        elif self._stopped is not None:
            raise self._stopped
        elif self.full:
            group = self._part(int(state[walk.ROWS]))
        else:
            return None
        self._read_on()
        return group

    def _group(self, rows: int) -> Group:
        transactions = self._staging.transactions()
        spoken = np.flatnonzero(transactions.ordinals)
        last = int(spoken[-1]) if spoken.size else len(transactions) - 1
        position = Position(int(transactions.commits[last]), max(0, int(transactions.ordinals[last]) - 1))
        boundary = Boundary(position, self._resume(), int(transactions.times_us[last]))
        decoded = self._decoded(rows)
        self._hand(transactions.without_first() if self._parted else transactions)
        self._parted = False
        return self._finished(boundary, transactions, *decoded, rows=rows)

    def _part(self, rows: int) -> Group:
        """What there is of a transaction that goes on. Its boundary says nothing."""
        state = self._staging.state
        position = Position(int(state[walk.COMMIT]), int(state[walk.ORDINAL]) - 1)
        boundary = Boundary(position, self._resume(), int(state[walk.TIME]))
        batches, rejects, filtered = self._decoded(rows)
        self._hand(self._staging.transactions())  # those before it that hold nothing
        self._staging.drop(rows)
        if not self._parted:
            self._hand(self._staging.open_transaction())
        self._parted = True
        return Group(boundary, tuple(batches), reject_batch(rejects), filtered, more=True)

    def _finished(
        self,
        boundary: Boundary,
        transactions: Transactions,
        batches: list[ChangeBatch],
        rejects: list[dict[str, object]],
        filtered: dict[str, int],
        *,
        rows: int,
    ) -> Group:
        self._staging.drop(rows)
        batches += self._observed(transactions)
        return Group(boundary, tuple(batches), reject_batch(rejects), filtered)

    def _observed(self, transactions: Transactions) -> Sequence[ChangeBatch]:
        """What the observer adds; the messages of the open transaction wait for its group."""
        if self._observer is None:
            return ()
        ours = [each for each in self._messages if not (each.transactional and self._is_open(each))]
        self._messages = [each for each in self._messages if each.transactional and self._is_open(each)]
        return self._observer(transactions, ours)

    def _is_open(self, message: LogicalMessage) -> bool:
        return self.inside and message.position.commit == self._staging.state[walk.COMMIT]

    def _decoded(self, count: int) -> tuple[list[ChangeBatch], list[dict[str, object]], dict[str, int]]:
        """Batches, rejects, and how many were left out, of the first `count` rows."""
        batches: list[ChangeBatch] = []
        rejects: list[dict[str, object]] = []
        filtered: dict[str, int] = {}
        for rows in self._staging.rows(count):
            layout = self._staging.layouts[rows.slot]
            if layout is None:
                name = self._relations.stream_name(self._staging.oids[rows.slot])
                filtered[name] = filtered.get(name, 0) + len(rows.messages)
            else:
                decoded = decode_stream(layout, rows.messages, rows.places, 0)
                batches += [decoded.batch] if decoded.batch else []
                rejects += decoded.rejects
        return batches, rejects, filtered

    def _resume(self) -> dict[str, str | int | float | bool | None]:
        return self._standing.resume(self.lsn, held=self._held.prepared)

    def heartbeat(self, lsn: int) -> Group:
        """An empty group that says: nothing of ours commits before `lsn` that was not taken."""
        if self.inside or self.complete:
            raise InvariantBroken("a heartbeat in the middle of changes")
        transactions = self._staging.transactions()
        self._staging.state[walk.LSN] = max(self.lsn, lsn)
        boundary = boundary_before(self._standing, self.lsn, held=self._held.prepared)
        self._hand(transactions)
        return self._finished(boundary, transactions, [], [], {}, rows=0)

    def _hand(self, transactions: Transactions) -> None:
        if self._handed is not None and len(transactions):
            self._handed.append(transactions)

    def handed(self) -> list[Transactions]:
        """The transactions of the groups taken since the last call; from the first call on. One in parts is there with
        its first part, the end of its commit record unknown."""
        handed, self._handed = self._handed, []
        return handed or []

    def close(self) -> None:
        """Forgets what is held."""
        self._held.close()


_Act = Callable[[Assembler, bytes], None]
_WITHIN: dict[bytes, _Act] = {
    b"R": Assembler._declare,
    b"T": Assembler._truncate,
    b"M": Assembler._note,
}
"""What to do with what a walk stops at, inside of a transaction that was held."""

_EVERYWHERE: dict[bytes, _Act] = {
    **_WITHIN,
    b"Y": Assembler._ignore,
    b"O": Assembler._ignore,
    b"S": Assembler._start_part,
    b"E": Assembler._stop_part,
    b"c": Assembler._commit_streamed,
    b"A": Assembler._abort_streamed,
    b"b": Assembler._begin_prepare,
    b"P": Assembler._prepare,
    b"p": Assembler._prepare_streamed,
    b"K": Assembler._commit_prepared,
    b"r": Assembler._rollback_prepared,
}
_OUTSIDE: dict[bytes, _Act] = {b"k": Assembler._hear}
_WHILE_HOLDING = {kind: _EVERYWHERE[kind] for kind in (b"E", b"P")}
