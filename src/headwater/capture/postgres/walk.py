"""Compiled walks over whole buffers of replication messages: Python sees a transaction at most, never a row.

`walk` follows ordinary transactions: it copies row messages end to end into a store and notes for each which table it
is of and where it stands. `hold` copies the messages of a transaction that has not committed yet. Both stop at whatever
else comes, for Python to act on. Formats: "Logical Replication Message Formats" in PostgreSQL's manual.

Every length is checked against what remains of its message before it is used.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from headwater.capture.postgres.kernels import Bytes, Integers, big_endian_4, big_endian_8
from headwater.capture.postgres.libpq import copy_bytes

DONE, RARE, UNKNOWN_TABLE, FULL, DECLARED, MALFORMED = 0, 1, 2, 3, 4, -1
"""Why a walk stopped: nothing left; a message for Python; a row of a table without a slot; room used up; a Relation
message that is held, and holds for others as well; nonsense."""

INSIDE, COMMIT, TIME, XID, ORDINAL, SKIP, AFTER, LSN = range(8)
ROWS, BYTES, TRANSACTIONS, SETTLED_ROWS, SETTLED_BYTES, LAST_TABLE, LAST_SLOT = range(8, 15)
STATE_FIELDS = 15
"""Places in a walk's state, int64: whether a transaction is open, its commit LSN, commit time, id, the next ordinal,
and whether it is passed over, being before AFTER; the end of the last whole one; how much was stored, and up to its
end; the table of the last row, and its slot."""

SLOT, END, ROW_COMMIT, ROW_ORDINAL, ROW_TIME = range(5)
ROW_FIELDS = 5
"""What is noted of a row: its table's slot, where its message ends in the store (it begins where the one before ends),
and its place."""

TX_COMMIT, TX_END, TX_TIME, TX_XID, TX_ORDINALS = range(5)
TX_FIELDS = 5
"""What is noted of a whole transaction: LSNs of its commit and of its end, its time, its id, its number of ordinals."""

POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC in microseconds since 1970."""

_XLOG_DATA = ord("w")
_INSERT, _UPDATE, _DELETE, _TRUNCATE = ord("I"), ord("U"), ord("D"), ord("T")
_BEGIN, _COMMIT = ord("B"), ord("C")
_RELATION, _MESSAGE, _TYPE, _ORIGIN = ord("R"), ord("M"), ord("Y"), ord("O")
_SPREAD = np.int64(0x9E3779B1)


@njit(cache=True, nogil=True)
def slot_of(oid: int, oids: Integers, slots: Integers) -> int:
    """The slot of a table in a hash table of a power of two entries, of which one is empty (-1) at least; or -1."""
    mask = oids.size - 1
    at = (oid * _SPREAD >> 7) & mask
    while oids[at] != -1:
        if oids[at] == oid:
            return int(slots[at])
        at = (at + 1) & mask
    return -1


@njit(cache=True, nogil=True)
def put_slot(oid: int, slot: int, oids: Integers, slots: Integers) -> None:
    """Sets the slot of a table; there must be room."""
    mask = oids.size - 1
    at = (oid * _SPREAD >> 7) & mask
    while oids[at] not in (-1, oid):
        at = (at + 1) & mask
    oids[at], slots[at] = oid, slot


@njit(cache=True, nogil=True)
def _begin(source: Bytes, at: int, end: int, state: Integers) -> bool:
    """Opens the transaction of a Begin message; False if it is none."""
    if end - at != 21 or state[INSIDE]:
        return False
    state[INSIDE] = 1
    state[COMMIT] = big_endian_8(source, at + 1)
    state[TIME] = big_endian_8(source, at + 9) + POSTGRES_EPOCH_US
    state[XID] = big_endian_4(source, at + 17)
    state[ORDINAL] = 0
    state[SKIP] = state[COMMIT] < state[AFTER]
    return True


@njit(cache=True, nogil=True)
def settle(lsn: int, state: Integers, transactions: Integers) -> None:
    """Ends the open transaction at `lsn`."""
    if not state[SKIP]:
        number = state[TRANSACTIONS]
        transactions[TX_COMMIT, number] = state[COMMIT]
        transactions[TX_END, number] = lsn
        transactions[TX_TIME, number] = state[TIME]
        transactions[TX_XID, number] = state[XID]
        transactions[TX_ORDINALS, number] = state[ORDINAL]
        state[TRANSACTIONS] += 1
        state[SETTLED_ROWS] = state[ROWS]
        state[SETTLED_BYTES] = state[BYTES]
    state[INSIDE] = 0
    state[LSN] = max(state[LSN], lsn)


@njit(cache=True, nogil=True)
def store_row(source: Bytes, at: int, end: int, slot: int, state: Integers, store: Bytes, rows: Integers) -> None:
    """Stores a row message of the open transaction; there must be room."""
    to = state[BYTES]
    if to + end - at > store.size or end > source.size:
        raise IndexError("a row message has no room")
    copy_bytes(store.ctypes.data + to, source.ctypes.data + at, end - at)
    row = state[ROWS]
    state[BYTES] = to + end - at
    rows[SLOT, row] = slot
    rows[END, row] = state[BYTES]
    rows[ROW_COMMIT, row] = state[COMMIT]
    rows[ROW_ORDINAL, row] = state[ORDINAL]
    rows[ROW_TIME, row] = state[TIME]
    state[ROWS] = row + 1
    state[ORDINAL] += 1


@njit(cache=True, nogil=True)
def _row(
    source: Bytes,
    at: int,
    end: int,
    limits: Integers,
    tables: tuple[Integers, Integers],
    state: Integers,
    store: Bytes,
    rows: Integers,
) -> int:
    """Stores a row message, or says why it cannot; see `walk`."""
    if not state[INSIDE] or end - at < 6:
        return MALFORMED
    if state[SKIP]:
        return DONE
    oid = big_endian_4(source, at + 1)
    if oid != state[LAST_TABLE]:
        state[LAST_TABLE], state[LAST_SLOT] = oid, slot_of(oid, tables[0], tables[1])
    if state[LAST_SLOT] < 0:
        return UNKNOWN_TABLE
    if state[SETTLED_ROWS] >= limits[0] or state[ROWS] >= limits[1] or state[BYTES] >= limits[2]:
        return FULL
    store_row(source, at, end, state[LAST_SLOT], state, store, rows)
    return DONE


@njit(cache=True, nogil=True)
def walk(
    source: Bytes,
    begins: Integers,
    ends: Integers,
    at: int,
    header: int,
    limits: Integers,
    tables: tuple[Integers, Integers],
    state: Integers,
    store: Bytes,
    rows: Integers,
    transactions: Integers,
) -> tuple[int, int]:
    """Follows ordinary transactions from message `at` on.

    Args:
        source, begins, ends: uint8, int64, int64: the messages.
        header: bytes of XLogData before the plugin's message; 0 if there is none.
        limits: int64: rows of whole transactions, rows, and bytes in the store at which it is full.
        tables: see `slot_of`.
        state, rows, transactions: int64, see the constants of this module; room for all messages that are left.
        store: uint8, room for all that is left.

    Returns:
        The message that it stopped at, and why.
    """
    state[LAST_TABLE] = -1
    while at < begins.size:
        begin, end = begins[at] + header, ends[at]
        if header and end > begins[at] and source[begins[at]] != _XLOG_DATA:
            return at, RARE
        if begin >= end:
            return at, MALFORMED
        kind = source[begin]
        if kind in (_INSERT, _UPDATE, _DELETE):
            reason = _row(source, begin, end, limits, tables, state, store, rows)
            if reason != DONE:
                return at, reason
        elif kind == _BEGIN:
            if not _begin(source, begin, end, state):
                return at, MALFORMED
        elif kind == _COMMIT:
            if end - begin != 26 or not state[INSIDE] or big_endian_8(source, begin + 2) != state[COMMIT]:
                return at, MALFORMED
            settle(big_endian_8(source, begin + 10), state, transactions)
        else:
            return at, RARE
        at += 1
    return at, DONE


@njit(cache=True, nogil=True)
def hold(
    source: Bytes,
    begins: Integers,
    ends: Integers,
    at: int,
    header: int,
    prefix: int,
    store: Bytes,
    store_ends: Integers,
    xids: Integers,
) -> tuple[int, int, int]:
    """Copies the messages from `at` on that belong to a transaction which has not committed.

    Args:
        source, begins, ends, header: as for `walk`.
        prefix: 4 if a message's kind is followed by the id of its (sub)transaction, which is left out; else 0.
        store: uint8, room for all that is left.
        store_ends, xids: int64, room for all messages that are left: where each ends in `store`, and its transaction.

    Returns:
        The message that it stopped at, why (DONE, RARE, DECLARED, MALFORMED), and how many it copied.
    """
    count, to = 0, 0
    while at < begins.size:
        begin, end = begins[at] + header, ends[at]
        if end > begins[at] and source[begins[at]] != _XLOG_DATA:
            return at, RARE, count
        if begin >= end:
            return at, MALFORMED, count
        kind = source[begin]
        if kind in (_INSERT, _UPDATE, _DELETE, _TRUNCATE, _RELATION, _MESSAGE):
            if end - begin < 6 + prefix:
                return at, MALFORMED, count
            store[to] = kind
            to += 1
            for i in range(begin + 1 + prefix, end):
                store[to] = source[i]
                to += 1
            store_ends[count] = to
            xids[count] = big_endian_4(source, begin + 1) if prefix else 0
            count += 1
            if kind == _RELATION and not prefix:
                return at + 1, DECLARED, count
        elif kind not in (_TYPE, _ORIGIN):
            return at, RARE, count
        at += 1
    return at, DONE, count
