"""The memory that state lives in: a budget, and memory-mapped files for what goes past it.

What is mapped from a file is the page cache's: the kernel keeps it in RAM as long as there is room, and writes it out
when there is not. Files are unlinked as soon as they are open, so that nothing is left behind however the process ends,
and their space is reserved before it is mapped, because writing to a mapped file on a full disk would end the process.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from headwater.errors import StorageFailed
from headwater.index.memory import Arrays, Value

_SMALL_BYTES = 1 << 18
Thing = TypeVar("Thing")


class Memory(Arrays):
    """Gives out arrays and keeps rows. Without a budget everything stays in RAM and nothing is counted.

    Shared by the workers of a view, and safe to be used by several threads. What is given out is freed when nobody
    holds it any more. Arrays and rows smaller than 256 KiB are neither counted nor spilled.

    Args:
        budget_bytes: how much of it may be in RAM of the process's own; what more is asked for is mapped from files.
        folder: where those files are made; the system's folder for temporary files if not given. It should not be a
            RAM disk.
    """

    def __init__(self, budget_bytes: int | None = None, folder: Path | None = None) -> None:
        if budget_bytes is not None:
            _allow_many_files()
        self.budget_bytes = budget_bytes
        self._folder = folder
        self._lock = threading.Lock()
        self._held = {False: 0, True: 0}
        self._let_go: deque[tuple[bool, int]] = deque()
        self._files: dict[int, int] = {}

    @property
    def ram_bytes(self) -> int:
        """Bytes given out that are in RAM of the process's own."""
        return self._count(False, 0)

    @property
    def mapped_bytes(self) -> int:
        """Bytes given out that are mapped from files."""
        return self._count(True, 0)

    def zeros(self, size: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """A new array of zeros.

        Raises:
            StorageFailed: the disk is full, or the folder cannot be written.
        """
        kind = np.dtype(dtype)
        size_bytes = size * kind.itemsize
        if self._counts_not(size_bytes):
            return np.zeros(size, kind)
        if self._reserve(size_bytes):
            return self._followed(np.zeros(size, kind), False, size_bytes)
        with self._storage():
            file = self._unlinked_file()
            return self._mapped(file, size, kind)

    def grown(self, array: NDArray[Value], size: int) -> NDArray[Value]:
        """The array with room for `size` values; new values are zero. The array given is not to be used any more.

        Raises:
            StorageFailed: the disk is full, or the folder cannot be written; the array given is as it was.
        """
        file = self._files.get(id(array))
        if file is None or size <= len(array):
            return super().grown(array, size)
        with self._storage():
            larger = self._mapped(os.dup(file), max(size, len(array) + len(array) // 2), array.dtype)
        return cast("NDArray[Value]", larger)

    def kept(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows that are to be kept long: the same, or a copy that is mapped from a file.

        Raises:
            StorageFailed: the disk is full, or the folder cannot be written.
        """
        size_bytes = int(rows.nbytes)
        if self._counts_not(size_bytes):
            return rows
        if self._reserve(size_bytes):
            return self._followed(rows, False, size_bytes)
        with self._storage():
            return self._written(rows)

    def _counts_not(self, size_bytes: int) -> bool:
        return self.budget_bytes is None or size_bytes < _SMALL_BYTES

    def _count(self, mapped: bool, more: int) -> int:
        """Adds to what is held, first taking off what was let go; returns the sum."""
        with self._lock:
            while self._let_go:
                was_mapped, size_bytes = self._let_go.popleft()
                self._held[was_mapped] -= size_bytes
            self._held[mapped] += more
            return self._held[mapped]

    def _reserve(self, size_bytes: int) -> bool:
        """Counts bytes of RAM; False, and nothing is counted, if they go past the budget."""
        if self.budget_bytes is None or self._count(False, size_bytes) <= self.budget_bytes:
            return True
        self._count(False, -size_bytes)
        return False

    def _followed(self, thing: Thing, mapped: bool, size_bytes: int) -> Thing:
        """Notes when somebody lets go of it. This may happen at any instruction, even here: so it takes no lock."""
        weakref.finalize(thing, self._let_go.append, (mapped, size_bytes)).atexit = False
        return thing

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cure = "free space there" if error.errno == errno.ENOSPC else "make it writable"
            folder = self._folder or tempfile.gettempdir()
            hint = f"Raise the memory budget, or {cure}; then restart from the last checkpoint."
            reason = error.strerror or type(error).__name__
            message = f"state past its memory budget cannot be put into {folder}: {reason}"
            raise StorageFailed(message, hint=hint) from error

    def _unlinked_file(self) -> int:
        """A new file without a name."""
        file, path = tempfile.mkstemp(prefix="headwater-", suffix=".spill", dir=self._folder)
        os.unlink(path)  # noqa: PTH108
        return file

    def _mapped(self, file: int, size: int, kind: np.dtype[np.generic]) -> NDArray[np.generic]:
        """The file, which is closed with the array, as an array; zeros where nothing has been written."""
        size_bytes = size * kind.itemsize
        try:
            _reserve_space(file, size_bytes)
            array = np.frombuffer(mmap.mmap(file, size_bytes), kind)
        except BaseException:
            os.close(file)
            raise
        self._files[id(array)] = file
        weakref.finalize(array, self._close, id(array)).atexit = False
        self._count(True, size_bytes)
        return self._followed(array, True, size_bytes)

    def _close(self, number: int) -> None:
        os.close(self._files.pop(number))

    def _written(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows in a file, mapped."""
        with os.fdopen(self._unlinked_file(), "w+b") as file:
            with pa.ipc.new_file(pa.PythonFile(file, "w"), rows.schema) as writer:
                writer.write_batch(rows)
            file.flush()
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        size_bytes = len(content)
        self._count(True, size_bytes)
        return self._followed(pa.ipc.open_file(pa.py_buffer(content)).get_batch(0), True, size_bytes)


def _allow_many_files() -> None:
    """Raises the process's limit of open files as far as it may: each mapping has one or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # Where "unlimited" is refused (macOS) the limit stays.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _reserve_space(file: int, size_bytes: int) -> None:
    """Makes the file as long as that, of blocks that are there; new bytes are zero."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size_bytes)
        return
    zeros = bytes(1 << 20)
    for at in range(os.fstat(file).st_size, size_bytes, len(zeros)):
        os.pwrite(file, zeros[: size_bytes - at], at)
