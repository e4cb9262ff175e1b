"""The content of a file, compressed or not, read from any place forward."""

from __future__ import annotations

import os
from typing import Protocol

import pyarrow as pa

MAGIC = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bz2"))
"""How compressed files begin, and Arrow's names for their codecs."""

_STEP = 1 << 16


class Content(Protocol):
    """An open file."""

    compressed: bool
    damaged: str
    """Why the last reading ended before the content did: what is compressed is not complete yet, or broken."""

    def read(self, at: int, size: int) -> bytes:
        """Up to `size` bytes of the content from `at`; fewer only at its end, or where it is damaged.

        Raises:
            OSError: the file cannot be read.
        """

    def status(self) -> os.stat_result:
        """The file's own size, time and identity, wherever it has been moved."""

    def close(self) -> None:
        """Gives the file up."""


def open_content(path: str) -> Content:
    """Opens a file.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        start = os.pread(descriptor, 4, 0)
    except OSError:
        os.close(descriptor)
        raise
    codec = next((name for magic, name in MAGIC if start.startswith(magic)), None)
    return PlainContent(descriptor) if codec is None else PackedContent(descriptor, codec)


class PlainContent:
    """A file as it stands."""

    compressed = False
    damaged = ""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, at: int, size: int) -> bytes:
        """See `Content.read`."""
        return os.pread(self._descriptor, size, at)

    def status(self) -> os.stat_result:
        """See `Content.status`."""
        return os.fstat(self._descriptor)

    def close(self) -> None:
        """See `Content.close`."""
        os.close(self._descriptor)


class PackedContent:
    """A compressed file. It can only be read forward: to go back further than the last part is to begin again."""

    compressed = True

    def __init__(self, descriptor: int, codec: str) -> None:
        self.damaged = ""
        self._descriptor = descriptor
        self._codec = codec
        self._stream: pa.CompressedInputStream | None = None
        self._start = 0
        self._kept = b""

    def read(self, at: int, size: int) -> bytes:
        """See `Content.read`. What was read last is kept: a record that goes on in the next part is read again."""
        if self._stream is None or at < self._start:
            self._begin()
        parts = [self._kept]
        end = self._start + len(self._kept)
        while end < at + size and (step := self._next()):
            parts.append(step)
            end += len(step)
            if end <= at:
                self._start, parts = end, []
        whole = b"".join(parts)
        self._start, self._kept = max(self._start, min(at, end)), whole[max(0, at - self._start) :]
        return self._kept[:size]

    def status(self) -> os.stat_result:
        """See `Content.status`."""
        return os.fstat(self._descriptor)

    def close(self) -> None:
        """See `Content.close`."""
        self._give_up()
        os.close(self._descriptor)

    def _begin(self) -> None:
        self._give_up()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        file = pa.PythonFile(os.fdopen(os.dup(self._descriptor), "rb"), "r")
        self._stream = pa.CompressedInputStream(file, self._codec)
        self._start, self._kept, self.damaged = 0, b"", ""

    def _next(self) -> bytes:
        """The next bytes; none at the end, and where it is damaged."""
        if self._stream is None:
            return b""
        try:
            step: bytes = self._stream.read(_STEP)
        except (OSError, pa.ArrowException) as error:
            self._give_up()
            self.damaged = str(error).splitlines()[0]
            return b""
        return step

    def _give_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
