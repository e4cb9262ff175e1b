"""Compiled loops over the frames of binlog events: headers, checksums, and where one event ends and the next begins.

Format: "Binary Log Event Header" in MySQL's source documentation (`Log_event_header`), the same in MariaDB's knowledge
base: timestamp 4, type 1, server id 4, event size 4, log position 4, flags 2, little endian. All of these return where
they stopped rather than raise, since a raise costs a copy of the arguments.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]

HEADER = 19
CHECKSUM = 4
FORMAT_DESCRIPTION = 15
_ROWS_V1_FIRST, _ROWS_V1_LAST, _ROWS_V2_FIRST, _ROWS_V2_LAST = 23, 25, 30, 32
_TABLE_MAP, _PARTIAL_UPDATE = 19, 39
_COMPRESSED_FIRST, _COMPRESSED_LAST = 166, 171

CUT_SHORT = 1
BAD_SIZE = 2
BAD_CHECKSUM = 3


def _crc_tables() -> NDArray[np.uint32]:
    """Tables of CRC-32 (polynomial 0xEDB88320), [8, 256], for eight bytes at a time ("slicing by 8")."""
    tables = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        tables[0, byte] = value
    for step in range(1, 8):
        former = tables[step - 1]
        tables[step] = (former >> np.uint32(8)) ^ tables[0, former & np.uint32(0xFF)]
    return tables


_TABLES = _crc_tables()


@njit(cache=True, nogil=True)
def crc32(buffer: Bytes, begin: int, end: int) -> np.uint32:
    """CRC-32 of `buffer[begin:end]`, as zlib computes it."""
    crc = np.uint32(0xFFFFFFFF)
    at = begin
    while at + 8 <= end:
        low = crc ^ (
            np.uint32(buffer[at])
            | np.uint32(buffer[at + 1]) << np.uint32(8)
            | np.uint32(buffer[at + 2]) << np.uint32(16)
            | np.uint32(buffer[at + 3]) << np.uint32(24)
        )
        crc = (
            _TABLES[7, low & np.uint32(0xFF)]
            ^ _TABLES[6, (low >> np.uint32(8)) & np.uint32(0xFF)]
            ^ _TABLES[5, (low >> np.uint32(16)) & np.uint32(0xFF)]
            ^ _TABLES[4, low >> np.uint32(24)]
            ^ _TABLES[3, buffer[at + 4]]
            ^ _TABLES[2, buffer[at + 5]]
            ^ _TABLES[1, buffer[at + 6]]
            ^ _TABLES[0, buffer[at + 7]]
        )
        at += 8
    while at < end:
        crc = (crc >> np.uint32(8)) ^ _TABLES[0, (crc ^ np.uint32(buffer[at])) & np.uint32(0xFF)]
        at += 1
    return crc ^ np.uint32(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def little_endian(buffer: Bytes, at: int, width: int) -> np.int64:
    """The unsigned integer of `width` bytes (at most 8; of 8 the two's complement) at `at`."""
    value = np.int64(0)
    for i in range(width):
        value |= np.int64(buffer[at + i]) << np.int64(8 * i)
    return value


@njit(cache=True, nogil=True)
def _checksum(buffer: Bytes, begin: int, end: int) -> np.uint32:
    """An event's checksum. That of a FORMAT_DESCRIPTION is taken before the flag 1, "the file is in use", is set."""
    if buffer[begin + 4] == FORMAT_DESCRIPTION and buffer[begin + 17] & 1:
        event = buffer[begin:end].copy()
        event[17] &= 0xFE
        return crc32(event, 0, event.size)
    return crc32(buffer, begin, end)


@njit(cache=True, nogil=True)
def _has_table(kind: int) -> bool:
    return (
        kind in (_TABLE_MAP, _PARTIAL_UPDATE)
        or _ROWS_V1_FIRST <= kind <= _ROWS_V1_LAST
        or _ROWS_V2_FIRST <= kind <= _ROWS_V2_LAST
        or _COMPRESSED_FIRST <= kind <= _COMPRESSED_LAST
    )


@njit(cache=True, nogil=True)
def _body_end(buffer: Bytes, begin: int, end: int, checksum: bool) -> tuple[int, bool]:
    """Where the event's body ends, or -1 - the reason why it is none, and whether events after it carry a checksum."""
    if begin < 0 or end > buffer.size or end - begin < HEADER:
        return -1 - CUT_SHORT, checksum
    if little_endian(buffer, begin + 9, 4) != end - begin:
        return -1 - BAD_SIZE, checksum
    described = buffer[begin + 4] == FORMAT_DESCRIPTION
    if end - begin < HEADER + (CHECKSUM if checksum or described else 0) + described:
        return -1 - CUT_SHORT, checksum
    if described:
        # It always ends with the algorithm's number and room for a checksum, which is filled if there is one.
        checksum = buffer[end - CHECKSUM - 1] == 1
    body_end = end - (CHECKSUM if checksum or described else 0)
    if checksum and _checksum(buffer, begin, body_end) != np.uint32(little_endian(buffer, body_end, 4)):
        return -1 - BAD_CHECKSUM, checksum
    if _has_table(int(buffer[begin + 4])) and body_end - begin < HEADER + 8:
        return -1 - CUT_SHORT, checksum
    return body_end, checksum


@njit(cache=True, nogil=True)
def scan_headers(
    buffer: Bytes, begins: Integers, ends: Integers, checksum: bool, types: Bytes, heads: Integers, failure: Integers
) -> bool:
    """Reads the headers of events, verifies and cuts off checksums.

    Args:
        buffer: uint8.
        begins, ends: int64 per event, of the whole event; changed to begin and end of its body.
        checksum: whether events carry one until a FORMAT_DESCRIPTION says otherwise.
        types: uint8 per event, filled.
        heads: int64 [5, event], filled with time, server, position, flags, and the table's id (-1 if it has none).
        failure: int64[2], filled with the event and the reason (CUT_SHORT, BAD_SIZE, BAD_CHECKSUM), reason 0 if none.

    Returns:
        Whether events after these carry a checksum.
    """
    failure[1] = 0
    for i in range(begins.size):
        begin = int(begins[i])
        end, checksum = _body_end(buffer, begin, int(ends[i]), checksum)
        if end < 0:
            failure[0], failure[1] = i, -1 - end
            return checksum
        types[i] = buffer[begin + 4]
        heads[0, i] = little_endian(buffer, begin, 4)
        heads[1, i] = little_endian(buffer, begin + 5, 4)
        heads[2, i] = little_endian(buffer, begin + 13, 4)
        heads[3, i] = little_endian(buffer, begin + 17, 2)
        heads[4, i] = little_endian(buffer, begin + HEADER, 6) if _has_table(int(types[i])) else -1
        begins[i], ends[i] = begin + HEADER, end
    return checksum


@njit(cache=True, nogil=True)
def split_events(buffer: Bytes, begin: int, end: int, begins: Integers, ends: Integers) -> int:
    """Finds events that follow one another, as in a file or a transaction's payload, by their sizes.

    Args:
        buffer: uint8.
        begin, end: where to look.
        begins, ends: int64, room for (end - begin) // HEADER of them; filled.

    Returns:
        Number of whole events. What is left after `ends[-1]` is an event that is not whole yet. -1 - i if event i says
        that it is smaller than its own header.
    """
    count, at = 0, begin
    while at + HEADER <= end:
        size = int(little_endian(buffer, at + 9, 4))
        if size < HEADER:
            return -1 - count
        if at + size > end:
            break
        begins[count], ends[count] = at, at + size
        count += 1
        at += size
    return count
