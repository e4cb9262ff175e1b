"""The memory of a JSON decoder: paths known so far, and room for a tape and for what surrounds a value."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headwater.formats.json.kernels_paths import AS_TEXT, PASS_OVER, PATHS, Paths, Stack, Tape, child
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
        paths, counts, stack: for the kernels.
    """

    def __init__(self, as_text: Iterable[str] = (), passed_over: Iterable[str] = ()) -> None:
        def filled(kind: type[np.generic], value: int = 0) -> np.ndarray:
            return np.full(MOST_PATHS, value, kind)

        self.paths = Paths(
            parent=filled(np.int32, -1),
            start=filled(np.int64),
            length=filled(np.int32),
            names=np.zeros(_NAME_BYTES, np.uint8),
            after=filled(np.int32, -1),
            first=filled(np.int32, -1),
            items=filled(np.int32, -1),
            seen=filled(np.int64, -1),
            mode=filled(np.uint8),
            entries=filled(np.int64),
            objects=filled(np.int64),
            arrays=filled(np.int64),
            table=np.full(4 * MOST_PATHS, -1, np.int32),
        )
        self.counts: Longs = np.array([0, 1, 0, 0], np.int64)
        self.stack = Stack(
            *(np.zeros(MOST_DEPTH, kind) for kind in (np.int32, np.int64, np.int64, np.int64)),  # type: ignore[arg-type]
            *(np.zeros(MOST_DEPTH, kind) for kind in (np.uint8, np.uint8, np.int32)),
        )
        for mode, names in ((AS_TEXT, as_text), (PASS_OVER, passed_over)):
            for name in names:
                encoded = np.frombuffer(name.encode(), np.uint8).copy()
                self.paths.mode[child(self.paths, self.counts, 0, encoded, 0, encoded.size)] = mode

    def name(self, path: int) -> str:
        """The name of a field."""
        start = int(self.paths.start[path])
        return self.paths.names[start : start + int(self.paths.length[path])].tobytes().decode()

    def children(self) -> dict[int, list[int]]:
        """The fields of the objects of each path that has some, in the order in which they came first."""
        found: dict[int, list[int]] = {}
        parents = self.paths.parent[: self.counts[PATHS]].tolist()
        for path in np.flatnonzero(self.paths.length[: self.counts[PATHS]] >= 0).tolist():
            if path and self.paths.entries[path]:
                found.setdefault(parents[path], []).append(path)
        return found

    def restart(self) -> None:
        """Forgets values, not paths."""
        self.paths.entries[:] = 0
        self.paths.objects[:] = 0
        self.paths.arrays[:] = 0
        self.counts[0] = 0


def make_tape(capacity: int) -> Tape:
    """An empty tape of so many values."""
    return Tape(
        np.empty(capacity, np.int32),
        np.empty(capacity, np.int64),
        np.empty(capacity, np.uint8),
        *(np.empty(capacity, np.int64) for _ in range(3)),
    )


def longer(tape: Tape, capacity: int) -> Tape:
    """The tape with more room."""
    return Tape(*(np.concatenate([part, np.empty(capacity - part.size, part.dtype)]) for part in tape))
