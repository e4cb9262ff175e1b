"""The compiled walk over Avro's binary encoding ("Binary Encoding" in the Avro 1.12 specification), for a whole batch.

Nothing outside of a message is read, whatever it says: lengths and counts are held against the bytes that are left.
What is wrong is answered as a negative number rather than raised, since a raise costs a copy of the arguments; the
message's entries are then taken back. A message that claims much more room than it has bytes is refused as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.formats.avro.program import (
    BOOL,
    DECIMAL,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    JUMP,
    LOOP,
    NEXT,
    NULLS,
    NUMBER,
    PRESENT,
    RAW,
    TEXT,
    UNION,
    WIDEN,
)
from headwater.formats.kernel_types import ARENA, FLAG, LONG, LONGS, PAIR, SOURCE, TABLE, WORDS, several
from headwater.formats.nodes import Bytes, Longs
from headwater.formats.text_kernels import is_utf8
from headwater.index.kernels import compiled, inlined

TRUNCATED, BAD_VARINT, BAD_LENGTH, BAD_BRANCH, BAD_ENUM, BAD_TEXT, OUT_OF_RANGE, TOO_LARGE, TRAILING = range(
    -1, -10, -1
)
BAD_BOOLEAN = -10
NO_ROOM = -20
DONE, GROW, STOPPED = 0, 1, 2

NEXT_MESSAGE, ROWS, BAD, NODE, PLACE = range(5)
"""Places in the walk's standing: the message to go on with, rows and bad messages so far, the node that wants room,
the operation that a message came to."""

_FREE_ENTRIES = 4096
_ENTRIES_PER_BYTE = 16
FREE_CHAINED, CHAINED_PER_BYTE = 1 << 15, 64
"""Entries that records which lie one after the other may have, all together: messages are many small ones, whose free
entries would add up."""

Arena = tuple[Longs, Longs, Longs, Longs, Bytes]
"""Starts, room, counts, values, valid; see `nodes.Arena`."""
Code = tuple[Longs, Longs, Longs, Longs]
"""Operations, targets, nulls, items; see `program.Program`."""

_CODE = several(TABLE, LONGS, LONGS, LONGS)


def decimal_limits() -> NDArray[np.uint64]:
    """10**p as two words, for p from 0 to 38."""
    powers = [10**p for p in range(39)]
    return np.array([[power >> 64, power & (1 << 64) - 1] for power in powers], np.uint64)


@compiled(PAIR(SOURCE, LONG, LONG))
def varint(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """A zigzag number of 7 bits a byte and the offset after it, which is negative if there is none."""
    value = np.uint64(0)
    for i in range(10):
        if at >= end:
            return 0, TRUNCATED
        byte = np.uint64(buffer[at])
        at += 1
        if i == 9 and byte > np.uint64(1):
            return 0, BAD_VARINT
        value |= (byte & np.uint64(0x7F)) << np.uint64(7 * i)
        if byte < np.uint64(0x80):
            return int(np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))), at
    return 0, BAD_VARINT


@compiled(FLAG(ARENA, LONG, LONG, LONG))
def _put(arena: Arena, node: int, value: int, valid: int) -> bool:
    """Adds an entry; False if there is no room."""
    starts, room, counts, values, valids = arena
    count = counts[node]
    if count >= room[node]:
        return False
    values[starts[node] + count] = value
    valids[starts[node] + count] = valid
    counts[node] = count + 1
    return True


@compiled(LONG(_CODE, ARENA, LONG, LONG))
def _nulls(code: Code, arena: Arena, first: int, count: int) -> int:
    """Adds a null to each node of a stretch; returns the node that has no room, or -1."""
    for i in range(first, first + count):
        node = code[2][i]
        item = code[3][node]
        if not _put(arena, node, arena[2][item] if item >= 0 else 0, 0):
            return int(node)
    return -1


@compiled(FLAG(SOURCE, LONG, LONG, LONG, WORDS))
def _fits(buffer: Bytes, at: int, length: int, precision: int, limits: NDArray[np.uint64]) -> bool:
    """Whether a big-endian number in two's complement has at most so many digits; above 38 it is only held to about
    as many bytes as they take."""
    if precision > 38:
        return length <= precision // 2 + 1
    fill = 0xFF if buffer[at] & 0x80 else 0
    for i in range(at, at + length - 16):
        if buffer[i] != fill:
            return False
    first = max(at, at + length - 16)
    if length > 16 and (buffer[first] & 0x80 != 0) != (fill != 0):
        return False
    high = low = np.uint64(fill) * np.uint64(0x0101010101010101)
    for i in range(first, at + length):
        high = high << np.uint64(8) | low >> np.uint64(56)
        low = low << np.uint64(8) | np.uint64(buffer[i])
    if fill:
        low = ~low + np.uint64(1)
        high = ~high + np.uint64(1 if low == 0 else 0)
    return bool(high < limits[precision, 0] or (high == limits[precision, 0] and low < limits[precision, 1]))


@compiled(PAIR(SOURCE, LONG, LONG, LONG))
def _span(buffer: Bytes, at: int, end: int, size: int) -> tuple[int, int]:
    """A span of `size` bytes, or if that is negative of the length that comes first, and the offset after it."""
    if size < 0:
        size, at = varint(buffer, at, end)
        if at < 0:
            return 0, at
        if size < 0:
            return 0, BAD_LENGTH
    if size > end - at:
        return 0, TRUNCATED
    return at << 32 | size, at + size


@compiled(PAIR(SOURCE, LONG, LONG, LONG))
def _bits(buffer: Bytes, at: int, end: int, op: int) -> tuple[int, int]:
    """The bits of a float or double."""
    size = 8 if op == DOUBLE else 4
    if size > end - at:
        return 0, TRUNCATED
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(buffer[at + i]) << np.uint64(8 * i)
    if op == WIDEN:
        wide = np.float64(np.uint32(value).view(np.float32))
        return int(wide.view(np.int64)), at + size
    return int(np.int64(value)), at + size


@inlined
def _scalar(op: int, a: int, b: int, buffer: Bytes, at: int, end: int, limits: NDArray[np.uint64]) -> tuple[int, int]:
    """The entry of a single value and the offset after it, which is negative if it is bad."""
    if op == NUMBER:
        value, at = varint(buffer, at, end)
        return value, at if at < 0 or a <= value <= b else OUT_OF_RANGE
    if op == TEXT:
        value, at = _span(buffer, at, end, -1)
        return value, at if at < 0 or is_utf8(buffer, value >> 32, at) else BAD_TEXT
    if op in (RAW, FIXED):
        return _span(buffer, at, end, a if op == FIXED else -1)
    if op == BOOL:
        if at >= end:
            return 0, TRUNCATED
        return int(np.int64(buffer[at])), at + 1 if buffer[at] < 2 else BAD_BOOLEAN
    if op == ENUM:
        value, at = varint(buffer, at, end)
        return value, at if at < 0 or 0 <= value < a else BAD_ENUM
    if op == DECIMAL:
        value, at = _span(buffer, at, end, a)
        if at < 0:
            return value, at
        length = value & 0xFFFFFFFF
        return value, (at if _fits(buffer, at - length, length, b, limits) else OUT_OF_RANGE) if length else BAD_LENGTH
    return _bits(buffer, at, end, op)


@compiled(PAIR(SOURCE, LONG, LONG, LONG))
def _block(buffer: Bytes, at: int, end: int, smallest: int) -> tuple[int, int]:
    """How many items the next block of an array or map has, 0 at its end."""
    count, at = varint(buffer, at, end)
    if at >= 0 and count < 0:
        size, at = varint(buffer, at, end)
        if at >= 0 and (count == -(1 << 63) or size < 0):
            return 0, BAD_LENGTH
        count = -count
    if at < 0:
        return 0, at
    return count, at if count <= (end - at) // smallest else BAD_LENGTH


@compiled(LONG(SOURCE, LONG, LONG, _CODE, ARENA, LONGS, WORDS, LONGS))
def _message(
    buffer: Bytes, at: int, end: int, code: Code, arena: Arena, left: Longs, limits: NDArray[np.uint64], standing: Longs
) -> int:
    """Reads one message; returns the offset after it, or what is wrong. `left`: items that a loop has still to read."""
    ops, targets = code[0], code[1]
    pc, depth = 0, 0
    budget = _FREE_ENTRIES + _ENTRIES_PER_BYTE * (end - at)
    while at >= 0 and ops[pc, 0] != END:
        op, node, a, b = ops[pc, 0], ops[pc, 1], ops[pc, 2], ops[pc, 3]
        standing[PLACE] = pc
        full = -1
        if op == UNION:
            branch, at = varint(buffer, at, end)
            if at >= 0 and not 0 <= branch < a:
                at = BAD_BRANCH
            pc = targets[b + branch] if at >= 0 else pc
        elif op == JUMP:
            pc = a
        elif op == LOOP:
            depth += 1
            left[depth] = 0
            pc = a
        elif op == NEXT:
            if left[depth] == 0:
                left[depth], at = _block(buffer, at, end, ops[pc, 5])
                budget -= left[depth] * b
                if at >= 0 and left[depth] == 0:
                    full = node if not _put(arena, node, arena[2][a], 1) else full
                    depth, pc = depth - 1, pc + 1
                    if full < 0:
                        continue
            left[depth] -= 1
            pc = ops[pc, 4]
            at = TOO_LARGE if budget < 0 and at >= 0 else at
        elif op == NULLS:
            full = _nulls(code, arena, a, b)
            pc += 1
        else:
            value = 0
            if op != PRESENT:
                value, at = _scalar(op, a, b, buffer, at, end, limits)
            if at >= 0 and not _put(arena, node, value, 1):
                full = node
            pc += 1
        if full >= 0:
            standing[NODE] = full
            return NO_ROOM
    return at


_walk = LONG(SOURCE, LONGS, LONGS, FLAG, _CODE, ARENA, LONG, WORDS, LONGS, LONGS, TABLE)


@compiled(_walk)
def walk(
    buffer: Bytes, starts: Longs, ends: Longs, chained: bool, code: Code, arena: Arena, depth: int,
    limits: NDArray[np.uint64], standing: Longs, rows: Longs, bad: Longs,
) -> int:  # fmt: skip
    """Reads messages from `standing` on, until all are read or a node wants room.

    Args:
        buffer: their bytes.
        starts, ends: where each begins and ends; a message that begins behind its end is left out.
        chained: each begins where the one before ended: that is noted in `starts` and `ends`, of which the last is
            where all of them end; stops at what is bad.
        code, arena: as compiled, and where entries go.
        depth: how deep loops are nested.
        limits: `decimal_limits`.
        standing: see there; written.
        rows: int64 [message]: the number of the message of each row; written.
        bad: int64 [message, 3]: a bad message, what is wrong, at which operation; written.
    """
    counts, marks, left = arena[2], np.zeros_like(arena[2]), np.zeros(depth + 2, np.int64)
    last = len(starts)
    for message in range(standing[NEXT_MESSAGE], last):
        standing[NEXT_MESSAGE] = message
        if starts[message] > ends[message]:
            continue
        marks[:] = counts
        at = _message(buffer, starts[message], ends[message], code, arena, left, limits, standing)
        if chained and at >= 0 and counts.sum() > FREE_CHAINED + CHAINED_PER_BYTE * at:
            at = TOO_LARGE
        if at >= 0 and not chained and at != ends[message]:
            at = TRAILING
        if at < 0:
            counts[:] = marks
            if at == NO_ROOM:
                return GROW
            bad[standing[BAD], 0], bad[standing[BAD], 1], bad[standing[BAD], 2] = message, at, standing[PLACE]
            standing[BAD] += 1
            if chained:
                return STOPPED
            continue
        rows[standing[ROWS]] = message
        standing[ROWS] += 1
        if chained:
            if message + 1 < last:
                starts[message + 1] = at
            ends[message] = at
    standing[NEXT_MESSAGE] = last
    return DONE
