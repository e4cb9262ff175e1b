"""The compiled loops of sessions: stretches of time joined into sessions by union-find.

A record has WIDTH words and then those of the values. Those up to LAST_OF_STRETCH are of a stretch; the others of a
session, in the record of the stretch that stands for it (Tarjan, "Efficiency of a Good But Not Linear Set Union
Algorithm", 1975; path halving).
"""

from __future__ import annotations

import numpy as np
from numba import types

from headwater.index.kernels import Longs, Mask, compiled, inlined

LOW, HIGH, PARENT, BEFORE, AFTER, FIRST, LAST, ROWS, WIDTH = range(9)

COUNT, SUM, LEAST, GREATEST = range(4)
"""Kinds of values; a count has one word, a sum two more (128 bits, low first), a least and a greatest one more."""

WORDS = (1, 3, 2, 2)

_longs = types.int64[::1]
_in = types.Array(types.int64, 1, "C", readonly=True)
_mask_in = types.Array(types.boolean, 1, "C", readonly=True)


@inlined
def _root(flat: Longs, width: int, slot: int) -> int:
    """The slot that stands for a stretch's session."""
    at = slot
    while flat[at * width + PARENT] != at:
        parent = flat[at * width + PARENT]
        flat[at * width + PARENT] = flat[parent * width + PARENT]
        at = flat[at * width + PARENT]
    return at


@compiled(types.void(_longs, types.int64, _in, _in, _mask_in))
def place(flat: Longs, width: int, slots: Longs, times: Longs, created: Mask) -> None:
    """Widens the stretches of rows; a row that `created` its stretch makes it a session of its own, without rows."""
    for row in range(len(slots)):
        base, time = slots[row] * width, times[row]
        if created[row]:
            for word in range(width):
                flat[base + word] = 0
            flat[base + LOW] = flat[base + HIGH] = flat[base + FIRST] = flat[base + LAST] = time
            flat[base + PARENT] = slots[row]
            flat[base + BEFORE] = flat[base + AFTER] = -1
        else:
            flat[base + LOW] = min(flat[base + LOW], time)
            flat[base + HIGH] = max(flat[base + HIGH], time)


@compiled(types.void(_longs, types.int64, _in, _in, types.int64))
def link(flat: Longs, width: int, slots: Longs, others: Longs, word: int) -> None:
    """Notes neighbours, -1 for none; `word` says on which side of `slots` they are."""
    back = BEFORE if word == AFTER else AFTER
    for i in range(len(slots)):
        if others[i] >= 0:
            flat[slots[i] * width + word] = others[i]
            flat[others[i] * width + back] = slots[i]


@inlined
def _joined(flat: Longs, width: int, slot: int, word: int, gap: int) -> int:
    """The neighbour on a side if it is of the same session, else -1."""
    other = flat[slot * width + word]
    if other < 0:
        return -1
    if word == AFTER:
        apart = flat[other * width + LOW] - flat[slot * width + HIGH]
    else:
        apart = flat[slot * width + LOW] - flat[other * width + HIGH]
    return other if apart <= gap else -1


@compiled(types.int64(_longs, types.int64, _in, _in, types.int64, _longs, _longs, _longs))
def touched_sessions(
    flat: Longs, width: int, slots: Longs, rows: Longs, gap: int, marks: Longs, found: Longs, found_rows: Longs
) -> int:
    """The sessions with rows that stretches are of, or are about to be of; each once, and which of `rows` touched it.

    Returns their number; `marks` is left as it was, zero.
    """
    count = 0
    for i in range(len(slots)):
        for side in range(3):
            at = slots[i]
            if side:
                at = _joined(flat, width, slots[i], BEFORE if side == 1 else AFTER, gap)
            if at >= 0:
                root = _root(flat, width, at)
                if flat[root * width + ROWS] > 0 and marks[root] == 0:
                    marks[root] = 1
                    found[count] = root
                    found_rows[count] = rows[i]
                    count += 1
    for i in range(count):
        marks[found[i]] = 0
    return count


@inlined
def _add_wide(flat: Longs, at: int, low: np.uint64, high: int) -> None:
    """Adds to a sum of 128 bits."""
    before = np.uint64(flat[at])
    after = before + low
    flat[at] = np.int64(after)
    flat[at + 1] += high + (1 if after < before else 0)


@compiled(types.void(_longs, types.int64, _in, types.int64, _in))
def join_stretches(flat: Longs, width: int, slots: Longs, gap: int, kinds: Longs) -> None:
    """Makes one session of the stretches and their neighbours that are within the gap."""
    for i in range(len(slots)):
        for side in range(2):
            other = _joined(flat, width, slots[i], BEFORE if side == 0 else AFTER, gap)
            if other < 0:
                continue
            one, two = _root(flat, width, slots[i]), _root(flat, width, other)
            if one == two:
                continue
            a, b = one * width, two * width
            if flat[a + ROWS] < flat[b + ROWS]:
                one, two, a, b = two, one, b, a
            flat[b + PARENT] = one
            flat[a + FIRST] = min(flat[a + FIRST], flat[b + FIRST])
            flat[a + LAST] = max(flat[a + LAST], flat[b + LAST])
            flat[a + ROWS] += flat[b + ROWS]
            flat[b + ROWS] = 0
            at = WIDTH
            for kind in kinds:
                had, more = flat[a + at], flat[b + at]
                flat[a + at] += more
                flat[b + at] = 0
                if kind == SUM:
                    _add_wide(flat, a + at + 1, np.uint64(flat[b + at + 1]), flat[b + at + 2])
                    flat[b + at + 1] = flat[b + at + 2] = 0
                    at += 2
                elif kind != COUNT:
                    value = flat[b + at + 1]
                    least = kind == LEAST
                    if more > 0 and (had == 0 or (value < flat[a + at + 1]) == least):
                        flat[a + at + 1] = value
                    at += 1
                at += 1


@compiled(types.void(_longs, types.int64, _in, _in))
def count_rows(flat: Longs, width: int, slots: Longs, times: Longs) -> None:
    """Adds each row to the session of its stretch."""
    for row in range(len(slots)):
        base = _root(flat, width, slots[row]) * width
        flat[base + ROWS] += 1
        flat[base + FIRST] = min(flat[base + FIRST], times[row])
        flat[base + LAST] = max(flat[base + LAST], times[row])


@compiled(types.void(_longs, types.int64, _in, types.int64, types.int64, _in, _mask_in))
def add_values(flat: Longs, width: int, slots: Longs, word: int, kind: int, values: Longs, valid: Mask) -> None:
    """Adds each row's value to the session of its stretch; an empty `valid` stands for all."""
    for row in range(len(slots)):
        if len(valid) and not valid[row]:
            continue
        at = _root(flat, width, slots[row]) * width + word
        had = flat[at]
        flat[at] += 1
        if kind == SUM:
            _add_wide(flat, at + 1, np.uint64(values[row]), -1 if values[row] < 0 else 0)
        elif kind != COUNT and (had == 0 or (values[row] < flat[at + 1]) == (kind == LEAST)):
            flat[at + 1] = values[row]


@compiled(types.int64(_longs, types.int64, _in, _in, _longs, _longs, _longs))
def sessions_of(
    flat: Longs, width: int, slots: Longs, rows: Longs, marks: Longs, found: Longs, found_rows: Longs
) -> int:
    """The sessions of stretches, each once, and which of `rows` belongs to it. Returns their number."""
    count = 0
    for i in range(len(slots)):
        root = _root(flat, width, slots[i])
        if marks[root] == 0:
            marks[root] = 1
            found[count] = root
            found_rows[count] = rows[i]
            count += 1
    for i in range(count):
        marks[found[i]] = 0
    return count


@compiled(types.void(_longs, types.int64, _in, _longs))
def last_times(flat: Longs, width: int, slots: Longs, out: Longs) -> None:
    """The last time of the session of each stretch."""
    for i in range(len(slots)):
        out[i] = flat[_root(flat, width, slots[i]) * width + LAST]


@compiled(types.void(_longs, types.int64, _in))
def unlink(flat: Longs, width: int, slots: Longs) -> None:
    """Takes stretches out, which are whole sessions: no other has one of them for a neighbour any more."""
    for slot in slots:
        base = slot * width
        if flat[base + BEFORE] >= 0:
            flat[flat[base + BEFORE] * width + AFTER] = -1
        if flat[base + AFTER] >= 0:
            flat[flat[base + AFTER] * width + BEFORE] = -1
        flat[base + ROWS] = 0
        flat[base + PARENT] = -1


@compiled(types.void(_longs, types.int64, _in, _longs))
def take_records(flat: Longs, width: int, slots: Longs, out: Longs) -> None:
    """Copies records, one after the other."""
    for i in range(len(slots)):
        for word in range(width):
            out[i * width + word] = flat[slots[i] * width + word]


@compiled(types.int64(_in, types.boolean[::1], _longs))
def first_rows(slots: Longs, seen: Mask, firsts: Longs) -> int:
    """Writes the first row of each distinct slot into `firsts` and returns how many; `seen` is left all false."""
    found = 0
    for row in range(len(slots)):
        if not seen[slots[row]]:
            seen[slots[row]] = True
            firsts[found] = row
            found += 1
    for row in range(len(slots)):
        seen[slots[row]] = False
    return found


@compiled(types.void(_longs, types.int64, _in, types.int64, _longs, _longs))
def reach(flat: Longs, width: int, slots: Longs, gap: int, before: Longs, after: Longs) -> None:
    """How many stretches before and after each one, without a hole, its session goes on."""
    for i in range(len(slots)):
        before[i] = after[i] = 0
        at = slots[i]
        while _joined(flat, width, at, BEFORE, gap) >= 0:
            at = flat[at * width + BEFORE]
            before[i] += 1
        at = slots[i]
        while _joined(flat, width, at, AFTER, gap) >= 0:
            at = flat[at * width + AFTER]
            after[i] += 1


@compiled(types.void(_longs, types.int64, _in, _in))
def bound(flat: Longs, width: int, slots: Longs, times: Longs) -> None:
    """Makes stretches as narrow as their rows, all of which are given, and counts them."""
    for row in range(len(slots)):
        flat[slots[row] * width + ROWS] = 0
    for row in range(len(slots)):
        base, time = slots[row] * width, times[row]
        first = flat[base + ROWS] == 0
        flat[base + LOW] = time if first else min(flat[base + LOW], time)
        flat[base + HIGH] = time if first else max(flat[base + HIGH], time)
        flat[base + ROWS] += 1
