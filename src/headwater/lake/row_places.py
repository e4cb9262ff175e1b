"""Places of rows, (file number, row in the file) pairs, by slot of a key index: one to a slot, or a list to each.

Both kinds give the same answers to `headwater.lake.key_index.RowIndex`: a key of a keyed table has one place, in eight
bytes; equal rows of a multiset are linked places, in twelve, and four more a slot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import types
from numpy.typing import NDArray

from headwater.errors import InvariantBroken
from headwater.index.kernels import Links, Longs, Mask, compiled
from headwater.index.key_index import IndexParts, as_array
from headwater.index.memory import Arrays

Files = NDArray[np.int32]
NOWHERE = -1
"""File number of a place that is not there."""

_END = np.uint32(0xFFFFFFFF)
_MOST_ROWS = 0xFFFFFFFE
_longs, _files, _links, _mask = types.int64[::1], types.int32[::1], types.uint32[::1], types.boolean[::1]


@dataclass(frozen=True)
class Taken:
    """Places that a change takes rows from, not yet taken out of the index.

    Attributes:
        slots: the keys' slots, each once.
        counts: how many places of each slot.
        places: the places, slot after slot.
        files: each place's file number.
        rows: each place's row in its file.
    """

    slots: Longs
    counts: Longs
    places: Longs
    files: Longs
    rows: Longs

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Dead:
    """Which places are no more.

    Attributes:
        bases: by file number, where the file's rows begin in `rows`; -1: all of them are alive, -2: none is.
        rows: whether a row is dead.
    """

    bases: Longs
    rows: Mask


@dataclass(frozen=True)
class Relocation:
    """Where rows of some files lie from now on.

    Attributes:
        bases: by file number, where the file's rows begin in `files` and `rows`; -1: they stay where they are.
        sizes: by file number, how many rows it has there.
        files: each row's new file number; -1 for a row that nobody looks for.
        rows: each row's new row.
    """

    bases: Longs
    sizes: Longs
    files: Longs
    rows: Longs


@compiled(types.boolean(_longs, _mask, types.int64, types.int64))
def _is_dead(bases: Longs, dead: Mask, file: int, row: int) -> bool:
    base = bases[file]
    return bool(base == -2 or (base >= 0 and dead[base + row]))


@compiled(types.int64(_files, _links, types.int64, _longs, _mask, _longs))
def _dead_slots(files: Files, rows: Links, count: int, bases: Longs, dead: Mask, out: Longs) -> int:
    """Counts the slots whose place is dead, and writes as many of them as `out` has room for."""
    found = 0
    for slot in range(count):
        if files[slot] >= 0 and _is_dead(bases, dead, files[slot], rows[slot]):
            if found < len(out):
                out[found] = slot
            found += 1
    return found


@compiled(types.int64(_files, _links, types.int64, _longs, _longs, _longs, _longs))
def _relocate(
    files: Files, rows: Links, count: int, bases: Longs, sizes: Longs, new_files: Longs, new_rows: Longs
) -> int:
    """Moves places; returns how many have nowhere to go, and stay."""
    lost = 0
    for at in range(count):
        file = files[at]
        if file >= 0 and bases[file] >= 0:
            target = bases[file] + rows[at] if rows[at] < sizes[file] else -1
            if target < 0 or new_files[target] < 0:
                lost += 1
            else:
                files[at] = new_files[target]
                rows[at] = new_rows[target]
    return lost


@compiled(types.int64(_links, _links, _longs, _longs, _longs))
def _walk(heads: Links, following: Links, slots: Longs, counts: Longs, places: Longs) -> int:
    """Writes the first `counts[i]` places of each slot; returns the first i that has fewer, or -1."""
    at = 0
    for i in range(len(slots)):
        place = heads[slots[i]]
        for _ in range(counts[i]):
            if place == _END:
                return i
            places[at] = place
            place = following[place]
            at += 1
    return -1


@compiled(types.int64(_links, _links, _longs, _longs))
def _list(heads: Links, following: Links, slots: Longs, places: Longs) -> int:
    """Writes every place and its slot, as far as there is room: lists that were damaged may have no end."""
    at = 0
    for slot in range(len(heads)):
        place = heads[slot]
        while place != _END and at < len(places):
            slots[at], places[at] = slot, place
            place = following[place]
            at += 1
    return at


@compiled(types.void(_links, _links, _longs, _longs))
def _pop(heads: Links, following: Links, slots: Longs, counts: Longs) -> None:
    """Takes the first `counts[i]` places off each slot's list."""
    for i in range(len(slots)):
        for _ in range(counts[i]):
            heads[slots[i]] = following[heads[slots[i]]]


@compiled(types.void(_links, _links, _longs, _longs))
def _push(heads: Links, following: Links, slots: Longs, places: Longs) -> None:
    """Puts place i at the front of slot i's list."""
    for i in range(len(slots)):
        following[places[i]] = heads[slots[i]]
        heads[slots[i]] = np.uint32(places[i])


@compiled(types.int64(_links, _links, _files, _links, _longs, _mask, _longs, _mask))
def _unlink(
    heads: Links, following: Links, files: Files, rows: Links, bases: Longs, dead: Mask, out: Longs, emptied: Mask
) -> int:
    """Takes the dead places out of every slot's list, writes them to `out`, and marks the slots left without any."""
    found = 0
    for slot in range(len(heads)):
        before, place = _END, heads[slot]
        emptied[slot] = place != _END
        while place != _END:
            after = following[place]
            if _is_dead(bases, dead, files[place], rows[place]):
                out[found], files[place] = place, -1
                found += 1
                if before == _END:
                    heads[slot] = after
                else:
                    following[before] = after
            else:
                before, emptied[slot] = place, False
            place = after
    return found


class OnePlace:
    """One place to a slot.

    Args:
        memory: where arrays come from.
    """

    def __init__(self, memory: Arrays) -> None:
        self._memory = memory
        self.files: Files = np.zeros(0, np.int32)
        self.rows: Links = np.zeros(0, np.uint32)
        self.count = 0

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self.files.nbytes + self.rows.nbytes

    def parts(self, slots: int) -> IndexParts:
        """What there is of the first `slots` slots; the arrays are its own."""
        return IndexParts({"count": self.count}, {"files": self.files[:slots], "rows": self.rows[:slots]})

    def restore(self, parts: IndexParts) -> None:
        """Becomes what consisted of these parts."""
        self.count = parts.numbers["count"]
        self.files, self.rows = as_array(parts, "files", np.int32), as_array(parts, "rows", np.uint32)

    def every(self, slots: int) -> tuple[Longs, Longs, Longs]:
        """Each place of the first `slots` slots: its slot, its file number and its row."""
        found = np.flatnonzero(self.files[:slots] >= 0)
        return found, self.files[found].astype(np.int64), self.rows[found].astype(np.int64)

    def reserve(self, slots: int) -> None:
        """Makes room for so many slots."""
        before = len(self.files)
        self.files, self.rows = self._memory.grown(self.files, slots), self._memory.grown(self.rows, slots)
        self.files[before:] = NOWHERE

    def take(self, slots: Longs, counts: Longs) -> Taken | int:
        """The places of these slots, or the number of the first of which more than one is wanted."""
        more = np.flatnonzero(counts > 1)
        if len(more):
            return int(more[0])
        return Taken(slots, counts, slots, self.files[slots].astype(np.int64), self.rows[slots].astype(np.int64))

    def drop(self, taken: Taken) -> Longs:
        """Removes what was taken; returns the slots left without a place."""
        self.files[taken.slots] = NOWHERE
        self.count -= len(taken.slots)
        return taken.slots

    def put(self, slots: Longs, file: int, rows: Longs) -> None:
        """Gives each slot a place more."""
        self.reserve(int(slots.max(initial=-1)) + 1)
        self.move(slots, file, rows)
        self.count += len(slots)

    def move(self, slots: Longs, file: int, rows: Longs) -> None:
        """Gives each slot, which has a place, another one."""
        _check_rows(rows)
        self.files[slots] = file
        self.rows[slots] = rows

    def sweep(self, dead: Dead, slots: int) -> Longs:
        """Removes the places that are dead of the first `slots` slots; returns the slots left without any."""
        arguments = (self.files, self.rows, slots, dead.bases, dead.rows)
        out = np.empty(_dead_slots(*arguments, np.empty(0, np.int64)), np.int64)
        _dead_slots(*arguments, out)
        self.files[out] = NOWHERE
        self.count -= len(out)
        return out

    def relocate(self, to: Relocation, slots: int) -> int:
        """Moves places of the first `slots` slots; returns how many had nowhere to go."""
        return int(_relocate(self.files, self.rows, slots, to.bases, to.sizes, to.files, to.rows))


class PlaceLists:
    """Any number of places to a slot, the last put first taken.

    Args:
        memory: where arrays come from.
    """

    def __init__(self, memory: Arrays) -> None:
        self._memory = memory
        self.heads: Links = np.zeros(0, np.uint32)
        self.following: Links = np.zeros(0, np.uint32)
        self.files: Files = np.zeros(0, np.int32)
        self.rows: Links = np.zeros(0, np.uint32)
        self.free: list[Longs] = []
        self.used = 0

    @property
    def count(self) -> int:
        """Number of places."""
        return self.used - sum(len(places) for places in self.free)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes, free places' numbers not counted."""
        return self.heads.nbytes + self.following.nbytes + self.files.nbytes + self.rows.nbytes

    def parts(self, slots: int) -> IndexParts:
        """What there is of the first `slots` slots; the arrays are its own."""
        arrays = {
            "heads": self.heads[:slots],
            "following": self.following[: self.used],
            "files": self.files[: self.used],
            "rows": self.rows[: self.used],
            "free": np.concatenate([np.zeros(0, np.int64), *self.free]),
        }
        return IndexParts({"places": self.used}, arrays)

    def restore(self, parts: IndexParts) -> None:
        """Becomes what consisted of these parts."""
        self.used, self.free = parts.numbers["places"], [as_array(parts, "free", np.int64)]
        self.heads, self.following = as_array(parts, "heads", np.uint32), as_array(parts, "following", np.uint32)
        self.files, self.rows = as_array(parts, "files", np.int32), as_array(parts, "rows", np.uint32)

    def every(self, slots: int) -> tuple[Longs, Longs, Longs]:
        """Each place of the first `slots` slots: its slot, its file number and its row."""
        found, places = np.empty(self.used, np.int64), np.empty(self.used, np.int64)
        count = _list(self.heads[:slots], self.following, found, places)
        places = places[:count]
        return found[:count], self.files[places].astype(np.int64), self.rows[places].astype(np.int64)

    def reserve(self, slots: int) -> None:
        """Makes room for so many slots, of one place each."""
        self._more_heads(slots)
        self._more_places(slots)

    def take(self, slots: Longs, counts: Longs) -> Taken | int:
        """`counts[i]` places of each slot, or the number of the first slot that has fewer."""
        places = np.empty(int(counts.sum()), np.int64)
        short = _walk(self.heads, self.following, slots, counts, places)
        if short >= 0:
            return int(short)
        return Taken(slots, counts, places, self.files[places].astype(np.int64), self.rows[places].astype(np.int64))

    def drop(self, taken: Taken) -> Longs:
        """Removes what was taken; returns the slots left without a place."""
        _pop(self.heads, self.following, taken.slots, taken.counts)
        self._let_go(taken.places)
        return np.ascontiguousarray(taken.slots[self.heads[taken.slots] == _END])

    def put(self, slots: Longs, file: int, rows: Longs) -> None:
        """Gives each slot a place more."""
        _check_rows(rows)
        self._more_heads(int(slots.max(initial=-1)) + 1)
        places = self._new_places(len(slots))
        self.files[places] = file
        self.rows[places] = rows
        _push(self.heads, self.following, slots, places)

    def sweep(self, dead: Dead, slots: int) -> Longs:
        """Removes the places that are dead of the first `slots` slots; returns the slots left without any."""
        heads, emptied = self.heads[:slots], np.zeros(slots, np.bool_)
        out = np.empty(self.count, np.int64)
        found = _unlink(heads, self.following, self.files, self.rows, dead.bases, dead.rows, out, emptied)
        self._let_go(out[:found].copy())
        return np.flatnonzero(emptied)

    def relocate(self, to: Relocation, slots: int) -> int:
        """Moves places; returns how many had nowhere to go."""
        return int(_relocate(self.files, self.rows, self.used, to.bases, to.sizes, to.files, to.rows))

    def _let_go(self, places: Longs) -> None:
        if len(places):
            self.files[places] = NOWHERE
            self.free.append(places)

    def _new_places(self, count: int) -> Longs:
        """Places to fill: those freed before, then new ones."""
        found: list[Longs] = []
        while count and self.free:
            freed = self.free.pop()
            found.append(freed[:count])
            count -= len(found[-1])
            if len(freed) > len(found[-1]):
                self.free.append(freed[len(found[-1]) :])
        found.append(np.arange(self.used, self.used + count, dtype=np.int64))
        self.used += count
        self._more_places(self.used)
        return np.concatenate(found)

    def _more_heads(self, slots: int) -> None:
        before = len(self.heads)
        self.heads = self._memory.grown(self.heads, slots)
        self.heads[before:] = _END

    def _more_places(self, places: int) -> None:
        if places > _MOST_ROWS:
            raise InvariantBroken(f"a table without a key cannot have more than {_MOST_ROWS} rows that are looked up")
        before = len(self.files)
        self.following = self._memory.grown(self.following, places)
        self.files, self.rows = self._memory.grown(self.files, places), self._memory.grown(self.rows, places)
        self.files[before:] = NOWHERE


def _check_rows(rows: Longs) -> None:
    if len(rows) and int(rows.max()) > _MOST_ROWS:
        raise InvariantBroken(f"a data file has more than {_MOST_ROWS} rows")
