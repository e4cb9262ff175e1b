"""The compiled walk that writes rows in Avro's binary encoding: the same program that reads them."""

from __future__ import annotations

import numpy as np

from headwater.formats.avro.kernels import Arena, Code
from headwater.formats.avro.program import (
    BOOL,
    DECIMAL,
    DOUBLE,
    END,
    FIXED,
    FLOAT,
    JUMP,
    LOOP,
    NEXT,
    NULLS,
    PRESENT,
    RAW,
    TEXT,
    UNION,
)
from headwater.formats.kernel_types import ARENA, BYTES, LONG, LONGS, SOURCE, TABLE, several
from headwater.formats.nodes import Bytes, Longs
from headwater.index.kernels import compiled

NULL_BRANCH, VALUE_BRANCH = 4, 5
"""Columns of a UNION's operation: which branch is null, -1 if none is, and which is not."""

_CODE = several(TABLE, LONGS, LONGS, LONGS)


@compiled(LONG(BYTES, LONG, LONG))
def _varint(out: Bytes, at: int, value: int) -> int:
    """Writes a zigzag number; returns the offset after it."""
    rest = np.uint64(value << 1) ^ np.uint64(value >> 63)
    while rest >= np.uint64(0x80):
        out[at] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
        rest = rest >> np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@compiled(LONG(LONG, LONG, LONG, SOURCE, BYTES, LONG))
def _value(op: int, size: int, value: int, data: Bytes, out: Bytes, at: int) -> int:
    """Writes a single value; returns the offset after it."""
    if op in (TEXT, RAW, DECIMAL, FIXED):
        start, length = value >> 32, value & 0xFFFFFFFF
        if op != FIXED and not (op == DECIMAL and size >= 0):
            at = _varint(out, at, length)
        for i in range(length):
            out[at + i] = data[start + i]
        return at + length
    if op in (FLOAT, DOUBLE):
        width = 8 if op == DOUBLE else 4
        for i in range(width):
            out[at + i] = value >> (8 * i) & 0xFF
        return at + width
    if op == BOOL:
        out[at] = value
        return at + 1
    return int(_varint(out, at, value))


@compiled(LONG(_CODE, ARENA, LONGS, SOURCE, BYTES, LONG))
def _row(code: Code, arena: Arena, left: Longs, data: Bytes, out: Bytes, at: int) -> int:
    """Writes one row; returns the offset after it, or -1 less the node that is null and must not be."""
    ops, targets, nulls, _ = code
    starts, _, counts, values, valid = arena
    pc, depth = 0, 0
    while ops[pc, 0] != END:
        op, node = ops[pc, 0], ops[pc, 1]
        if op == UNION:
            branch = ops[pc, VALUE_BRANCH] if valid[starts[node] + counts[node]] else ops[pc, NULL_BRANCH]
            if branch < 0:
                return -1 - int(node)
            at = _varint(out, at, branch)
            pc = targets[ops[pc, 3] + branch]
        elif op == JUMP:
            pc = ops[pc, 2]
        elif op == NULLS:
            for i in range(ops[pc, 2], ops[pc, 2] + ops[pc, 3]):
                counts[nulls[i]] += 1
            pc += 1
        elif op in (LOOP, NEXT):
            if op == LOOP:
                pc = ops[pc, 2]
                node = ops[pc, 1]
                place = starts[node] + counts[node]
                if not valid[place]:
                    return -1 - int(node)
                depth += 1
                left[depth] = values[place] - (values[place - 1] if counts[node] > 0 else 0)
                if left[depth] > 0:
                    at = _varint(out, at, left[depth])
            else:
                left[depth] -= 1
            if left[depth] > 0:
                pc = ops[pc, 4]
                continue
            out[at] = 0
            counts[node] += 1
            at, depth, pc = at + 1, depth - 1, pc + 1
        else:
            place = starts[node] + counts[node]
            if not valid[place]:
                return -1 - int(node)
            counts[node] += 1
            if op != PRESENT:
                at = _value(op, ops[pc, 2], values[place], data, out, at)
            pc += 1
    return at


@compiled(LONG(_CODE, ARENA, LONG, SOURCE, SOURCE, BYTES, LONGS))
def write(code: Code, arena: Arena, depth: int, data: Bytes, head: Bytes, out: Bytes, ends: Longs) -> int:
    """Writes rows, each after the bytes of `head`, and where each ends; returns -1, or the node that is null and must
    not be."""
    left = np.zeros(depth + 2, np.int64)
    at = 0
    for row in range(len(ends)):
        for i in range(len(head)):
            out[at + i] = head[i]
        at = _row(code, arena, left, data, out, at + len(head))
        if at < 0:
            return -1 - at
        ends[row] = at
    return -1
