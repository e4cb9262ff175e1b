"""Compiled walk over MySQL's binary JSON, writing the text that the server prints.

Format: "JSON binary format" in MySQL's source documentation (`json_binary.h`): a type byte, then for objects and arrays
the number of elements, the size, key entries (offset, length 2) and value entries (type 1, offset or small value), with
numbers of 2 bytes in small and 4 bytes in large ones; strings and opaque values after a length of 7 bits a byte. Text:
`Json_wrapper::to_string`: ", " and ": " between, members in the order in which they are stored.

A document cannot make more text than its own bytes allow: every element has an entry of its own, and keys and strings
have bytes of their own, so documents whose offsets share either are refused. Doubles, decimals, dates and other opaque
values ("pieces") are put into text by Python, all of a column at once, between measuring and writing.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.capture.mysql.kernels_events import Bytes, Integers, little_endian
from headwater.capture.mysql.kernels_rows import VALUE

MAX_DEPTH = 100
"""MySQL refuses documents that are deeper."""

SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY, LITERAL = 0, 1, 2, 3, 4
INT16, UINT16, INT32, UINT32, INT64, UINT64, DOUBLE, STRING, OPAQUE = 5, 6, 7, 8, 9, 10, 11, 12, 15

MEASURE, COLLECT, WRITE = 0, 1, 2
BROKEN = -1

_LITERALS = np.frombuffer(b"nulltruefalse", np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_ESCAPES = np.zeros(256, np.uint8)
_ESCAPES[[ord('"'), ord("\\"), 8, 9, 10, 12, 13]] = np.frombuffer(b'"\\btnfr', np.uint8)


@njit(cache=True, nogil=True)
def _length(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """A length of 7 bits a byte, low bits first, and the offset after it; offset BROKEN if there is none."""
    value = 0
    for i in range(5):
        if at + i >= end:
            return 0, BROKEN
        byte = int(buffer[at + i])
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    return 0, BROKEN


@njit(cache=True, nogil=True)
def _string(buffer: Bytes, at: int, size: int, write: bool, out: Bytes, to: int) -> int:
    """A string in quotes; returns the offset after it."""
    if write:
        out[to] = ord('"')
    to += 1
    for i in range(at, at + size):
        byte = buffer[i]
        if _ESCAPES[byte]:
            if write:
                out[to] = ord("\\")
                out[to + 1] = _ESCAPES[byte]
            to += 2
        elif byte < 32:
            if write:
                out[to] = ord("\\")
                out[to + 1] = ord("u")
                out[to + 2] = out[to + 3] = 48
                out[to + 4] = _HEX[byte >> 4]
                out[to + 5] = _HEX[byte & 15]
            to += 6
        else:
            if write:
                out[to] = byte
            to += 1
    if write:
        out[to] = ord('"')
    return to + 1


@njit(cache=True, nogil=True)
def _number(value: int, unsigned: bool, write: bool, out: Bytes, to: int) -> int:
    """An integer in decimal; `value` is the two's complement of an unsigned one."""
    rest = np.uint64(value)
    if not unsigned and value < 0:
        if write:
            out[to] = ord("-")
        to += 1
        rest = ~rest + np.uint64(1)
    digits, probe = 1, rest
    while probe >= np.uint64(10):
        probe = probe // np.uint64(10)
        digits += 1
    if write:
        for i in range(digits):
            out[to + digits - 1 - i] = np.uint8(48) + np.uint8(rest % np.uint64(10))
            rest = rest // np.uint64(10)
    return to + digits


@njit(cache=True, nogil=True)
def _literal(which: int, write: bool, out: Bytes, to: int) -> int:
    begin, end = (0, 4) if which == 0 else (4, 8) if which == 1 else (8, 13)
    if write:
        for i in range(begin, end):
            out[to + i - begin] = _LITERALS[i]
    return to + end - begin


@njit(cache=True, nogil=True)
def _width(kind: int) -> int:
    """Bytes of a number."""
    return 2 if kind in (INT16, UINT16) else 4 if kind in (INT32, UINT32) else 8


@njit(cache=True, nogil=True)
def _piece(
    kind: int,
    at: int,
    mode: int,
    out: Bytes,
    to: int,
    texts: Bytes,
    text_ends: Integers,
    state: Integers,
    pieces: Integers,
) -> int:
    """Counts, notes or writes a value that Python puts into text; returns the offset after it."""
    piece = state[0]
    state[0] += 1
    if mode == COLLECT:
        pieces[piece, 0], pieces[piece, 1] = kind, at
    elif mode == WRITE:
        for i in range(text_ends[piece], text_ends[piece + 1]):
            out[to] = texts[i]
            to += 1
    return to


@njit(cache=True, nogil=True)
def _scalar(
    buffer: Bytes,
    kind: int,
    at: int,
    end: int,
    mode: int,
    out: Bytes,
    to: int,
    texts: Bytes,
    text_ends: Integers,
    state: Integers,
    pieces: Integers,
) -> int:
    """Writes a value that is no object or array; returns the offset after it, or BROKEN.

    `state` is [pieces so far, bytes of strings left].
    """
    if kind == LITERAL:
        if at >= end or buffer[at] > 2:
            return BROKEN
        return _literal(int(buffer[at]), mode == WRITE, out, to)
    if INT16 <= kind <= UINT64:
        width = _width(kind)
        if at + width > end:
            return BROKEN
        value = int(little_endian(buffer, at, width))
        if kind in (INT16, INT32):
            value = value - (1 << 8 * width) if value >> (8 * width - 1) else value
        return _number(value, kind == UINT64, mode == WRITE, out, to)
    if kind == STRING:
        size, at = _length(buffer, at, end)
        if at < 0 or size > end - at or size > state[1]:
            return BROKEN
        state[1] -= size
        return _string(buffer, at, size, mode == WRITE, out, to)
    if kind == DOUBLE:
        if at + 8 > end:
            return BROKEN
    elif kind == OPAQUE:
        size, after = _length(buffer, at + 1, end)
        if after < 0 or size > end - after or size > state[1]:
            return BROKEN
        state[1] -= size
    else:
        return BROKEN
    return _piece(kind, at, mode, out, to, texts, text_ends, state, pieces)


@njit(cache=True, nogil=True)
def _enter(buffer: Bytes, kind: int, at: int, limit: int, depth: int, stack: Integers) -> bool:
    """Puts an object or array on the stack; False if it does not fit between `at` and `limit`, or is too deep."""
    offset = 2 if kind in (SMALL_OBJECT, SMALL_ARRAY) else 4
    if depth >= MAX_DEPTH or at + 2 * offset > limit:
        return False
    count = int(little_endian(buffer, at, offset))
    size = int(little_endian(buffer, at + offset, offset))
    entry = (offset + 2 if kind <= LARGE_OBJECT else 0) + 1 + offset
    if size > limit - at or 2 * offset + count * entry > size:
        return False
    stack[depth, 0], stack[depth, 1], stack[depth, 2] = at, at + size, count
    stack[depth, 3], stack[depth, 4] = 0, kind
    return True


@njit(cache=True, nogil=True)
def _name(buffer: Bytes, frame: Integers, write: bool, out: Bytes, to: int, state: Integers) -> int:
    """Writes the name of an object's next member and a colon; returns the offset after it, or BROKEN."""
    base, limit, done = frame[0], frame[1], frame[3]
    offset = 2 if frame[4] == SMALL_OBJECT else 4
    key = base + 2 * offset + done * (offset + 2)
    where = base + int(little_endian(buffer, key, offset))
    size = int(little_endian(buffer, key + offset, 2))
    if where + size > limit or size > state[1]:
        return BROKEN
    state[1] -= size
    to = _string(buffer, where, size, write, out, to)
    if write:
        out[to] = ord(":")
        out[to + 1] = ord(" ")
    return to + 2


@njit(cache=True, nogil=True)
def _element(buffer: Bytes, frame: Integers) -> tuple[int, int]:
    """Kind and offset of an object's or array's next value; moves on to the one after it."""
    base, count, done, container = frame[0], frame[2], frame[3], frame[4]
    offset = 2 if container in (SMALL_OBJECT, SMALL_ARRAY) else 4
    entry = base + 2 * offset + done * (1 + offset) + (count * (offset + 2) if container <= LARGE_OBJECT else 0)
    kind = int(buffer[entry])
    frame[3] += 1
    if kind in (LITERAL, INT16, UINT16) or (offset == 4 and kind in (INT32, UINT32)):
        return kind, int(entry + 1)
    return kind, int(base + little_endian(buffer, entry + 1, offset))


@njit(cache=True, nogil=True)
def _separator(first: int, second: int, write: bool, out: Bytes, to: int) -> int:
    """Writes one mark, and a second one unless it is 0."""
    if write:
        out[to] = first
        if second:
            out[to + 1] = second
    return to + (2 if second else 1)


@njit(cache=True, nogil=True)
def _document(
    buffer: Bytes,
    begin: int,
    end: int,
    mode: int,
    out: Bytes,
    to: int,
    texts: Bytes,
    text_ends: Integers,
    state: Integers,
    pieces: Integers,
    stack: Integers,
) -> int:
    """Writes one document; returns the offset after it, or BROKEN. `stack` is int64 [MAX_DEPTH + 1, 5]: base, end,
    elements, elements done, kind."""
    write = mode == WRITE
    state[1] = end - begin
    nodes, depth = end - begin, 0
    kind, at, limit = int(buffer[begin]), begin + 1, end
    while True:
        nodes -= 1
        if nodes < 0 or at >= limit:
            return BROKEN
        if kind <= LARGE_ARRAY:
            if not _enter(buffer, kind, at, limit, depth, stack):
                return BROKEN
            depth += 1
            to = _separator(ord("{") if kind <= LARGE_OBJECT else ord("["), 0, write, out, to)
        else:
            to = _scalar(buffer, kind, at, limit, mode, out, to, texts, text_ends, state, pieces)
        while to >= 0 and depth > 0 and stack[depth - 1, 3] == stack[depth - 1, 2]:
            depth -= 1
            to = _separator(ord("}") if stack[depth, 4] <= LARGE_OBJECT else ord("]"), 0, write, out, to)
        if to < 0 or depth == 0:
            return to
        frame = stack[depth - 1]
        limit = int(frame[1])
        if frame[3]:
            to = _separator(ord(","), ord(" "), write, out, to)
        if frame[4] <= LARGE_OBJECT:
            to = _name(buffer, frame, write, out, to, state)
            if to < 0:
                return BROKEN
        kind, at = _element(buffer, frame)


@njit(cache=True, nogil=True)
def documents(
    buffer: Bytes,
    starts: Integers,
    lengths: Integers,
    kinds: Bytes,
    mode: int,
    out: Bytes,
    offsets: NDArray[np.int32],
    bad: Bytes,
    texts: Bytes,
    text_ends: Integers,
    pieces: Integers,
) -> tuple[int, int]:
    """Measures, or collects the pieces of, or writes the text of a column of documents.

    Args:
        buffer, starts, lengths, kinds: where they are.
        mode: MEASURE fills `bad`; COLLECT fills `pieces`; WRITE fills `out` and `offsets`.
        out: uint8; when writing, room for all.
        offsets: int32, one more than rows.
        bad: uint8 per row, 1 where it is no document. Those are passed over.
        texts, text_ends: uint8, int64: the pieces' texts end to end, and where each begins, in their order.
        pieces: int64 [piece, 2], kind and offset in the buffer.

    Returns:
        Bytes (without the pieces, except when writing) and number of pieces.
    """
    stack = np.empty((MAX_DEPTH + 1, 5), np.int64)
    state = np.zeros(2, np.int64)
    to = 0
    for row in range(starts.size):
        if mode == WRITE:
            offsets[row] = to
        if kinds[row] != VALUE or bad[row]:
            continue
        begin, end = int(starts[row]), int(starts[row] + lengths[row])
        if begin == end:
            to = _literal(0, mode == WRITE, out, to)
            continue
        before = state[0]
        after = _document(buffer, begin, end, mode, out, to, texts, text_ends, state, pieces, stack)
        if after < 0:
            bad[row] = 1
            state[0] = before
        else:
            to = after
    if mode == WRITE:
        offsets[starts.size] = to
    return to, int(state[0])
