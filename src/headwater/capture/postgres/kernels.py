"""Compiled loops over the bytes that PostgreSQL sends: which bytes are which value, and copying them into columns.

Python sees a message at a time, these see the values. Formats: "Logical Replication Message Formats" and "COPY, Text
Format" in PostgreSQL's manual. All of them return where they stopped rather than raise, since a raise costs a copy of
the arguments.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.capture.postgres.libpq import copy_bytes

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Offsets = NDArray[np.int32]
Weights = NDArray[np.int8]
Flags = NDArray[np.bool_]

NULL = 0
TEXT = 1
UNCHANGED = 2

"""What stands in a field; UNCHANGED is a stored-out-of-line value that an update did not touch (TOAST)."""

GATHERED_ROWS = 64
"""Rows that are taken apart at a time; those of a wide table are a part of the cache next to the processor."""

_INSERT, _UPDATE, _DELETE, _TRUNCATE = ord("I"), ord("U"), ord("D"), ord("T")
_KEY, _OLD, _NEW = ord("K"), ord("O"), ord("N")
_NULL_FIELD, _UNCHANGED_FIELD, _TEXT_FIELD = ord("n"), ord("u"), ord("t")
_OP_INSERT, _OP_UPDATE, _OP_DELETE, _OP_TRUNCATE = 1, 2, 3, 4


@njit(cache=True, nogil=True)
def big_endian_4(buffer: Bytes, at: int) -> int:
    """An unsigned number of 4 bytes."""
    high = (np.int64(buffer[at]) << 24) | (np.int64(buffer[at + 1]) << 16)
    return int(high | (np.int64(buffer[at + 2]) << 8) | np.int64(buffer[at + 3]))


@njit(cache=True, nogil=True)
def big_endian_8(buffer: Bytes, at: int) -> int:
    """A number of 8 bytes."""
    return big_endian_4(buffer, at) << 32 | big_endian_4(buffer, at + 4)


@njit(cache=True, nogil=True)
def _scan_tuple(buffer: Bytes, at: int, end: int, row: int, starts: Integers, lengths: Integers, kinds: Bytes) -> int:
    """Finds the fields of the TupleData at `at`; returns the byte after it, or -1 if it is not of our width."""
    width = starts.shape[0]
    if at + 2 > end or (np.int64(buffer[at]) << 8 | np.int64(buffer[at + 1])) != width:
        return -1
    at += 2
    for column in range(width):
        if at >= end:
            return -1
        field = buffer[at]
        at += 1
        if field == _TEXT_FIELD:
            if at + 4 > end:
                return -1
            length = int(big_endian_4(buffer, at))
            at += 4
            if at + length > end:
                return -1
            kinds[column, row] = TEXT
            starts[column, row] = at
            lengths[column, row] = length
            at += length
        elif field == _UNCHANGED_FIELD:
            kinds[column, row] = UNCHANGED
        elif field != _NULL_FIELD:
            return -1
    return at


@njit(cache=True, nogil=True)
def _fill_unchanged(row: int, old: int, starts: Integers, lengths: Integers, kinds: Bytes) -> None:
    """Under REPLICA IDENTITY FULL the new tuple still leaves untouched TOAST values out; the old one has them."""
    for column in range(starts.shape[0]):
        if kinds[column, row] == UNCHANGED:
            kinds[column, row] = kinds[column, old]
            starts[column, row] = starts[column, old]
            lengths[column, row] = lengths[column, old]


@njit(cache=True, nogil=True)
def count_rows(buffer: Bytes, begins: Integers, ends: Integers, width: int) -> int:
    """How many rows, old and new, a run of row messages has, each of `width` fields of a byte at least.

    Returns:
        Number of rows, or -1 - i if message i is too short for its own.
    """
    rows = 0
    for message in range(begins.size):
        at, end = begins[message], ends[message]
        rows += 1
        if end > at and buffer[at] == _TRUNCATE:
            continue
        if end - at < 8 + width:
            return -1 - message
        if buffer[at] != _DELETE and buffer[at + 5] in (_KEY, _OLD):
            rows += 1
            if end - at < 11 + 2 * width:
                return -1 - message
    return rows


@njit(cache=True, nogil=True)
def scan_messages(
    buffer: Bytes,
    begins: Integers,
    ends: Integers,
    starts: Integers,
    lengths: Integers,
    kinds: Bytes,
    message_of: Integers,
    ops: Bytes,
    weights: Weights,
) -> int:
    """Finds every field of a run of pgoutput row messages.

    Args:
        buffer: uint8, the messages end to end.
        begins, ends: int64 per message; `begins` points at its type byte.
        starts, lengths, kinds: int64, int64, uint8 [column, row], kinds all NULL; room as `count_rows` says.
        message_of, ops, weights: int64, uint8, int8 per row.

    Returns:
        Number of rows, or -1 - i if message i is not what it should be.
    """
    row = 0
    for message in range(begins.size):
        at, end = begins[message], ends[message]
        kind = buffer[at]
        message_of[row] = message
        if kind == _TRUNCATE:
            ops[row], weights[row] = _OP_TRUNCATE, -1
            row += 1
            continue
        at += 5
        if at >= end or (kind != _INSERT and kind != _UPDATE and kind != _DELETE):
            return -1 - message
        marker = buffer[at]
        if marker in (_KEY, _OLD) and kind != _INSERT:
            at = _scan_tuple(buffer, at + 1, end, row, starts, lengths, kinds)
            if at < 0 or (at == end) != (kind == _DELETE):
                return -1 - message
            weights[row] = -1
            ops[row] = _OP_UPDATE if kind == _UPDATE and marker == _OLD else _OP_DELETE
            row += 1
            if kind == _DELETE:
                continue
            message_of[row] = message
        if at >= end or buffer[at] != _NEW or kind == _DELETE:
            return -1 - message
        if _scan_tuple(buffer, at + 1, end, row, starts, lengths, kinds) != end:
            return -1 - message
        if marker == _OLD:
            _fill_unchanged(row, row - 1, starts, lengths, kinds)
        weights[row] = 1
        ops[row] = _OP_INSERT if kind == _INSERT else _OP_UPDATE
        row += 1
    return row


@njit(cache=True, nogil=True)
def _unescaped(letter: int) -> int:
    """The byte that COPY writes as a backslash and `letter`."""
    if letter == ord("n"):
        return ord("\n")
    if letter == ord("t"):
        return ord("\t")
    if letter == ord("r"):
        return ord("\r")
    if letter == ord("b"):
        return 8
    if letter == ord("f"):
        return 12
    if letter == ord("v"):
        return 11
    return letter


@njit(cache=True, nogil=True)
def scan_copy(
    buffer: Bytes, begins: Integers, ends: Integers, plain: Bytes, starts: Integers, lengths: Integers, kinds: Bytes
) -> int:
    """Finds every field of rows in COPY's text format and writes them unescaped into `plain`.

    Args:
        buffer: uint8, the rows end to end, each with its newline.
        begins, ends: int64 per row.
        plain: uint8, as long as `buffer`.
        starts, lengths, kinds: int64, int64, uint8 [column, row]; `starts` will point into `plain`.

    Returns:
        Number of rows, or -1 - i if row i does not have the right number of fields.
    """
    width = starts.shape[0]
    out = 0
    for row in range(begins.size):
        at, end = begins[row], ends[row] - 1
        for column in range(width):
            start, null = out, False
            while at < end and buffer[at] != ord("\t"):
                byte = buffer[at]
                if byte == ord("\\") and at + 1 < end:
                    at += 1
                    null = buffer[at] == ord("N")
                    byte = _unescaped(buffer[at])
                plain[out] = byte
                out += 1
                at += 1
            if null:
                out = start
            kinds[column, row] = NULL if null else TEXT
            starts[column, row] = start
            lengths[column, row] = out - start
            last = column == width - 1
            if (at >= end) != last:
                return -1 - row
            at += 1
    return begins.size


@njit(cache=True, nogil=True)
def gather(buffer: Bytes, starts: Integers, lengths: Integers, kinds: Bytes) -> tuple[Offsets, Integers, Bytes]:
    """Copies each column's values end to end: some rows of every column in turn, while they are in the processor's
    cache; column after column a wide row would be fetched anew for every value.

    Args:
        buffer: the rows.
        starts, lengths, kinds: [column, row].

    Returns:
        int32 offsets [column, row + 1] as an Arrow binary array has them, int64 begins of the columns in the data
        [column + 1], and the uint8 data.
    """
    width, rows = starts.shape
    offsets, begins = np.zeros((width, rows + 1), np.int32), np.zeros(width + 1, np.int64)
    for column in range(width):
        total = 0
        for row in range(rows):
            if kinds[column, row] == TEXT:
                total += lengths[column, row]
            offsets[column, row + 1] = total
        begins[column + 1] = begins[column] + total
    data = np.empty(begins[width], np.uint8)
    for first in range(0, rows, GATHERED_ROWS):
        for column in range(width):
            for row in range(first, min(first + GATHERED_ROWS, rows)):
                if kinds[column, row] == TEXT:
                    start, to = starts[column, row], begins[column] + offsets[column, row]
                    copy_bytes(data.ctypes.data + to, buffer.ctypes.data + start, lengths[column, row])
    return offsets, begins, data


@njit(cache=True, nogil=True)
def _is_null(data: Bytes, start: int, end: int) -> bool:
    """Whether an element stands there as an unquoted NULL (an element of that text is quoted)."""
    return (
        end - start == 4
        and data[start] == ord("N")
        and data[start + 1] == ord("U")
        and data[start + 2] == ord("L")
        and data[start + 3] == ord("L")
    )


@njit(cache=True, nogil=True)
def split_arrays(
    data: Bytes,
    offsets: Offsets,
    valid: Flags,
    elements: Bytes,
    element_ends: Offsets,
    element_valid: Flags,
    list_ends: Offsets,
) -> int:
    """Splits one-dimensional array literals, `{1,NULL,"a,\\"b"}`, into their elements.

    Args:
        data, offsets: uint8 and int32 of an Arrow binary array of literals.
        valid: bool per literal; the others give an empty list.
        elements: uint8, room for `data.size`, to be filled with the elements' bytes.
        element_ends, element_valid: int32 and bool, room for `data.size` of them.
        list_ends: int32 per literal: number of elements up to its end.

    Returns:
        Number of elements, or -1 - i if literal i has other dimensions or bounds than one from 1.
    """
    count, out = 0, 0
    for row in range(offsets.size - 1):
        at, end = offsets[row], offsets[row + 1] - 1
        if valid[row] and (at >= end or data[at] != ord("{") or data[end] != ord("}")):
            return -1 - row
        at += 1
        while valid[row] and at < end:
            quoted, start = data[at] == ord('"'), out
            at += quoted
            while at < end and (data[at] != ord('"') if quoted else data[at] != ord(",")):
                if not quoted and data[at] == ord("{"):
                    return -1 - row
                at += data[at] == ord("\\")
                elements[out] = data[at]
                out += 1
                at += 1
            element_valid[count] = quoted or not _is_null(elements, start, out)
            if not element_valid[count]:
                out = start
            element_ends[count] = out
            count += 1
            at += 1 + quoted
        list_ends[row] = count
    return count
