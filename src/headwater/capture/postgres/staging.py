"""Row messages of transactions on their way to a group, end to end in one store, and the tables they are of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headwater.capture.postgres import walk
from headwater.capture.postgres.kernels import Integers
from headwater.capture.postgres.rows import Places
from headwater.capture.postgres.table import Layout
from headwater.capture.postgres.wire import Frames

GROUP_RECORDS = 10_000
GROUP_BYTES = 32 << 20
"""Once this much is complete, a group is handed over."""

PART_RECORDS = 50_000
"""A transaction of more rows, or of more bytes than a group, is handed over in parts."""


@dataclass(eq=False)
class Input:
    """Messages that are being walked: `at` is the next one; `header` bytes stand before each."""

    frames: Frames
    header: int
    at: int = 0

    @property
    def done(self) -> bool:
        """All have been walked."""
        return self.at >= len(self.frames)


@dataclass(frozen=True)
class Transactions:
    """Whole transactions in the order of their commits: arrays of one value for each.

    Attributes:
        commits, ends: uint64: LSN of the commit record, and of its end.
        times_us: int64: commit time, microseconds since 1970 UTC.
        xids: uint32: transaction id.
        ordinals: int64: how many ordinals it has.
    """

    commits: np.ndarray
    ends: np.ndarray
    times_us: np.ndarray
    xids: np.ndarray
    ordinals: np.ndarray

    def __len__(self) -> int:
        return int(self.commits.size)

    def without_first(self) -> Transactions:
        """The others."""
        return Transactions(self.commits[1:], self.ends[1:], self.times_us[1:], self.xids[1:], self.ordinals[1:])


@dataclass(frozen=True)
class Rows:
    """Row messages of one slot, and where they stand."""

    slot: int
    messages: Frames
    places: Places


class Staging:
    """What `walk` fills.

    Args:
        after: transactions that commit before this LSN are passed over.
    """

    def __init__(self, after: int) -> None:
        self.state = np.zeros(walk.STATE_FIELDS, np.int64)
        self.state[walk.AFTER] = self.state[walk.LSN] = after
        self.layouts: list[Layout | None] = []
        """Layout of each slot; None for a table that is not captured."""
        self.oids: list[int] = []
        """Table of each slot."""
        self._slots: dict[int, int] = {}
        self._hash()
        self._limits = np.array([GROUP_RECORDS, PART_RECORDS, GROUP_BYTES], np.int64)
        self._store = np.empty(1 << 16, np.uint8)
        self._rows = np.empty((walk.ROW_FIELDS, 1 << 10), np.int64)
        self._transactions = np.empty((walk.TX_FIELDS, 1 << 10), np.int64)

    @property
    def full(self) -> bool:
        """Nothing more is taken in before something is taken out."""
        settled, rows, size = (self.state[at] for at in (walk.SETTLED_ROWS, walk.ROWS, walk.BYTES))
        return bool(settled >= self._limits[0] or rows >= self._limits[1] or size >= self._limits[2])

    @property
    def spoken(self) -> bool:
        """Whether a whole transaction is there that has anything to say."""
        return bool(self._transactions[walk.TX_ORDINALS, : self.state[walk.TRANSACTIONS]].any())

    def walk(self, source: Input) -> int:
        """Walks on; why it stopped, see `walk.walk`."""
        frames = source.frames
        left = len(frames) - source.at
        self._make_room(left, int(frames.ends[-1] - frames.begins[source.at]))
        tables = self._oids, self._slot_numbers
        where = frames.buffer, frames.begins, frames.ends, source.at, source.header, self._limits, tables
        source.at, reason = walk.walk(*where, self.state, self._store, self._rows, self._transactions)
        return reason

    def open(self, commit: int, time_us: int, xid: int) -> None:
        """Opens a transaction whose rows were sent before it committed."""
        state = self.state
        state[[walk.INSIDE, walk.COMMIT, walk.TIME, walk.XID, walk.ORDINAL]] = 1, commit, time_us, xid, 0
        state[walk.SKIP] = commit < state[walk.AFTER]

    def settle(self, lsn: int) -> None:
        """Ends the open transaction."""
        self._make_room(1, 0)
        walk.settle(lsn, self.state, self._transactions)

    def append(self, slot: int, message: bytes) -> None:
        """Adds a record of the open transaction."""
        self._make_room(1, len(message))
        source = np.frombuffer(bytearray(message), np.uint8)
        walk.store_row(source, 0, source.size, slot, self.state, self._store, self._rows)

    def next_ordinal(self) -> int:
        """Takes an ordinal of the open transaction for something that is not stored here."""
        self.state[walk.ORDINAL] += 1
        return int(self.state[walk.ORDINAL]) - 1

    def slot(self, oid: int) -> int | None:
        """The slot of a table; None if it has none yet."""
        return self._slots.get(oid)

    def put(self, oid: int, layout: Layout | None) -> int:
        """Gives a table a slot: from here on its rows have that layout."""
        slot = len(self.layouts)
        self.layouts.append(layout)
        self.oids.append(oid)
        self._slots[oid] = slot
        self._hash()
        return slot

    def follow(self, layout_of: Callable[[int], Layout | None]) -> None:
        """Forgets the slots of tables that have another layout now."""
        for oid in [oid for oid, slot in self._slots.items() if self.layouts[slot] is not layout_of(oid)]:
            self.forget(oid)

    def forget(self, oid: int) -> None:
        """A table's layout has changed: the rows that follow need a slot of their own."""
        if self._slots.pop(oid, None) is not None:
            self._hash()

    def _hash(self) -> None:
        size = 1 << max(4, (2 * len(self._slots)).bit_length())
        self._oids, self._slot_numbers = np.full(size, -1, np.int64), np.zeros(size, np.int64)
        for oid, slot in self._slots.items():
            walk.put_slot(oid, slot, self._oids, self._slot_numbers)

    def _make_room(self, messages: int, size: int) -> None:
        state = self.state
        self._rows = _with_room(self._rows, int(state[walk.ROWS]), messages)
        self._transactions = _with_room(self._transactions, int(state[walk.TRANSACTIONS]), messages)
        self._store = _with_room(self._store, int(state[walk.BYTES]), size)

    def rows(self, count: int) -> list[Rows]:
        """The first `count` rows by slot, in the order of the slots, which is the order in which layouts followed."""
        rows, store = self._rows[:, :count], self._store
        ends = rows[walk.END]
        begins = np.concatenate(([0], ends[:-1])) if count else ends
        slots = rows[walk.SLOT]
        found = []
        for slot, at in _by_slot(slots):
            commits = rows[walk.ROW_COMMIT][at].view(np.uint64)
            places = Places(commits, rows[walk.ROW_ORDINAL][at], rows[walk.ROW_TIME][at])
            found.append(Rows(slot, Frames(store, begins[at], ends[at]), places))
        return found

    def open_transaction(self) -> Transactions:
        """The open one, as far as it is known; its `end` is its commit."""
        commit, time_us, xid, ordinals = (
            self.state[at : at + 1].copy() for at in (walk.COMMIT, walk.TIME, walk.XID, walk.ORDINAL)
        )
        return Transactions(commit.view(np.uint64), commit.view(np.uint64), time_us, xid.astype(np.uint32), ordinals)

    def transactions(self) -> Transactions:
        """The whole transactions."""
        found = self._transactions[:, : self.state[walk.TRANSACTIONS]].copy()
        commits, ends = found[walk.TX_COMMIT].view(np.uint64), found[walk.TX_END].view(np.uint64)
        return Transactions(
            commits, ends, found[walk.TX_TIME], found[walk.TX_XID].astype(np.uint32), found[walk.TX_ORDINALS]
        )

    def drop(self, count: int) -> None:
        """Takes the first `count` rows out, and all whole transactions."""
        state = self.state
        size = int(self._rows[walk.END, count - 1]) if count else 0
        left, left_bytes = int(state[walk.ROWS]) - count, int(state[walk.BYTES]) - size
        self._rows[:, :left] = self._rows[:, count : count + left].copy()
        self._rows[walk.END, :left] -= size
        self._store[:left_bytes] = self._store[size : size + left_bytes].copy()
        if self._store.size > 4 * GROUP_BYTES:
            self._store = self._store[:left_bytes].copy()
        state[walk.ROWS], state[walk.BYTES] = left, left_bytes
        state[walk.TRANSACTIONS] = state[walk.SETTLED_ROWS] = state[walk.SETTLED_BYTES] = 0


def _with_room(array: np.ndarray, used: int, more: int) -> np.ndarray:
    """`array`, or a larger one with its first `used` places, that has room for `more`; places count along the last
    axis."""
    if used + more <= array.shape[-1]:
        return array
    grown = np.empty((*array.shape[:-1], (used + more) * 3 // 2), array.dtype)
    grown[..., :used] = array[..., :used]
    return grown


def _by_slot(slots: Integers) -> list[tuple[int, np.ndarray | slice]]:
    """Which rows are of which slot; a slice if all are of one."""
    if not slots.size:
        return []
    if (slots == slots[0]).all():
        return [(int(slots[0]), slice(None))]
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return [(int(ordered[start]), part) for start, part in zip(starts, np.split(order, starts[1:]), strict=True)]
