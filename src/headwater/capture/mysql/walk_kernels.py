"""The way through the events of the binlog: which transaction a row event belongs to, compiled.

Python is asked only at events that are rare (`walk` stops before them): a table map not seen before, a statement, a
new file, a GTID of MySQL or of another domain. Sources of the formats: `headwater.capture.mysql.binlog`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Commits = NDArray[np.uint64]
Heads = tuple[Integers, Integers, Integers, Integers, Integers, Integers, Integers]
"""Per event, as in `events.Events`: begins, ends, tables, times_s, servers, positions, sizes."""

Known = tuple[Integers, Bytes, Integers, Integers, Bytes]
"""Per slot the table id, where its table map's bytes are, and whether the table is captured (the bytes go second). The
latest slot of an id counts."""

Places = tuple[Integers, Commits, Integers, Integers]
"""Per row event its slot (-1: not captured), commit number, ordinal and commit time in microseconds."""

ROW, MAP, COMMIT, MARIADB_GTID, QUERY, SILENT, SPECIAL = 1, 2, 3, 4, 5, 6, 7
"""What an event is to the walk (`codes`)."""

INSIDE, STANDALONE, NUMBER, BEGAN, TIME_US, DOMAIN, SERVER, SEQUENCE = 0, 1, 2, 3, 4, 5, 6, 7
"""State of the transaction that is open: whether one is, whether one event is all of it, its next event's number, the
position of its begin (low 36 bits of a commit number), its time, its GTID."""

FILE, POSITION = 8, 9
"""The file's part of commit numbers, and where in the file the next event begins."""

DONE, DONE_AT, DONE_BEGAN, DONE_NUMBER, DONE_TIME_US, DONE_SERVER, DONE_SEQUENCE = 10, 11, 12, 13, 14, 15, 16
"""Of the last transaction that ended: how many did, where it ended, where it began, how many events it had, its time
and its GTID (in the same domain)."""

STATE_SIZE = 17

_BEGIN = np.frombuffer(b"BEGIN", np.uint8)
_COMMIT = np.frombuffer(b"COMMIT", np.uint8)
_FOUR_GIB = 1 << 32


@njit(cache=True, nogil=True)
def _little_endian(buffer: Bytes, at: int, size: int) -> np.int64:
    value = np.int64(0)
    for i in range(size):
        value |= np.int64(buffer[at + i]) << (8 * i)
    return value


@njit(cache=True, nogil=True)
def _says(buffer: Bytes, begin: int, end: int, word: Bytes) -> bool:
    """Whether the statement of the QUERY at `begin` is `word`: 13 bytes of header, status variables, database, zero."""
    if begin + 13 > end:
        return False
    at = begin + 13 + _little_endian(buffer, begin + 11, 2) + np.int64(buffer[begin + 8]) + 1
    if end - at != word.size:
        return False
    return bool(np.all(buffer[at:end] == word))


@njit(cache=True, nogil=True)
def _slot(
    buffer: Bytes,
    begin: int,
    end: int,
    table: int,
    ids: Integers,
    maps: Bytes,
    map_begins: Integers,
    map_ends: Integers,
) -> int:
    """The slot whose table map has that id and those very bytes (after the id); -1 if there is none."""
    for slot in range(ids.size - 1, -1, -1):
        if ids[slot] != table:
            continue
        size = map_ends[slot] - map_begins[slot]
        if size != end - begin:
            return -1
        for i in range(size):
            if buffer[begin + i] != maps[map_begins[slot] + i]:
                return -1
        return slot
    return -1


@njit(cache=True, nogil=True)
def end_transaction(state: Integers) -> None:
    """The open transaction ends where the next event begins."""
    state[DONE] += 1
    state[DONE_AT] = state[POSITION]
    state[DONE_BEGAN] = state[BEGAN]
    state[DONE_NUMBER] = state[NUMBER]
    state[DONE_TIME_US] = state[TIME_US]
    state[DONE_SERVER] = state[SERVER]
    state[DONE_SEQUENCE] = state[SEQUENCE]
    state[INSIDE] = 0


@njit(cache=True, nogil=True)
def move_on(state: Integers, after: int) -> None:
    """The next event begins at `after`, of which events tell the low 32 bits; 0 if the event is in no file."""
    if after == 0:
        return
    position = (state[POSITION] & ~np.int64(_FOUR_GIB - 1)) | after
    if position < state[POSITION]:
        position += _FOUR_GIB
    state[POSITION] = position


@njit(cache=True, nogil=True)
def _latest(ids: Integers, table: int) -> int:
    """The last slot of a table id; -1 if there is none."""
    for slot in range(ids.size - 1, -1, -1):
        if ids[slot] == table:
            return slot
    return -1


@njit(cache=True, nogil=True)
def _begin_mariadb(buffer: Bytes, begin: int, position: int, time_s: int, server: int, state: Integers) -> bool:
    """A transaction begins with the GTID at `begin`: 8 bytes of sequence, 4 of domain, flags (1 standalone, 64 and 128
    the halves of an XA transaction). False if Python must look at it."""
    flags = np.int64(buffer[begin + 12])
    if state[INSIDE] or _little_endian(buffer, begin + 8, 4) != state[DOMAIN] or flags & (64 | 128):
        return False
    move_on(state, position)
    state[INSIDE], state[STANDALONE], state[NUMBER] = 1, flags & 1, 0
    state[BEGAN], state[TIME_US] = state[POSITION], time_s * 1_000_000
    state[SERVER], state[SEQUENCE] = server, _little_endian(buffer, begin, 8)
    return True


@njit(cache=True, nogil=True)
def walk(
    buffer: Bytes, codes: Bytes, heads: Heads, start: int, known: Known, state: Integers, places: Places
) -> tuple[int, int]:
    """Walks from event `start` up to one that Python must look at.

    Args: see the types and indexes above; `places` is filled for row events of captured tables, `state` changed.

    Returns:
        The event to look at (their number if there is none); the event after the last transaction's end, or -1.
    """
    begins, ends, tables, times_s, servers, positions, sizes = heads
    ids, maps, map_begins, map_ends, wanted = known
    slots, commits, ordinals, times_us = places
    ended = -1
    for at in range(start, codes.size):
        code = codes[at]
        if code == SPECIAL:
            return at, ended
        if code == ROW:
            slot = _latest(ids, tables[at])
            if slot < 0 or not state[INSIDE]:
                return at, ended
            if wanted[slot]:
                slots[at] = slot
                commits[at] = np.uint64(state[FILE]) | np.uint64(state[BEGAN])
                ordinals[at] = state[NUMBER] << 32
                times_us[at] = state[TIME_US]
            state[NUMBER] += 1
        elif code == MAP:
            if _slot(buffer, begins[at], ends[at], tables[at], ids, maps, map_begins, map_ends) < 0:
                return at, ended
        elif code == MARIADB_GTID:
            if not _begin_mariadb(buffer, begins[at], positions[at] - sizes[at], times_s[at], servers[at], state):
                return at, ended
        elif code == QUERY:
            commits_it = _says(buffer, begins[at], ends[at], _COMMIT)
            plain = commits_it or _says(buffer, begins[at], ends[at], _BEGIN)
            if not state[INSIDE] or state[STANDALONE] or not plain:
                return at, ended
            code = np.uint8(COMMIT if commits_it else QUERY)
        if code == COMMIT:
            if not state[INSIDE]:
                return at, ended
            move_on(state, positions[at])
            end_transaction(state)
            ended = at + 1
        elif code != SILENT:
            move_on(state, positions[at])
    return codes.size, ended
