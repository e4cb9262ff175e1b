"""The memory of a JSON decoder: paths known so far, and room for a tape and for what surrounds a value."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headwater.formats.json.kernels_paths import (
    ARRAY_COUNT,
    AS_TEXT,
    ENTRIES,
    LENGTH,
    MODE,
    NAME,
    OBJECT_COUNT,
    OF,
    PASS_OVER,
    PATH_WIDTH,
    PATHS,
    READ,
    STACK_WIDTH,
    TAPE,
    TAPE_WIDTH,
    Table,
    child,
)
from headwater.formats.json.kernels_scan import MOST_DEPTH
from headwater.formats.json.kernels_text import Longs

MOST_PATHS = 4096
"""Different fields of a stream, at most; messages with more are bad."""
_NAME_BYTES = 64 * MOST_PATHS


class PathTable:
    """The paths found in the messages of one stream, kept from batch to batch.

    Args:
        as_text: top-level fields whose values are wanted as text.
        passed_over: those that are not wanted.

    Attributes:
        paths, names, slots, counts, stack: for the kernels (`kernels_paths`).
    """

    def __init__(self, as_text: Iterable[str] = (), passed_over: Iterable[str] = ()) -> None:
        self.paths: Table = np.full((MOST_PATHS, PATH_WIDTH), -1, np.int64)
        self.paths[0, [MODE, ENTRIES, OBJECT_COUNT, ARRAY_COUNT]] = READ, 0, 0, 0
        self.names = np.zeros(_NAME_BYTES, np.uint8)
        self.slots: Longs = np.full(4 * MOST_PATHS, -1, np.int64)
        self.counts: Longs = np.array([0, 1, 0, 0], np.int64)
        self.stack: Table = np.zeros((MOST_DEPTH, STACK_WIDTH), np.int64)
        for mode, fields in ((AS_TEXT, as_text), (PASS_OVER, passed_over)):
            for name in fields:
                encoded = np.frombuffer(name.encode(), np.uint8).copy()
                path = child(self.paths, self.names, self.slots, self.counts, 0, encoded, 0, encoded.size)
                self.paths[path, MODE] = mode

    def name(self, path: int) -> str:
        """The name of a field."""
        start, length = (int(self.paths[path, column]) for column in (NAME, LENGTH))
        return self.names[start : start + length].tobytes().decode()

    def children(self) -> dict[int, list[int]]:
        """The fields of the objects of each path that has some, in the order in which they came first."""
        found: dict[int, list[int]] = {}
        parents = self.paths[: self.counts[PATHS], OF].tolist()
        for path in np.flatnonzero(self.paths[: self.counts[PATHS], LENGTH] >= 0).tolist():
            if self.paths[path, ENTRIES]:
                found.setdefault(parents[path], []).append(path)
        return found

    def restart(self) -> None:
        """Forgets values, not paths."""
        self.paths[: self.counts[PATHS], [ENTRIES, OBJECT_COUNT, ARRAY_COUNT]] = 0
        self.counts[TAPE] = 0


def make_tape(capacity: int) -> Table:
    """An empty tape of so many values."""
    return np.empty((capacity, TAPE_WIDTH), np.int64)


def longer(tape: Table, capacity: int) -> Table:
    """The tape with more room."""
    return np.concatenate([tape, make_tape(capacity - len(tape))])
