"""The compiled walk over Protocol Buffers' wire format ("Encoding", protobuf.dev), for a whole batch of messages.

As every parser does: fields come in any order; of a field that comes twice the last value counts, and messages are
merged; repeated numbers come packed or not; what is not known, or of another wire type than its field, is passed over.
One thing is refused that parsers allow: a message in a oneof that is set, replaced by another member, and set again.

Nothing outside of a message is read, whatever it says. What is wrong is answered as a negative number.
"""

from __future__ import annotations

import numpy as np

from headwater.formats.kernel_types import ARENA, FLAG, LONG, LONGS, NOTHING, PAIR, SOURCE, TABLE, several
from headwater.formats.nodes import Bytes, Longs
from headwater.formats.protobuf.program import (
    BOOLEAN,
    CHECKED,
    FIXED32,
    FIXED64,
    FRAME,
    INT32,
    LEAST,
    MESSAGE,
    MOST,
    NODE,
    NUMBER,
    ONEOF,
    ONEOF_END,
    OP,
    RAW,
    REPEATED,
    REQUIRED,
    SFIXED32,
    SINT32,
    SINT64,
    TEXT,
    UINT32,
)
from headwater.formats.text_kernels import is_utf8
from headwater.index.kernels import compiled, inlined

TRUNCATED, BAD_VARINT, BAD_LENGTH, BAD_TAG, BAD_GROUP, BAD_TEXT, OUT_OF_RANGE, TOO_LARGE, MISSING = range(-1, -10, -1)
ONEOF_TWICE = -10
NO_ROOM = -20
DONE, GROW = 0, 1

NEXT_MESSAGE, ROWS, BAD, PLACE = 0, 1, 2, 4
WANTS_ROOM = 3
"""Places in the walk's standing: the message to go on with, rows and bad messages so far, the node that wants room,
the node that a message came to."""

_CLEARED = 2
_VARINT, _EIGHT, _SIZED, _BEGIN, _END, _FOUR = range(6)
_MAX_GROUPS = 100
_FREE_ENTRIES = 4096
_ENTRIES_PER_BYTE = 16

Arena = tuple[Longs, Longs, Longs, Longs, Bytes]
Tables = tuple[Longs, Longs, Longs, Longs]
"""Fields, frames, opens, oneofs; see `program.Program`."""
_TABLES = several(TABLE, TABLE, TABLE, LONGS)


@compiled(PAIR(SOURCE, LONG, LONG))
def varint(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte and the offset after it, which is negative if there is none."""
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
            return int(np.int64(value)), at
    return 0, BAD_VARINT


@compiled(PAIR(SOURCE, LONG, LONG))
def _tag(buffer: Bytes, at: int, end: int) -> tuple[int, int]:
    """A field's number and wire type as one number, and the offset after it."""
    tag, at = varint(buffer, at, end)
    if at >= 0 and (tag < 8 or tag >= 1 << 32 or tag & 7 > _FOUR):
        return 0, BAD_TAG
    return tag, at


@compiled(LONG(SOURCE, LONG, LONG, LONG))
def _passed(buffer: Bytes, at: int, end: int, wire: int) -> int:
    """The offset after a value of a wire type other than a group's."""
    size = 8 if wire == _EIGHT else 4
    if wire == _VARINT:
        _, at = varint(buffer, at, end)
        return at
    if wire == _SIZED:
        size, at = varint(buffer, at, end)
        if at < 0 or size < 0:
            return at if at < 0 else BAD_LENGTH
    return at + size if size <= end - at else TRUNCATED


@compiled(LONG(SOURCE, LONG, LONG, LONG))
def _group(buffer: Bytes, at: int, end: int, number: int) -> int:
    """The offset after a group, which is never one of a field's."""
    numbers = np.empty(_MAX_GROUPS, np.int64)
    numbers[0] = number
    depth = 1
    while depth > 0 and at >= 0:
        tag, at = _tag(buffer, at, end)
        if at < 0:
            return at
        wire = tag & 7
        if wire == _END:
            depth -= 1
            if numbers[depth] != tag >> 3:
                return BAD_GROUP
        elif wire == _BEGIN:
            if depth == _MAX_GROUPS:
                return BAD_GROUP
            numbers[depth] = tag >> 3
            depth += 1
        else:
            at = _passed(buffer, at, end, wire)
    return at


@inlined
def _narrow(value: int) -> int:
    """The low 32 bits with their sign."""
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low


@compiled(PAIR(SOURCE, LONG, LONG, LONG))
def _fixed(buffer: Bytes, at: int, end: int, op: int) -> tuple[int, int]:
    size = 8 if op == FIXED64 else 4
    if size > end - at:
        return 0, TRUNCATED
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(buffer[at + i]) << np.uint64(8 * i)
    found = int(np.int64(value))
    return (_narrow(found) if op == SFIXED32 else found), at + size


@compiled(PAIR(SOURCE, LONG, LONG, TABLE, LONG))
def _scalar(buffer: Bytes, at: int, end: int, fields: Longs, row: int) -> tuple[int, int]:
    """The entry of a value and the offset after it, which is negative if it is bad."""
    op = fields[row, OP]
    if op in (TEXT, RAW):
        size, at = varint(buffer, at, end)
        if at < 0 or size < 0:
            return 0, at if at < 0 else BAD_LENGTH
        if size > end - at:
            return 0, TRUNCATED
        if op == TEXT and not is_utf8(buffer, at, at + size):
            return 0, BAD_TEXT
        return at << 32 | size, at + size
    if op in (FIXED32, SFIXED32, FIXED64):
        return _fixed(buffer, at, end, op)
    value, at = varint(buffer, at, end)
    if op in (SINT32, SINT64):
        value = value & 0xFFFFFFFF if op == SINT32 else value
        value = int(np.int64(np.uint64(value) >> np.uint64(1))) ^ -(value & 1)
    elif op == BOOLEAN:
        value = 1 if value != 0 else 0
    elif op == UINT32:
        value = value & 0xFFFFFFFF
    elif op == INT32:
        value = _narrow(value)
    elif op == CHECKED and not fields[row, LEAST] <= value <= fields[row, MOST]:
        return 0, at if at < 0 else OUT_OF_RANGE
    return value, at


@inlined
def _wire(op: int) -> int:
    """The wire type that a value has."""
    if op in (TEXT, RAW, MESSAGE):
        return _SIZED
    return _FOUR if op in (FIXED32, SFIXED32) else _EIGHT if op == FIXED64 else _VARINT


@compiled(LONG(_TABLES, ARENA, LONG))
def _open(tables: Tables, arena: Arena, frame: int) -> int:
    """Opens a row of entries with their defaults; returns the node that has no room, or -1."""
    starts, room, counts, values, valids = arena
    frames, opens = tables[1], tables[2]
    for i in range(frames[frame, 2], frames[frame, 3]):
        node = opens[i, 0]
        count = counts[node]
        if count >= room[node]:
            return int(node)
        values[starts[node] + count] = opens[i, 1]
        valids[starts[node] + count] = opens[i, 2]
        counts[node] = count + 1
    return -1


@compiled(NOTHING(_TABLES, ARENA, LONG))
def _close(tables: Tables, arena: Arena, frame: int) -> None:
    """Says of the lists of a row where they end."""
    starts, _, counts, values, _ = arena
    frames, opens = tables[1], tables[2]
    for i in range(frames[frame, 2], frames[frame, 3]):
        if opens[i, 3] >= 0:
            values[starts[opens[i, 0]] + counts[opens[i, 0]] - 1] = counts[opens[i, 3]]


@compiled(FLAG(_TABLES, ARENA, LONG, LONGS))
def _complete(tables: Tables, arena: Arena, frame: int, standing: Longs) -> bool:
    """Whether all fields of a frame are there that are required."""
    starts, _, counts, _, valids = arena
    fields, frames = tables[0], tables[1]
    for row in range(frames[frame, 0], frames[frame, 1]):
        node = fields[row, NODE]
        if fields[row, REQUIRED] and valids[starts[node] + counts[node] - 1] != 1:
            standing[PLACE] = node
            return False
    return True


@compiled(LONG(TABLE, TABLE, LONG, LONG, LONG))
def _find(fields: Longs, frames: Longs, frame: int, number: int, guess: int) -> int:
    """The row of a field, -1 if it is not known; `guess` is looked at first."""
    low, high = frames[frame, 0], frames[frame, 1]
    if low <= guess < high and fields[guess, NUMBER] == number:
        return guess
    while low < high:
        middle = (low + high) >> 1
        if fields[middle, NUMBER] < number:
            low = middle + 1
        else:
            high = middle
    return int(low) if low < frames[frame, 1] and fields[low, NUMBER] == number else -1


@compiled(FLAG(_TABLES, ARENA, LONG))
def _set(tables: Tables, arena: Arena, row: int) -> bool:
    """Marks the open entry of a field as there, and the other members of its oneof as not; False for a message that
    was there and was replaced."""
    starts, _, counts, _, valids = arena
    fields, oneofs = tables[0], tables[3]
    node = fields[row, NODE]
    at = starts[node] + counts[node] - 1
    again = valids[at] == _CLEARED and fields[row, OP] == MESSAGE
    for i in range(fields[row, ONEOF], fields[row, ONEOF_END]):
        other = starts[oneofs[i]] + counts[oneofs[i]] - 1
        if oneofs[i] != node and valids[other] == 1:
            valids[other] = _CLEARED
    valids[at] = 1
    return not again


@compiled(LONG(SOURCE, LONG, LONG, _TABLES, ARENA, LONG, LONG, LONGS))
def _values(
    buffer: Bytes, at: int, end: int, tables: Tables, arena: Arena, row: int, packed: int, standing: Longs
) -> int:
    """Reads a value that is no message, or packed ones; returns the offset after it."""
    starts, room, counts, values, valids = arena
    fields = tables[0]
    node = fields[row, NODE]
    if packed:
        size, at = varint(buffer, at, end)
        if at < 0 or size < 0:
            return at if at < 0 else BAD_LENGTH
        if size > end - at:
            return TRUNCATED
        end = at + size
    while at >= 0:
        if packed and at == end:
            break
        value, at = _scalar(buffer, at, end, fields, row)
        if at < 0:
            break
        if fields[row, REPEATED]:
            if counts[node] >= room[node]:
                standing[WANTS_ROOM] = node
                return NO_ROOM
            counts[node] += 1
            valids[starts[node] + counts[node] - 1] = 1
        else:
            _set(tables, arena, row)
        values[starts[node] + counts[node] - 1] = value
        if not packed:
            break
    return at


@compiled(LONG(SOURCE, LONG, LONG, _TABLES, ARENA, LONG, LONGS))
def _enter(buffer: Bytes, at: int, end: int, tables: Tables, arena: Arena, row: int, standing: Longs) -> int:
    """Enters a message: sets where it ends, and opens a row of a repeated one; returns the offset of its content."""
    fields = tables[0]
    size, at = varint(buffer, at, end)
    if at < 0 or size < 0:
        return at if at < 0 else BAD_LENGTH
    if size > end - at:
        return TRUNCATED
    if fields[row, REPEATED]:
        full = _open(tables, arena, fields[row, FRAME])
        if full >= 0:
            standing[WANTS_ROOM] = full
            return NO_ROOM
    elif not _set(tables, arena, row):
        return ONEOF_TWICE
    standing[PLACE] = at + size
    return at


@compiled(LONG(SOURCE, LONG, LONG, _TABLES, ARENA, TABLE, LONGS))
def _message(buffer: Bytes, at: int, end: int, tables: Tables, arena: Arena, stack: Longs, standing: Longs) -> int:
    """Reads one message whose row is open; returns the offset after it, or what is wrong. `stack`: frame and end of
    the messages that are open."""
    fields, frames = tables[0], tables[1]
    depth, guess = 0, 0
    budget = _FREE_ENTRIES + _ENTRIES_PER_BYTE * (end - at)
    stack[0, 0], stack[0, 1] = 0, end
    while at >= 0:
        frame, end = stack[depth, 0], stack[depth, 1]
        if at == end:
            if not _complete(tables, arena, frame, standing):
                return MISSING
            _close(tables, arena, frame)
            depth -= 1
            if depth < 0:
                return at
            continue
        tag, at = _tag(buffer, at, end)
        if at < 0:
            break
        row, wire = _find(fields, frames, frame, tag >> 3, guess), tag & 7
        wanted = _wire(fields[row, OP]) if row >= 0 else -1
        packed = wire == _SIZED and wanted != _SIZED and row >= 0 and fields[row, REPEATED] == 1
        guess = row + 1
        standing[PLACE] = fields[row, NODE] if row >= 0 else -1
        if wire == _END:
            return BAD_GROUP
        if wire == _BEGIN:
            at = _group(buffer, at, end, tag >> 3)
        elif row < 0 or (wire != wanted and not packed):
            at = _passed(buffer, at, end, wire)
        elif wanted == _SIZED and fields[row, OP] == MESSAGE:
            at = _enter(buffer, at, end, tables, arena, row, standing)
            depth += 1
            stack[depth, 0], stack[depth, 1] = fields[row, FRAME], standing[PLACE]
            budget -= frames[fields[row, FRAME], 3] - frames[fields[row, FRAME], 2]
            at = TOO_LARGE if budget < 0 and at >= 0 else at
        else:
            at = _values(buffer, at, end, tables, arena, row, packed, standing)
    return at


@compiled(LONG(SOURCE, LONGS, LONGS, _TABLES, ARENA, LONG, LONGS, LONGS, TABLE))
def walk(
    buffer: Bytes, starts: Longs, ends: Longs, tables: Tables, arena: Arena, depth: int, standing: Longs, rows: Longs,
    bad: Longs,
) -> int:  # fmt: skip
    """Reads messages from `standing` on, until all are read or a node wants room.

    Args:
        buffer: their bytes.
        starts, ends: where each begins and ends; a message that begins behind its end is left out.
        tables, arena: as compiled, and where entries go.
        depth: how deep messages are nested.
        standing: see there; written.
        rows: int64 [message]: the number of the message of each row; written.
        bad: int64 [message, 3]: a bad message, what is wrong, at which node; written.
    """
    counts, marks, stack = arena[2], np.zeros_like(arena[2]), np.zeros((depth + 2, 2), np.int64)
    for message in range(standing[NEXT_MESSAGE], len(starts)):
        standing[NEXT_MESSAGE] = message
        if starts[message] > ends[message]:
            continue
        marks[:] = counts
        standing[PLACE] = -1
        full = _open(tables, arena, 0)
        if full >= 0:
            standing[WANTS_ROOM] = full
            at = NO_ROOM
        else:
            at = _message(buffer, starts[message], ends[message], tables, arena, stack, standing)
        if at < 0:
            counts[:] = marks
            if at == NO_ROOM:
                return GROW
            bad[standing[BAD], 0], bad[standing[BAD], 1], bad[standing[BAD], 2] = message, at, standing[PLACE]
            standing[BAD] += 1
            continue
        rows[standing[ROWS]] = message
        standing[ROWS] += 1
    standing[NEXT_MESSAGE] = len(starts)
    return DONE
