"""What epochs brought while models are built, in order: in memory, and in files once it is much."""

from __future__ import annotations

import shutil
import threading
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from headwater.durable import make_folder
from headwater.runtime.dataflow import Taken

MOST_BYTES = 64 << 20
"""So much waits in memory; what comes then goes to files."""


@dataclass(frozen=True)
class _Waiting:
    """A slice of an epoch, its deltas in memory or in a folder."""

    taken: Taken
    rows: int
    nbytes: int
    folder: Path | None


class Backlog:
    """A queue between the epochs' thread, which puts, and the builder's, which takes.

    Args:
        folder: where what is too much for memory is kept; made when it is needed, and removed by `clear`.
        most_bytes: how much may wait in memory.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most = folder, most_bytes
        self._items: deque[_Waiting] = deque()
        self._held = self._number = 0
        self._changed = threading.Condition()
        self._ended = False

    @property
    def rows(self) -> int:
        """Rows that wait."""
        with self._changed:
            return sum(item.rows for item in self._items)

    @property
    def epochs(self) -> int:
        """Epochs that wait."""
        with self._changed:
            return sum(item.taken.over for item in self._items)

    def put(self, taken: Taken) -> None:
        """Adds a slice of an epoch at the end.

        Raises:
            OSError: a file could not be written; nothing was added.
        """
        rows = sum(delta.num_rows for delta in taken.deltas.values())
        nbytes = sum(int(delta.nbytes) for delta in taken.deltas.values())
        item = _Waiting(taken, rows, nbytes, None)
        if self._held + nbytes > self._most and rows:
            item = self._written(item)
        with self._changed:
            self._items.append(item)
            self._held += item.nbytes
            self._changed.notify_all()

    def end(self) -> None:
        """Says that no more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def next(self, timeout_s: float) -> Taken | None:
        """The oldest slice that waits, which stays in the queue until `done`; None if none came in time.

        Raises:
            EOFError: all is taken and no more will come.
        """
        with self._changed:
            if not self._items and not self._ended:
                self._changed.wait(timeout_s)
            if not self._items:
                if self._ended:
                    raise EOFError
                return None
            item = self._items[0]
        return item.taken if item.folder is None else _read(item)

    def done(self) -> None:
        """Forgets the oldest slice."""
        with self._changed:
            item = self._items.popleft()
            self._held -= item.nbytes
        if item.folder is not None:
            shutil.rmtree(item.folder, ignore_errors=True)

    def clear(self) -> None:
        """Forgets everything."""
        with self._changed:
            self._items.clear()
            self._held = 0
        shutil.rmtree(self._folder, ignore_errors=True)

    def _written(self, item: _Waiting) -> _Waiting:
        self._number += 1
        folder = self._folder / str(self._number)
        make_folder(folder)
        for name, delta in item.taken.deltas.items():
            with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_file(file, delta.schema) as writer:
                writer.write_table(delta)
        empty = {name: delta.schema.empty_table() for name, delta in item.taken.deltas.items()}
        return _Waiting(replace(item.taken, deltas=empty), item.rows, 0, folder)


def _read(item: _Waiting) -> Taken:
    """A slice as it was put."""
    assert item.folder is not None
    deltas = {}
    for name in item.taken.deltas:
        with pa.OSFile(str(item.folder / name), "rb") as file:
            deltas[name] = pa.ipc.open_file(file).read_all()
    return replace(item.taken, deltas=deltas)
