"""Cuts a body into the bytes of its records, without looking at what they say."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numba import njit
from numpy.typing import NDArray

from headwater.errors import UserError

QUOTE, BACKSLASH, COMMA, SPACE, NEWLINE = 0x22, 0x5C, 0x2C, 0x20, 0x0A
OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT = 0x5B, 0x5D, 0x7B, 0x7D
MOST_BYTES = (1 << 31) - 1
BOM = b"\xef\xbb\xbf"


def json_lines(body: bytes) -> pa.BinaryArray:
    """The lines of NDJSON that are not blank; each with the line end after it, which is white space to JSON.

    Args:
        body: UTF-8 text; the last line may lack its end.
    """
    data = _bytes(body.removeprefix(BOM))
    ends = np.flatnonzero(data == NEWLINE) + 1
    offsets = np.concatenate(([0], ends, [] if ends.size and ends[-1] == data.size else [data.size])).astype(np.int32)
    lines = _cut(data, offsets)
    starts = offsets[:-1][offsets[:-1] < data.size]
    suspects = np.flatnonzero(data[starts] <= SPACE)  # only these can be blank
    blank = [number for number in suspects.tolist() if not lines[number].as_py().strip()]
    return lines if not blank else lines.filter(pa.array(~np.isin(np.arange(len(lines)), blank)))


def json_values(body: bytes) -> pa.BinaryArray:
    """The one object of a JSON body, or the elements of its array; white space may follow an element.

    Raises:
        UserError: the body is neither, is cut short, or goes on after its end. Whether what is inside is JSON is not
            looked at.
    """
    data = _bytes(body.removeprefix(BOM)).copy()
    starts = np.empty(int(np.count_nonzero(data == COMMA)) + 1, np.int32)
    count, at = _elements(data, starts)
    if count == _IS_NEITHER:
        raise UserError(f"byte {at}: a JSON object or an array of objects is expected")
    if count == _IS_LONGER:
        raise UserError(
            f"byte {at}: something follows the end of the JSON text; several records are an array, or NDJSON"
        )
    if count == _IS_SHORT:
        raise UserError(f"byte {at}: the JSON text does not come to its end")
    return _cut(data, np.append(starts[:count], np.int32(at)))


def csv_rows(body: bytes) -> pa.BinaryArray:
    """The records of CSV (RFC 4180), the header among them, each with its line end; line ends inside quotes are part of
    a value. Blank lines are left out.

    Raises:
        UserError: a quote is opened and never closed.
    """
    data = _bytes(body.removeprefix(BOM))
    ends = np.empty(int(np.count_nonzero(data == NEWLINE)) + 1, np.int32)
    count = _csv_ends(data, ends)
    if count < 0:
        raise UserError("a quote is opened and never closed")
    rows = _cut(data, np.concatenate((np.zeros(1, np.int32), ends[:count])))
    lengths = np.diff(np.concatenate((np.zeros(1, np.int32), ends[:count])))
    blank = [number for number in np.flatnonzero(lengths <= 2).tolist() if not rows[number].as_py().strip()]
    return rows if not blank else rows.filter(pa.array(~np.isin(np.arange(len(rows)), blank)))


def _bytes(body: bytes) -> NDArray[np.uint8]:
    if len(body) > MOST_BYTES:
        raise UserError(f"a body may have {MOST_BYTES:,} bytes")
    return np.frombuffer(body, np.uint8)


def _cut(data: NDArray[np.uint8], offsets: NDArray[np.int32]) -> pa.BinaryArray:
    """Values that lie one after the other in `data`; nothing is copied."""
    if not data.size:
        return pa.array([], pa.binary())
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


_IS_NEITHER, _IS_LONGER, _IS_SHORT = -1, -2, -3


@njit(cache=True, nogil=True)
def _elements(data: NDArray[np.uint8], starts: NDArray[np.int32]) -> tuple[int, int]:
    """Where the elements begin, and where the last one ends; the commas between them become spaces.

    Returns:
        Number of elements and end of the last; or what is wrong, and where.
    """
    at, size = _past_space(data, 0), data.size
    if at == size or (data[at] not in (OPEN_OBJECT, OPEN_LIST)):
        return _IS_NEITHER, at
    is_list = data[at] == OPEN_LIST
    starts[0] = at + 1 if is_list else at
    count, depth, quoted = 1, 0, False
    at = at + 1 if is_list else at
    while at < size:
        byte = data[at]
        if quoted:
            if byte == BACKSLASH:
                at += 1
            elif byte == QUOTE:
                quoted = False
        elif byte == QUOTE:
            quoted = True
        elif byte in (OPEN_OBJECT, OPEN_LIST):
            depth += 1
        elif byte in (CLOSE_OBJECT, CLOSE_LIST):
            depth -= 1
            if depth < 0 or (depth == 0 and not is_list):
                end = at if is_list else at + 1
                if depth < 0 and byte == CLOSE_OBJECT:
                    return _IS_LONGER, at
                rest = _past_space(data, at + 1)
                if rest < size:
                    return _IS_LONGER, rest
                empty = is_list and count == 1 and _past_space(data, starts[0]) == end
                return (0 if empty else count), end
        elif byte == COMMA and depth == 0 and is_list:
            data[at] = SPACE
            starts[count] = at + 1
            count += 1
        at += 1
    return _IS_SHORT, size


@njit(cache=True, nogil=True)
def _past_space(data: NDArray[np.uint8], at: int) -> int:
    while at < data.size and data[at] in (SPACE, NEWLINE, 0x0D, 0x09):
        at += 1
    return at


@njit(cache=True, nogil=True)
def _csv_ends(data: NDArray[np.uint8], ends: NDArray[np.int32]) -> int:
    """Where the records end; returns how many, or -1 if a quote stays open."""
    count, quoted, size = 0, False, data.size
    for at in range(size):
        if data[at] == QUOTE:
            quoted = not quoted
        elif data[at] == NEWLINE and not quoted:
            ends[count] = at + 1
            count += 1
    if quoted:
        return -1
    if size and (count == 0 or ends[count - 1] < size):
        ends[count] = size
        count += 1
    return count
