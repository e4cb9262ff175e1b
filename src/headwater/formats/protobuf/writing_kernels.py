"""The compiled loops that put Protocol Buffers messages together: numbers, spans, rows of fields."""

from __future__ import annotations

import numpy as np

from headwater.formats.kernel_types import BYTES, LONG, LONGS, LONGS_SOURCE, SOURCE, TABLE
from headwater.formats.nodes import Bytes, Longs
from headwater.index.kernels import compiled

MOST_OF_VARINT = 10
"""Bytes of the longest number."""


@compiled(LONG(BYTES, LONG, LONG))
def _varint(out: Bytes, at: int, value: int) -> int:
    """Writes a number as it stands in 64 bits; returns the offset after it."""
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        out[at] = np.uint8(rest & np.uint64(0x7F)) | np.uint8(0x80)
        rest = rest >> np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@compiled(LONG(SOURCE, BYTES, LONG))
def _tag(tag: Bytes, out: Bytes, at: int) -> int:
    for i in range(len(tag)):
        out[at + i] = tag[i]
    return at + len(tag)


@compiled(LONG(SOURCE, LONGS_SOURCE, BYTES, LONGS))
def put_numbers(tag: Bytes, values: Longs, out: Bytes, bounds: Longs) -> int:
    """Writes `tag` and a varint for each value, and where each ends; returns the size."""
    at = 0
    for row in range(len(values)):
        at = _varint(out, _tag(tag, out, at), values[row])
        bounds[row + 1] = at
    return at


@compiled(LONG(SOURCE, SOURCE, LONGS_SOURCE, LONGS_SOURCE, LONG, BYTES, LONGS))
def put_spans(tag: Bytes, data: Bytes, starts: Longs, ends: Longs, with_length: int, out: Bytes, bounds: Longs) -> int:
    """Writes `tag`, if it is wanted the length, and the bytes of each span, and where each ends; returns the size."""
    at = 0
    for row in range(len(starts)):
        at = _tag(tag, out, at)
        if with_length:
            at = _varint(out, at, ends[row] - starts[row])
        for i in range(starts[row], ends[row]):
            out[at] = data[i]
            at += 1
        bounds[row + 1] = at
    return at


@compiled(LONG(SOURCE, TABLE, BYTES, LONGS))
def weave(data: Bytes, parts: Longs, out: Bytes, bounds: Longs) -> int:
    """Writes of each row the spans of all parts, one after the other; `parts` is [part, row + 1], where each begins.
    Returns the size."""
    at = 0
    for row in range(parts.shape[1] - 1):
        for part in range(parts.shape[0]):
            for i in range(parts[part, row], parts[part, row + 1]):
                out[at] = data[i]
                at += 1
        bounds[row + 1] = at
    return at
