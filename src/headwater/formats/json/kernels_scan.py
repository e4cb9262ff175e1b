"""Compiled walk over JSON messages: every value is noted on a tape with the path that it stands under. A message that
is no good leaves no trace, neither values nor paths.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from headwater.formats.json.kernels_paths import (
    AFTER,
    AROUND,
    ARRAY_COUNT,
    AS_TEXT,
    CODE,
    END,
    ENTRIES,
    ENTRY,
    FIRST,
    IS_ARRAY,
    ITEMS,
    JOINED,
    LAST,
    MODE,
    NUMBER,
    OBJECT_COUNT,
    OBJECTS,
    PARENT,
    PASS_OVER,
    PATH,
    PATHS,
    SEEN,
    SERIAL,
    START,
    TAPE,
    VALUE,
    Table,
    add_path,
    child,
    is_named,
    undo,
)
from headwater.formats.json.kernels_text import (
    BOOL,
    DECIMAL,
    DOUBLE,
    DUPLICATE_KEY,
    EMPTY,
    ENDS_EARLY,
    INT,
    JSON,
    LIST,
    NOT_AN_OBJECT,
    NOT_JSON,
    NULL,
    OBJECT,
    TEXT,
    TOO_DEEP,
    TOO_MANY_FIELDS,
    TOO_MANY_VALUES,
    Bytes,
    Longs,
    pass_number,
    pass_text,
    pass_word,
    skip_blanks,
    unescape,
)

MOST_DEPTH = 64
MOST_VALUES = 1 << 20
"""Values of one message, at most."""

_TRUE = np.frombuffer(b"true", np.uint8).copy()
_FALSE = np.frombuffer(b"false", np.uint8).copy()
_NULL = np.frombuffer(b"null", np.uint8).copy()
_NAN = np.frombuffer(b"NaN", np.uint8).copy()
_INFINITY = np.frombuffer(b"Infinity", np.uint8).copy()


@njit(cache=True, nogil=True)
def join_codes(one: int, other: int) -> int:
    """The code that holds values of both: a list's items, for one, or items of two lists."""
    if one == other or other == NULL:
        return one
    if one == NULL:
        return other
    inner_one, inner_other = one % LIST, other % LIST
    if one // LIST != other // LIST:
        shallow = min(one, other)
        if shallow % LIST == NULL:
            return max(one, other)
        return JSON + shallow // LIST * LIST
    return one - inner_one + _join_plain(inner_one, inner_other)


@njit(cache=True, nogil=True)
def _join_plain(one: int, other: int) -> int:
    low, high = min(one, other), max(one, other)
    if low == NULL:
        return high
    if low == INT and high in (DOUBLE, DECIMAL):
        return high
    return JSON


@njit(cache=True, nogil=True)
def _note(
    tape: Table, paths: Table, counts: Longs, path: int, parent: int, code: int, start: int, end: int, value: int
) -> int:
    entry = counts[TAPE]
    tape[entry, PATH], tape[entry, PARENT], tape[entry, CODE] = path, parent, code
    tape[entry, START], tape[entry, END], tape[entry, VALUE] = start, end, value
    paths[path, ENTRIES] += 1
    counts[TAPE] = entry + 1
    return int(entry)


@njit(cache=True, nogil=True)
def _field(
    data: Bytes,
    at: int,
    end: int,
    depth: int,
    paths: Table,
    names: Bytes,
    slots: Longs,
    counts: Longs,
    stack: Table,
    scratch: Bytes,
) -> tuple[int, int]:
    """Reads a field's name, its quotation mark at `at`, and the colon; returns the place of its value, and its path."""
    if at >= end:
        return -ENDS_EARLY, -1
    if data[at] != 34:
        return -NOT_JSON, -1
    stop, escaped = pass_text(data, at + 1, end)
    if stop < 0:
        return stop, -1
    colon = skip_blanks(data, stop + 1, end)
    if colon >= end or data[colon] != 58:
        return (-ENDS_EARLY if colon >= end else -NOT_JSON), -1
    after = skip_blanks(data, colon + 1, end)
    parent = stack[depth, AROUND]
    if parent < 0:
        return after, -1
    last = stack[depth, LAST]
    path = paths[parent, FIRST] if last < 0 else paths[last, AFTER]
    if escaped:
        path = child(paths, names, slots, counts, parent, scratch, 0, unescape(data, at + 1, stop, scratch, 0))
    elif path < 0 or path >= counts[PATHS] or not is_named(paths, names, path, parent, data, at + 1, stop):
        path = child(paths, names, slots, counts, parent, data, at + 1, stop)
    if path < 0:
        return path, -1
    if paths[path, SEEN] == stack[depth, SERIAL]:
        return -DUPLICATE_KEY, -1
    paths[path, SEEN] = stack[depth, SERIAL]
    if last < 0:
        paths[parent, FIRST] = path
    else:
        paths[last, AFTER] = path
    stack[depth, LAST] = path
    return after, int(path)


@njit(cache=True, nogil=True)
def _item(paths: Table, counts: Longs, parent: int) -> int:
    """The path of the items of the arrays under `parent`."""
    if parent < 0:
        return -1
    if paths[parent, ITEMS] < 0:
        if counts[PATHS] == paths.shape[0]:
            return -TOO_MANY_FIELDS
        paths[parent, ITEMS] = add_path(paths, counts, parent, -1)
    return int(paths[parent, ITEMS])


@njit(cache=True, nogil=True)
def _plain(data: Bytes, at: int, end: int, nan: bool) -> tuple[int, int, int]:
    """Reads a value that is no object, array or text; returns the place after it, its code and value."""
    sign = data[at]
    if sign == 45 or 48 <= sign <= 57:
        if nan and sign == 45 and at + 1 < end and data[at + 1] == 73:
            return pass_word(data, at + 1, end, _INFINITY), DOUBLE, 0
        return pass_number(data, at, end)
    if sign == 116:
        return pass_word(data, at, end, _TRUE), BOOL, 1
    if sign == 102:
        return pass_word(data, at, end, _FALSE), BOOL, 0
    if sign == 110:
        return pass_word(data, at, end, _NULL), NULL, 0
    if nan and sign == 78:
        return pass_word(data, at, end, _NAN), DOUBLE, 0
    if nan and sign == 73:
        return pass_word(data, at, end, _INFINITY), DOUBLE, 0
    return -NOT_JSON, 0, 0


@njit(cache=True, nogil=True)
def _open(data: Bytes, at: int, path: int, depth: int, tape: Table, paths: Table, counts: Longs, stack: Table) -> int:
    """Enters the object or array at `at`; returns the new depth."""
    is_array = data[at] == 91
    if depth + 1 >= MOST_DEPTH:
        return -TOO_DEEP
    parent = stack[depth, NUMBER]
    depth += 1
    stack[depth, IS_ARRAY], stack[depth, JOINED], stack[depth, LAST] = is_array, NULL, -1
    stack[depth, AROUND], stack[depth, NUMBER], stack[depth, ENTRY] = -1, 0, -1
    counts[OBJECTS] += 1
    stack[depth, SERIAL] = counts[OBJECTS]
    if path < 0 or paths[path, MODE] == PASS_OVER:
        return depth
    if paths[path, MODE] == AS_TEXT:
        stack[depth, ENTRY] = _note(tape, paths, counts, path, parent, TEXT, at, at, 0)
        return depth
    number = paths[path, ARRAY_COUNT] if is_array else paths[path, OBJECT_COUNT]
    stack[depth, AROUND], stack[depth, NUMBER] = path, number
    stack[depth, ENTRY] = _note(tape, paths, counts, path, parent, LIST if is_array else OBJECT, at, at, number)
    if is_array:
        paths[path, ARRAY_COUNT] += 1
    else:
        paths[path, OBJECT_COUNT] += 1
    return depth


@njit(cache=True, nogil=True)
def _value(
    data: Bytes,
    at: int,
    end: int,
    path: int,
    depth: int,
    nan: bool,
    tape: Table,
    paths: Table,
    counts: Longs,
    stack: Table,
) -> int:
    """Reads a value that is no object or array; returns the place after it."""
    if data[at] == 34:
        stop, value = pass_text(data, at + 1, end)
        after, code, at = stop + 1 if stop >= 0 else stop, TEXT, at + 1
    else:
        after, code, value = _plain(data, at, end, nan)
        stop = after
    if after < 0 or path < 0 or paths[path, MODE] == PASS_OVER:
        return after
    if paths[path, MODE] == AS_TEXT and code != NULL and code != TEXT:
        code, value = TEXT, 0
    _note(tape, paths, counts, path, stack[depth, NUMBER], code, at, stop, value)
    if stack[depth, IS_ARRAY]:
        stack[depth, JOINED] = join_codes(int(stack[depth, JOINED]), code)
    return after


@njit(cache=True, nogil=True)
def _list_of(code: int) -> int:
    """The code of a list of such items."""
    return LIST + code if code < 255 - LIST else code


@njit(cache=True, nogil=True)
def _close(tape: Table, depth: int, at: int, stack: Table) -> int:
    """Leaves the object or array that ends at `at`; returns the depth around it."""
    entry = stack[depth, ENTRY]
    if entry >= 0:
        tape[entry, END] = at + 1
        if stack[depth, IS_ARRAY] and stack[depth, AROUND] >= 0:
            tape[entry, CODE] = _list_of(int(stack[depth, JOINED]))
        around = depth - 1
        if stack[around, IS_ARRAY] and stack[around, AROUND] >= 0:
            stack[around, JOINED] = join_codes(int(stack[around, JOINED]), int(tape[entry, CODE]))
    return depth - 1


@njit(cache=True, nogil=True)
def _begin(data: Bytes, at: int, end: int, row: int, counts: Longs, stack: Table) -> int:
    """The place of the brace that a message begins with, past white space and a byte order mark; enters its object."""
    counts[OBJECTS] += 1
    stack[0, AROUND], stack[0, NUMBER], stack[0, SERIAL] = 0, row, counts[OBJECTS]
    stack[0, IS_ARRAY], stack[0, LAST] = 0, -1
    if at + 3 <= end and data[at] == 0xEF and data[at + 1] == 0xBB and data[at + 2] == 0xBF:
        at += 3
    at = skip_blanks(data, at, end)
    if at == end:
        return -EMPTY
    return at if data[at] == 123 else -NOT_AN_OBJECT


@njit(cache=True, nogil=True)
def _message(
    data: Bytes,
    at: int,
    end: int,
    row: int,
    nan: bool,
    tape: Table,
    paths: Table,
    names: Bytes,
    slots: Longs,
    counts: Longs,
    stack: Table,
    scratch: Bytes,
) -> int:
    """Reads one message; returns 0, or the negated code of what is wrong with it."""
    at = _begin(data, at, end, row, counts, stack)
    if at < 0:
        return at
    most = counts[TAPE] + MOST_VALUES
    depth, at, fresh = 0, at + 1, True
    while depth >= 0:
        if counts[TAPE] >= most:
            return -TOO_MANY_VALUES
        at = skip_blanks(data, at, end)
        if at >= end:
            return -ENDS_EARLY
        closing = 93 if stack[depth, IS_ARRAY] else 125
        if data[at] == closing:
            depth, at, fresh = _close(tape, depth, at, stack) if depth else -1, at + 1, False
            continue
        if not fresh:
            if data[at] != 44:
                return -NOT_JSON
            at = skip_blanks(data, at + 1, end)
        if stack[depth, IS_ARRAY]:
            path = _item(paths, counts, int(stack[depth, AROUND]))
            at = at if path >= -1 else path
        else:
            at, path = _field(data, at, end, depth, paths, names, slots, counts, stack, scratch)
        if at < 0 or at >= end:
            return at if at < 0 else -ENDS_EARLY
        fresh = data[at] == 123 or data[at] == 91
        if fresh:
            depth = _open(data, at, path, depth, tape, paths, counts, stack)
            at = at + 1 if depth >= 0 else depth
        else:
            at = _value(data, at, end, path, depth, nan, tape, paths, counts, stack)
        if at < 0:
            return at
    return 0 if skip_blanks(data, at, end) == end else -NOT_JSON


@njit(cache=True, nogil=True)
def scan(
    data: Bytes,
    starts: Longs,
    ends: Longs,
    first: int,
    rows: int,
    nan: bool,
    tape: Table,
    paths: Table,
    names: Bytes,
    slots: Longs,
    counts: Longs,
    stack: Table,
    scratch: Bytes,
    outcome: Longs,
) -> tuple[int, int]:
    """Reads messages from `first` on until all are read or the tape may be too short for the next.

    Args:
        data, starts, ends: the messages; one that ends before it begins is a tombstone.
        first: number of the first message.
        rows: how many good ones there were before it.
        nan: whether NaN and Infinity are numbers.
        tape, paths, names, slots, counts: what is found; all of earlier calls is kept.
        stack: room for MOST_DEPTH.
        scratch: room for the longest message.
        outcome: by message, filled: its row, -1 for a tombstone, or -1 less the code of what is wrong with it.

    Returns:
        The number of the first message that was not read, and of good ones before it.
    """
    for number in range(first, starts.size):
        begin, end = starts[number], ends[number]
        if end < begin:
            outcome[number] = -1
            continue
        length, known = counts[TAPE], counts[PATHS]
        if length + min((end - begin) // 2 + 2, MOST_VALUES + 1) > tape.shape[0]:
            return number, rows
        error = _message(data, begin, end, rows, nan, tape, paths, names, slots, counts, stack, scratch)
        if error < 0:
            undo(tape, paths, names, slots, counts, length, known)
            outcome[number] = error - 1
        else:
            outcome[number] = rows
            rows += 1
    return starts.size, rows


@njit(cache=True, nogil=True)
def sort_tape(tape: Table, count: int, begins: Longs, sorted_tape: Table) -> None:
    """Puts the tape in the order of the paths, each path's values in their own order.

    Args:
        begins: by path, the place of its first value; used up.
        sorted_tape: int64[6, values], filled: the tape's columns.
    """
    for entry in range(count):
        path = tape[entry, PATH]
        to = begins[path]
        begins[path] = to + 1
        for column in range(6):
            sorted_tape[column, to] = tape[entry, column]
