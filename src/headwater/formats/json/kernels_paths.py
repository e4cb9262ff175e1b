"""What the scan of JSON messages writes into, and its paths: compiled.

A path is the chain of field names that leads to a value, whichever message it is in; the items of an array have one
path of their own. Paths are found by name in a hash table, most often without asking it: fields follow each other as
they did in the message before.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.formats.json.kernels_text import LIST, OBJECT, TOO_MANY_FIELDS, Bytes, Longs

Table = NDArray[np.int64]

MOST_NAME = 1024
"""Bytes of a field's name, at most."""

READ, AS_TEXT, PASS_OVER = 0, 1, 2
"""What becomes of the values under a path: they are typed, kept as text (texts unquoted, all else as written), or
checked and left out."""

TAPE, PATHS, NAME_BYTES, OBJECTS = range(4)
"""What the counters count; of objects all that were ever entered, also of bad messages."""


PATH, PARENT, CODE, START, END, VALUE = range(6)
TAPE_WIDTH = 6
"""Columns of the tape, int64[values, TAPE_WIDTH], which has the values found in the order of the messages: the value's
path; which object (or, for an item, which array) of the parent path it is in, from 0; its type (`kernels_text`); its
bytes, of a text those between the quotation marks; and of a number or truth value itself, of a text whether it has
escapes, of an object or array which one of its path it is."""

OF, NAME, LENGTH, AFTER, FIRST, ITEMS, SEEN, MODE, ENTRIES, OBJECT_COUNT, ARRAY_COUNT = range(11)
PATH_WIDTH = 11
"""Columns of the paths, int64[paths, PATH_WIDTH], of which 0 is that of the messages themselves: the path of the object
or array that it is in; where its name begins in `names`, and how long that is, -1 for the items of an array; the path
that came after it in the same object last time, and the first in its objects, -1 if none did; the path of its arrays'
items, -1 if there is none yet; the object that had it last, as OBJECTS counts them; READ, AS_TEXT or PASS_OVER; how
many values of the path the tape has, and how many of these are objects and arrays."""

AROUND, NUMBER, SERIAL, ENTRY, IS_ARRAY, JOINED, LAST = range(7)
STACK_WIDTH = 7
"""Columns of the stack, int64[depth, STACK_WIDTH], the objects and arrays around a value: its path, -1 inside of what
is not noted; which one of its path it is, and of all objects; its place on the tape, -1 if it has none; whether it is
an array; the code that all items so far have in common; and the path of the field before, -1 at the first."""


@njit(cache=True, nogil=True)
def _hash(parent: int, data: Bytes, at: int, end: int) -> int:
    found = np.uint64(14695981039346656037) ^ np.uint64(parent)
    for place in range(at, end):
        found = (found ^ np.uint64(data[place])) * np.uint64(1099511628211)
    return int(np.int64((found ^ (found >> np.uint64(29))) & np.uint64(0x7FFFFFFF)))


@njit(cache=True, nogil=True)
def is_named(paths: Table, names: Bytes, path: int, parent: int, data: Bytes, at: int, end: int) -> bool:
    """Whether a path is that of the field `data[at:end]` of the objects under `parent`."""
    if paths[path, OF] != parent or paths[path, LENGTH] != end - at:
        return False
    start = paths[path, NAME]
    for place in range(end - at):  # noqa: SIM110 compiled
        if names[start + place] != data[at + place]:
            return False
    return True


@njit(cache=True, nogil=True)
def add_path(paths: Table, counts: Longs, parent: int, length: int) -> int:
    """Adds a path, for which there is room, and returns its number; `length` is that of its name."""
    path = counts[PATHS]
    counts[PATHS] += 1
    paths[path, OF], paths[path, LENGTH], paths[path, NAME] = parent, length, counts[NAME_BYTES]
    paths[path, AFTER], paths[path, FIRST], paths[path, ITEMS], paths[path, SEEN] = -1, -1, -1, -1
    paths[path, MODE] = READ
    paths[path, ENTRIES], paths[path, OBJECT_COUNT], paths[path, ARRAY_COUNT] = 0, 0, 0
    return int(path)


@njit(cache=True, nogil=True)
def child(paths: Table, names: Bytes, slots: Longs, counts: Longs, parent: int, data: Bytes, at: int, end: int) -> int:
    """The path of the field `data[at:end]` of the objects under `parent`; -TOO_MANY_FIELDS if it is new and there is no
    room."""
    mask = slots.size - 1
    slot = _hash(parent, data, at, end) & mask
    while slots[slot] >= 0:
        if is_named(paths, names, slots[slot], parent, data, at, end):
            return int(slots[slot])
        slot = (slot + 1) & mask
    length = end - at
    if counts[PATHS] == paths.shape[0] or length > MOST_NAME or counts[NAME_BYTES] + length > names.size:
        return -TOO_MANY_FIELDS
    path = add_path(paths, counts, parent, length)
    for place in range(length):
        names[counts[NAME_BYTES] + place] = data[at + place]
    counts[NAME_BYTES] += length
    slots[slot] = path
    return path


@njit(cache=True, nogil=True)
def _forget_paths(paths: Table, names: Bytes, slots: Longs, counts: Longs, known: int) -> None:
    """Takes away the paths from `known` on, the newest first, so that the table is as it was before them."""
    mask = slots.size - 1
    while counts[PATHS] > known:
        path = counts[PATHS] - 1
        length = np.int64(paths[path, LENGTH])
        if length < 0:
            paths[paths[path, OF], ITEMS] = -1
        else:
            start = paths[path, NAME]
            slot = _hash(int(paths[path, OF]), names, start, start + length) & mask
            while slots[slot] != path:
                slot = (slot + 1) & mask
            slots[slot] = -1
            counts[NAME_BYTES] -= length
        counts[PATHS] = path


@njit(cache=True, nogil=True)
def undo(tape: Table, paths: Table, names: Bytes, slots: Longs, counts: Longs, length: int, known: int) -> None:
    """Takes back what a bad message has left."""
    for entry in range(length, counts[TAPE]):
        path = tape[entry, PATH]
        paths[path, ENTRIES] -= 1
        if tape[entry, CODE] == OBJECT:
            paths[path, OBJECT_COUNT] -= 1
        elif tape[entry, CODE] >= LIST:
            paths[path, ARRAY_COUNT] -= 1
    counts[TAPE] = length
    _forget_paths(paths, names, slots, counts, known)
