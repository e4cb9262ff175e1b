"""Whole transactions from the events of the binlog, packed into groups.

Row events are kept as the bytes they came in until their transaction ends; they are decoded when the group is taken.
A transaction too large for that comes in parts (`Group.more`). Only ends of transactions are points to resume at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from headwater.capture.mysql import binlog, events
from headwater.capture.mysql import walk_kernels as walk
from headwater.capture.mysql.events import Account, Events, EventType
from headwater.capture.mysql.gtid import gtid_state
from headwater.capture.mysql.history import History
from headwater.capture.mysql.packets import Frames
from headwater.capture.mysql.pieces import Emptied, Item, Piece, Slot
from headwater.capture.mysql.place import Place, file_part
from headwater.capture.mysql.resume import Standing, boundary_before
from headwater.capture.mysql.rows import reject_batch
from headwater.capture.mysql.slots import SLOTS_MAX, Slots
from headwater.capture.mysql.statement import tokens
from headwater.capture.mysql.table_map import read_table_map
from headwater.capture.mysql.xa import Prepared, xid_of_event, xid_of_statement
from headwater.change import ChangeBatch, Group
from headwater.errors import InvariantBroken, SourceStopped
from headwater.position import Boundary, Position

GROUP_BYTES = 4 << 20
"""Once row events of this size are whole, a group is handed over."""

PART_BYTES = 16 << 20
"""Once row events of this size wait in a transaction that is still open, they are handed over as a part of it."""

_DUMMY_TABLE = 0xFFFFFF
"""Table id of a row event that only says that a statement is over."""


def _codes() -> np.ndarray:
    codes = np.full(256, walk.SPECIAL, np.uint8)
    codes[[*events.SILENT]] = walk.SILENT
    codes[[*events.ROWS]] = walk.ROW
    codes[EventType.TABLE_MAP] = walk.MAP
    codes[EventType.XID] = walk.COMMIT
    codes[EventType.MARIADB_GTID] = walk.MARIADB_GTID
    codes[EventType.QUERY] = walk.QUERY
    return codes


_CODES = _codes()


class Assembler:
    """Turns events into groups.

    Args:
        history: the tables, as they are at `place`.
        standing: goes into resume points.
        place: where the events begin.
        after: commit numbers below it are in the log already, and are passed over; None for those before `place`.
    """

    def __init__(self, history: History, standing: Standing, place: Place, after: int | None = None) -> None:
        self._history = history
        self._standing = standing
        self._after = place.number if after is None else after
        self.checksum = False
        """Whether events carry one; the stream says so of the first, a FORMAT_DESCRIPTION of those after it."""
        self._place = place
        self._gtids = gtid_state(standing.flavor, place.gtid)
        self._gtid: binlog.Gtid | None = None
        self._state = np.zeros(walk.STATE_SIZE, np.int64)
        self._state[walk.DOMAIN] = -1
        self._file = ""
        self._enter(place.file, place.position)
        self._state[walk.DONE_AT] = place.position
        self._slots = Slots()
        self._account = Account()
        self._prepared: dict[str, Prepared] = {}
        self._savepoints: dict[str, int] = {}
        self._ready: list[Item] = []
        self._open: list[Item] = []
        self._ready_bytes, self._open_bytes = 0, 0
        self._parted = False
        self._taken = int(self._state[walk.DONE])
        self.unread: list[tuple[str, int, int]] = []
        """Captured tables, database.table, that must be read, why (see `history.Effect`), and since which commit."""
        self.reached = place
        """Everything before it has come."""

    @property
    def place(self) -> Place:
        """The end of the last whole transaction."""
        return self._place

    @property
    def inside(self) -> bool:
        """Whether a transaction is open."""
        return bool(self._state[walk.INSIDE])

    @property
    def complete(self) -> bool:
        """Whether whole transactions wait to be taken."""
        return int(self._state[walk.DONE]) > self._taken

    @property
    def full(self) -> bool:
        """Whether enough waits, of whole transactions or of one."""
        return self._ready_bytes >= GROUP_BYTES or self._open_bytes >= PART_BYTES

    @property
    def parted(self) -> bool:
        """Whether parts of the open transaction were handed over, and its end was not."""
        return self._parted

    @property
    def history(self) -> History:
        """The tables, as they are where the events have come to."""
        return self._history

    @property
    def standing(self) -> Standing:
        """What goes into resume points now."""
        return self._standing

    def _enter(self, file: str, position: int) -> None:
        self._file = file
        self._state[walk.FILE] = file_part(file, self._place.era)
        self._state[walk.POSITION] = position

    def feed(self, frames: Frames) -> None:
        """Takes packets of the stream, each an OK byte and an event.

        Raises:
            SourceStopped: something that cannot be followed, or an unknown event.
            InvariantBroken: an event was not dealt with.
        """
        found = events.scan(frames.buffer, frames.begins + 1, frames.ends, checksum=self.checksum)
        self.checksum = found.checksum
        self._account.took(found)
        self._walk(found)
        self._account.check()
        self._reach(found)

    def _reach(self, found: Events) -> None:
        """Outside of a transaction everything up to the last event that is in the file has been seen."""
        in_file = (found.positions > 0) & (found.flags & events.ARTIFICIAL_FLAG == 0)
        in_file &= ~np.isin(found.types, (EventType.HEARTBEAT, EventType.HEARTBEAT_V2, EventType.ROTATE))
        last = np.flatnonzero(in_file)
        if last.size and not self.inside:
            walk.move_on(self._state, int(found.positions[last[-1]]))
        self.reached = replace(self._place, file=self._file, position=int(self._state[walk.POSITION]))
        if not (self.inside or self.complete) and self.reached.number > self._place.number:
            self._place = self.reached

    def _walk(self, found: Events) -> None:
        count = len(found)
        self._events, self._from = found, 0
        self._out = (
            np.full(count, -1),
            np.empty(count, np.uint64),
            np.empty(count, np.int64),
            np.empty(count, np.int64),
        )
        codes = _CODES[found.types]
        heads = (found.begins, found.ends, found.tables, found.times_s, found.servers, found.positions, found.sizes)
        at = 0
        while True:
            known, state = self._slots.arrays, self._state
            stopped, ended = walk.walk(found.buffer, codes, heads, at, known, state, self._out)
            for kind, number in enumerate(np.bincount(found.types[at:stopped]).tolist()):
                if number:
                    self._account.handle(kind, number)
            if ended >= 0:
                self._flush(ended)
                self._finish_open()
            if stopped == count:
                break
            self._special(stopped)
            self._account.handle(int(found.types[stopped]))
            at = stopped + 1
        self._flush(count)

    def _flush(self, stop: int) -> None:
        """Row events of the walk up to `stop` become a piece of the open transaction."""
        slots, commits, ordinals, times = self._out
        at = np.flatnonzero(slots[self._from : stop] >= 0) + self._from
        self._from = stop
        if at.size:
            piece = Piece(self._events, self._slots.known, at, slots[at], commits[at], ordinals[at], times[at])
            self._open.append(piece)
            self._open_bytes += piece.size

    def _finish_open(self) -> None:
        """What is open has become whole: the state says that a transaction ended."""
        self._ready += self._fresh(self._open)
        self._ready_bytes += self._open_bytes
        self._open, self._open_bytes, self._savepoints = [], 0, {}
        state = self._state
        if self._gtid is not None:
            self._gtids.add(self._gtid.source, 0, self._gtid.number)
            self._gtid = None
        elif state[walk.DOMAIN] >= 0:
            self._gtids.add(str(state[walk.DOMAIN]), int(state[walk.DONE_SERVER]), int(state[walk.DONE_SEQUENCE]))
        self._place = Place(self._file, int(state[walk.DONE_AT]), self._gtids.text(), self._place.era)

    def _fresh(self, items: list[Item]) -> list[Item]:
        """What is not in the log already."""
        kept = (item.since(self._after) for item in items)
        return [item for item in kept if item is not None]

    def _special(self, at: int) -> None:
        """Deals with an event that the compiled walk leaves to us."""
        kind = int(self._events.types[at])
        handler = _HANDLERS.get(kind)
        if handler is None:
            raise InvariantBroken(f"binlog event of type {kind} is not dealt with")
        handler(self, at)

    def _move_on(self, at: int) -> None:
        walk.move_on(self._state, int(self._events.positions[at]))

    def _rotate(self, at: int) -> None:
        """The log goes on in another file. The one that a stream begins with is made for us and moves nothing."""
        rotate = binlog.read_rotate(self._events.body(at))
        made_for_us = bool(int(self._events.flags[at]) & events.ARTIFICIAL_FLAG) or not int(self._events.positions[at])
        self._flush(at)
        if self.inside and rotate.file != self._file:
            self._abandon()
        if made_for_us and rotate.file == self._file:
            self._state[walk.POSITION] = rotate.position
            return
        self._enter(rotate.file, rotate.position)
        if not self.inside:
            self._state[walk.DONE_AT] = rotate.position
            self._place = Place(self._file, rotate.position, self._gtids.text(), self._place.era)

    def _format(self, at: int) -> None:
        """A file begins. A transaction that is open was never committed: the server crashed while writing it."""
        binlog.read_format(self._events.body(at))
        if int(self._events.positions[at]) and self.inside:
            self._flush(at)
            self._abandon()
        self._forget_slots(at)

    def _forget_slots(self, at: int) -> None:
        """Table maps must be looked at anew from the next event on: ids begin again, or a table has changed."""
        self._flush(at)
        self._slots = Slots()

    def _abandon(self) -> None:
        """The open transaction came to nothing.

        Raises:
            SourceStopped: parts of it were handed over.
        """
        if self._parted:
            raise SourceStopped(
                f"a transaction in {self._file} too large for memory was rolled back in the binlog",
                hint="begin anew with a snapshot: headwater source resnapshot",
            )
        self._open, self._open_bytes, self._savepoints = [], 0, {}
        self._state[walk.INSIDE] = 0

    def _mariadb_gtid(self, at: int) -> None:
        if self.inside:
            self._flush(at)
            self._abandon()
        gtid = binlog.read_mariadb_gtid(self._events.body(at), int(self._events.servers[at]))
        self._begin(at, standalone=gtid.standalone or gtid.prepared_xa or gtid.completed_xa)
        state = self._state
        state[walk.DOMAIN], state[walk.SEQUENCE] = int(gtid.source), gtid.number
        state[walk.SERVER] = int(self._events.servers[at])

    def _begin(self, at: int, *, standalone: bool, time_us: int = 0) -> None:
        self._move_on(at)
        state = self._state
        state[walk.INSIDE], state[walk.STANDALONE], state[walk.NUMBER] = 1, int(standalone), 0
        state[walk.BEGAN] = state[walk.POSITION] - int(self._events.sizes[at])
        state[walk.TIME_US] = time_us or int(self._events.times_s[at]) * 1_000_000

    def _mysql_gtid(self, at: int) -> None:
        if self.inside:
            self._flush(at)
            self._abandon()
        kind, body = int(self._events.types[at]), self._events.body(at)
        if kind == EventType.GTID_TAGGED:
            self._gtid = binlog.read_tagged_gtid(body)
        elif kind == EventType.GTID:
            self._gtid = binlog.read_gtid(body)
        gtid = self._gtid if kind != EventType.ANONYMOUS_GTID else binlog.read_anonymous_gtid(body)
        self._begin(at, standalone=True, time_us=gtid.commit_time_us if gtid else 0)

    def _table_map(self, at: int) -> None:
        self._move_on(at)
        body = self._events.body(at)
        table_map = read_table_map(body)
        if len(self._slots.known) >= SLOTS_MAX:
            self._forget_slots(at)
        self._slots.add(Slot(table_map, self._history.layout(table_map)), body)

    def _rows(self, at: int) -> None:
        """Rows that the walk could not place."""
        if int(self._events.tables[at]) != _DUMMY_TABLE:
            raise InvariantBroken(
                f"rows at {self._file}:{int(self._state[walk.POSITION])} come outside of a transaction, or before "
                "their table map"
            )
        self._move_on(at)

    def _commit(self, at: int) -> None:
        raise InvariantBroken(f"{self._file}:{int(self._state[walk.POSITION])}: a commit without a transaction")

    def _query(self, at: int) -> None:
        query = binlog.read_query(self._events.body(at))
        self._move_on(at)
        self._flush(at)
        words = [token.upper for token in tokens(query.sql[:200])[:4]]
        if not self.inside:
            raise InvariantBroken(f"{self._file}:{int(self._state[walk.POSITION])}: a statement without a transaction")
        verb = words[0] if words else ""
        if verb in ("BEGIN", "SAVEPOINT", "ROLLBACK", "RELEASE", "COMMIT", "XA"):
            return self._control(verb, words, query, at)
        return self._statement(query, at)

    def _control(self, verb: str, words: list[str], query: binlog.Query, at: int) -> None:
        """BEGIN, SAVEPOINT, ROLLBACK and XA statements."""
        found = tokens(query.sql)
        if verb == "BEGIN":
            self._state[walk.STANDALONE] = 0
        elif verb == "SAVEPOINT":
            self._savepoints[found[1].text.lower()] = len(self._open)
        elif verb == "ROLLBACK" and "TO" in words[1:3]:
            self._back_to(found[-1].text.lower())
        elif verb == "ROLLBACK":
            self._abandon()
            self._end()
        elif verb == "COMMIT":
            self._end()
        elif verb == "XA":
            self._xa(words[1], query, at)

    def _back_to(self, savepoint: str) -> None:
        if self._parted or savepoint not in self._savepoints:
            raise SourceStopped(
                f"{self._file}:{int(self._state[walk.POSITION])}: ROLLBACK TO {savepoint!r}, whose changes are handed "
                "over already",
                hint="begin anew with a snapshot: headwater source resnapshot",
            )
        del self._open[self._savepoints[savepoint] :]
        self._open_bytes = sum(item.size for item in self._open)

    def _statement(self, query: binlog.Query, at: int) -> None:
        state = self._state
        commit = int(state[walk.FILE]) | int(state[walk.BEGAN])
        effect = self._history.apply(query, new=commit >= self._after)
        for table in effect.emptied:
            ordinal = int(state[walk.NUMBER]) << 32
            self._open.append(Emptied(table, commit, ordinal, int(state[walk.TIME_US])))
            state[walk.NUMBER] += 1
        self.unread += [(*entry, commit) for entry in effect.unread if commit >= self._after]
        if effect.changed:
            self._standing = self._standing.with_tables(self._history.tables, self._history.accepted)
            self._forget_slots(at)
        if query.sql.rstrip().upper().endswith("START TRANSACTION"):
            state[walk.STANDALONE] = 0
        if state[walk.STANDALONE]:
            self._end()

    def _end(self) -> None:
        walk.end_transaction(self._state)
        self._finish_open()

    def _xa(self, word: str, query: binlog.Query, at: int) -> None:
        if word in ("START", "BEGIN"):
            self._state[walk.STANDALONE] = 0
        elif word in ("COMMIT", "ROLLBACK"):
            self._decide(xid_of_statement(query.sql), at, commit=word == "COMMIT")

    def _xa_prepare(self, at: int) -> None:
        self._move_on(at)
        self._flush(at)
        body = self._events.body(at)
        if not binlog.read_xa_prepare(body):
            if self._parted:
                raise SourceStopped(
                    f"an XA transaction in {self._file} too large for memory was prepared",
                    hint="begin anew with a snapshot when it is decided: headwater source resnapshot",
                )
            self._prepared[xid_of_event(body)] = Prepared(self._open, self._place, self._standing)
            self._open, self._open_bytes = [], 0
        self._end()

    def _decide(self, xid: str, at: int, *, commit: bool) -> None:
        """The second half of an XA transaction: its rows take the place of the commit."""
        prepared = self._prepared.pop(xid, None)
        state = self._state
        number = int(state[walk.FILE]) | int(state[walk.BEGAN])
        if prepared is None and commit and number >= self._after:
            raise SourceStopped(
                f"XA transaction {xid} was prepared before reading began, and is committed now: its rows are not known",
                hint="begin anew with a snapshot: headwater source resnapshot",
            )
        if prepared is not None and commit:
            self._open += [item.moved(number, int(state[walk.TIME_US])) for item in prepared.items]
            self._open_bytes = sum(item.size for item in self._open)
        self._end()

    def take(self) -> Group | None:
        """The whole transactions that wait, or a part of one too large for memory; None if there is neither.

        Raises:
            SourceStopped: rows that cannot be decoded.
        """
        if self.complete:
            items, self._ready, self._ready_bytes = self._ready, [], 0
            self._taken, self._parted = int(self._state[walk.DONE]), False
            return self._group(items, more=False)
        if self._open_bytes >= PART_BYTES:
            items, self._open, self._open_bytes = self._fresh(self._open), [], 0
            self._parted = True
            return self._group(items, more=True)
        return None

    def _group(self, items: list[Item], *, more: bool) -> Group:
        batches: list[ChangeBatch] = []
        rejects: list[dict[str, object]] = []
        for item in items:
            for batch, bad in item.decoded():
                batches += [batch] if batch is not None else []
                rejects += bad
        return Group(self._boundary(), tuple(batches), reject_batch(rejects), more=more)

    def _boundary(self) -> Boundary:
        """The end of the last whole transaction. While an XA transaction is undecided, reading begins before it."""
        state = self._state
        began = file_part(self._file, self._place.era) | int(state[walk.DONE_BEGAN])
        if not state[walk.DONE] or began >= self._place.number:
            return self.heartbeat_boundary()
        position = Position(began, int(state[walk.DONE_NUMBER]) << 32)
        return Boundary(position, self._resume(), int(state[walk.DONE_TIME_US]))

    def heartbeat_boundary(self) -> Boundary:
        """A boundary that includes everything before `place`."""
        before = boundary_before(self._standing, self._place)
        return Boundary(before.position, self._resume())

    def _resume(self) -> dict[str, str | int | float | bool | None]:
        first = next(iter(self._prepared.values()), None)
        if first is None:
            return self._standing.resume(self._place)
        return {**first.standing.resume(first.place), "after": self._place.number}


_Handler = Callable[[Assembler, int], None]
_HANDLERS: dict[int, _Handler] = {
    EventType.ROTATE: Assembler._rotate,
    EventType.FORMAT_DESCRIPTION: Assembler._format,
    EventType.MARIADB_GTID: Assembler._mariadb_gtid,
    EventType.GTID: Assembler._mysql_gtid,
    EventType.ANONYMOUS_GTID: Assembler._mysql_gtid,
    EventType.GTID_TAGGED: Assembler._mysql_gtid,
    EventType.TABLE_MAP: Assembler._table_map,
    EventType.QUERY: Assembler._query,
    EventType.XID: Assembler._commit,
    EventType.XA_PREPARE: Assembler._xa_prepare,
    **dict.fromkeys(events.ROWS, Assembler._rows),
}
