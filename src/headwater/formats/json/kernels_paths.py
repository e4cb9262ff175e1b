"""What the scan of JSON messages writes into, and its paths: compiled.

A path is the chain of field names that leads to a value, whichever message it is in; the items of an array have one
path of their own. Paths are found by name in a hash table, most often without asking it: fields follow each other as
they did in the message before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from headwater.formats.json.kernels_text import LIST, OBJECT, TOO_MANY_FIELDS, Bytes, Longs

Ints = NDArray[np.int32]

MOST_NAME = 1024
"""Bytes of a field's name, at most."""

READ, AS_TEXT, PASS_OVER = 0, 1, 2
"""What becomes of the values under a path: they are typed, kept as text (texts unquoted, all else as written), or
checked and left out."""

TAPE, PATHS, NAME_BYTES, OBJECTS = range(4)
"""What the counters count; of objects all that were ever entered, also of bad messages."""


class Tape(NamedTuple):
    """The values found, in the order of the messages.

    Attributes:
        path: of the value.
        parent: which object (or, for an item, which array) of the parent path it is in, counted from 0.
        code: its type (`kernels_text`).
        start, end: its bytes; of a text those between the quotation marks.
        value: a number or truth value itself; of a text whether it has escapes; of an object or array, which one of
            its path it is.
    """

    path: Ints
    parent: Longs
    code: Bytes
    start: Longs
    end: Longs
    value: Longs


class Paths(NamedTuple):
    """All paths; 0 is that of the messages themselves.

    Attributes:
        parent: the path of the object or array that it is in.
        start, length: its name in `names`; length -1 for the items of an array.
        names: bytes of all names.
        after: the path that came after it in the same object last time; -1 if none did.
        first: the path of its objects' first field, last time.
        items: the path of its arrays' items; -1 if there is none yet.
        seen: the object that had it last, as OBJECTS counts them.
        mode: READ, AS_TEXT or PASS_OVER.
        entries, objects, arrays: how many values of the path the tape has, and how many of these are such.
        table: hash table of paths, -1 where free.
    """

    parent: Ints
    start: Longs
    length: Ints
    names: Bytes
    after: Ints
    first: Ints
    items: Ints
    seen: Longs
    mode: Bytes
    entries: Longs
    objects: Longs
    arrays: Longs
    table: Ints


class Stack(NamedTuple):
    """The objects and arrays around a value, by depth.

    Attributes:
        path: of the object or array; -1 inside of what is not noted.
        number: which one of its path it is.
        serial: which one of all objects it is.
        entry: its place on the tape; -1 if it has none.
        is_array: whether it is one.
        joined: the code that all items so far have in common.
        last: the path of the field before; -1 at the first.
    """

    path: Ints
    number: Longs
    serial: Longs
    entry: Longs
    is_array: Bytes
    joined: Bytes
    last: Ints


@njit(cache=True, nogil=True)
def _hash(parent: int, data: Bytes, at: int, end: int) -> int:
    found = np.uint64(14695981039346656037) ^ np.uint64(parent)
    for place in range(at, end):
        found = (found ^ np.uint64(data[place])) * np.uint64(1099511628211)
    return int(np.int64((found ^ (found >> np.uint64(29))) & np.uint64(0x7FFFFFFF)))


@njit(cache=True, nogil=True, inline="always")
def is_named(paths: Paths, path: int, parent: int, data: Bytes, at: int, end: int) -> bool:
    """Whether a path is that of the field `data[at:end]` of the objects under `parent`."""
    if paths.parent[path] != parent or paths.length[path] != end - at:
        return False
    start = paths.start[path]
    for place in range(end - at):  # noqa: SIM110 compiled
        if paths.names[start + place] != data[at + place]:
            return False
    return True


@njit(cache=True, nogil=True)
def add_path(paths: Paths, counts: Longs, parent: int, length: int) -> int:
    """Adds a path, for which there is room, and returns its number; `length` is that of its name."""
    path = counts[PATHS]
    counts[PATHS] += 1
    paths.parent[path], paths.length[path], paths.start[path] = parent, length, counts[NAME_BYTES]
    paths.after[path], paths.first[path], paths.items[path], paths.seen[path] = -1, -1, -1, -1
    paths.mode[path] = READ
    paths.entries[path], paths.objects[path], paths.arrays[path] = 0, 0, 0
    return int(path)


@njit(cache=True, nogil=True)
def child(paths: Paths, counts: Longs, parent: int, data: Bytes, at: int, end: int) -> int:
    """The path of the field `data[at:end]` of the objects under `parent`; -TOO_MANY_FIELDS if it is new and there is no
    room."""
    mask = paths.table.size - 1
    slot = _hash(parent, data, at, end) & mask
    while paths.table[slot] >= 0:
        if is_named(paths, paths.table[slot], parent, data, at, end):
            return int(paths.table[slot])
        slot = (slot + 1) & mask
    length = end - at
    if counts[PATHS] == paths.parent.size or length > MOST_NAME or counts[NAME_BYTES] + length > paths.names.size:
        return -TOO_MANY_FIELDS
    path = add_path(paths, counts, parent, length)
    for place in range(length):
        paths.names[counts[NAME_BYTES] + place] = data[at + place]
    counts[NAME_BYTES] += length
    paths.table[slot] = path
    return path


@njit(cache=True, nogil=True)
def _forget_paths(paths: Paths, counts: Longs, known: int) -> None:
    """Takes away the paths from `known` on, the newest first, so that the table is as it was before them."""
    mask = paths.table.size - 1
    while counts[PATHS] > known:
        path = counts[PATHS] - 1
        length = np.int64(paths.length[path])
        if length < 0:
            paths.items[paths.parent[path]] = -1
        else:
            start = paths.start[path]
            slot = _hash(int(np.int64(paths.parent[path])), paths.names, start, start + length) & mask
            while paths.table[slot] != path:
                slot = (slot + 1) & mask
            paths.table[slot] = -1
            counts[NAME_BYTES] -= length
        counts[PATHS] = path


@njit(cache=True, nogil=True)
def undo(tape: Tape, paths: Paths, counts: Longs, length: int, known: int) -> None:
    """Takes back what a bad message has left."""
    for entry in range(length, counts[TAPE]):
        path = tape.path[entry]
        paths.entries[path] -= 1
        if tape.code[entry] == OBJECT:
            paths.objects[path] -= 1
        elif tape.code[entry] >= LIST:
            paths.arrays[path] -= 1
    counts[TAPE] = length
    _forget_paths(paths, counts, known)
