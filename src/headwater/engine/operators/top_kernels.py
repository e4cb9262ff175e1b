"""The compiled loops of `TopOperator`: the best rows of a batch, and what changes between two lists of entries."""

from __future__ import annotations

from numba import types

from headwater.index.kernels import Bytes, Longs, Mask, Words, compiled, inlined

_longs, _words, _mask, _bytes = types.int64[::1], types.uint64[::1], types.boolean[::1], types.uint8[::1]
_int = types.int64

_BEFORE, _AFTER = 1, 2


@inlined
def _compared(words: Words, a: int, b: int, width: int) -> int:
    """-1, 0 or 1: how the words of row a compare with those of row b."""
    at = 0
    while at < width and words[a * width + at] == words[b * width + at]:
        at += 1
    result = 0
    if at < width:
        result = -1 if words[a * width + at] < words[b * width + at] else 1
    return result


@compiled(types.int64(_longs, _longs, _longs))
def number(groups: Longs, numbers: Longs, distinct: Longs) -> int:
    """Numbers the distinct groups from 0: `numbers`, by group and all zero at first, is left with each one's number
    + 1. Writes the groups to `distinct` and returns how many there are."""
    count = 0
    for group in groups:
        if not numbers[group]:
            distinct[count] = group
            count += 1
            numbers[group] = count
    return count


@compiled(types.void(_longs, _longs, _words, _int, _int, _longs, _longs, _longs, _mask))
def best(
    groups: Longs,
    numbers: Longs,
    words: Words,
    width: int,
    n: int,
    rows: Longs,
    counts: Longs,
    which: Longs,
    out: Mask,
) -> None:
    """Marks, of the rows numbered `which`, those that are among the first `n` of their group, and those equal to the
    last of these.

    Args:
        numbers: by group its number + 1.
        rows: room for `n` rows per group number.
        counts: room for a count per group number, all zero.
    """
    for i in which:
        at = numbers[groups[i]] - 1
        start, count = at * n, counts[at]
        if count == n and _compared(words, i, rows[start + n - 1], width) >= 0:
            continue
        place = start + min(count, n - 1)
        while place > start and _compared(words, i, rows[place - 1], width) < 0:
            rows[place] = rows[place - 1]
            place -= 1
        rows[place] = i
        counts[at] = min(count + 1, n)
    for i in which:
        at = numbers[groups[i]] - 1
        out[i] = _compared(words, i, rows[at * n + counts[at] - 1], width) <= 0


@compiled(types.int64(_longs, _longs, _longs, _longs, _longs, _longs, _bytes, _longs, _longs))
def differ(
    before: Longs,
    before_copies: Longs,
    before_offsets: Longs,
    after: Longs,
    after_copies: Longs,
    after_offsets: Longs,
    marks: Bytes,
    out: Longs,
    weights: Longs,
) -> int:
    """Writes the entries whose copies differ between two lists of each group, and by how much; returns their number.

    Entries that are in both lists are in the same order there. `marks` are by entry, all zero, and left so.
    """
    count = 0
    for group in range(len(before_offsets) - 1):
        i, end = before_offsets[group], before_offsets[group + 1]
        j, stop = after_offsets[group], after_offsets[group + 1]
        while i < end and j < stop and before[i] == after[j] and before_copies[i] == after_copies[j]:
            i, j = i + 1, j + 1
        for at in range(i, end):
            marks[before[at]] |= _BEFORE
        for at in range(j, stop):
            marks[after[at]] |= _AFTER
        first, second = i, j
        while i < end or j < stop:
            if i < end and not marks[before[i]] & _AFTER:
                out[count], weights[count] = before[i], -before_copies[i]
                i += 1
            elif j < stop and not marks[after[j]] & _BEFORE:
                out[count], weights[count] = after[j], after_copies[j]
                j += 1
            else:
                out[count], weights[count] = before[i], after_copies[j] - before_copies[i]
                i, j = i + 1, j + 1
            count += weights[count] != 0
        for at in range(first, end):
            marks[before[at]] = 0
        for at in range(second, stop):
            marks[after[at]] = 0
    return count


@compiled(types.int64(_longs, _longs, _longs, _longs, _longs, _longs, _longs, _longs))
def renumbered(
    before: Longs,
    before_offsets: Longs,
    after: Longs,
    after_offsets: Longs,
    firsts: Longs,
    out: Longs,
    weights: Longs,
    places: Longs,
) -> int:
    """Writes what differs place by place between two lists of each group: entries, -1 or 1, and their ranks, `firsts`
    being those of the lists' first entries; returns how many there are."""
    count = 0
    for group in range(len(before_offsets) - 1):
        start, had = before_offsets[group], before_offsets[group + 1] - before_offsets[group]
        other, has = after_offsets[group], after_offsets[group + 1] - after_offsets[group]
        for place in range(max(had, has)):
            if place < had and place < has and before[start + place] == after[other + place]:
                continue
            if place < had:
                out[count], weights[count], places[count] = before[start + place], -1, firsts[group] + place
                count += 1
            if place < has:
                out[count], weights[count], places[count] = after[other + place], 1, firsts[group] + place
                count += 1
    return count


@compiled(types.void(_longs, _longs, _longs))
def offsets_by_weight(offsets: Longs, copies: Longs, out: Longs) -> None:
    """Offsets into lists in which every entry stands as often as it has copies."""
    total = 0
    for group in range(len(offsets) - 1):
        out[group] = total
        for at in range(offsets[group], offsets[group + 1]):
            total += copies[at]
    out[len(offsets) - 1] = total
