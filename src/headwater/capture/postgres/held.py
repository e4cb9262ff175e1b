"""Transactions that were sent before they committed: kept by id, as bytes, on disk when they grow too large.

What is on disk is in files without a name, so that a crash leaves nothing: the server sends those transactions again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from headwater.capture.postgres import walk
from headwater.capture.postgres.staging import Input
from headwater.capture.postgres.wire import Frames
from headwater.errors import SourceUnavailable

MEMORY_BYTES = 64 << 20
"""All that is held of transactions in progress beyond this is on disk."""


@dataclass(frozen=True)
class Chunk:
    """Messages of a transaction, in order: uint8 end to end, int64 ends, int64 ids of their (sub)transactions."""

    store: np.ndarray
    ends: np.ndarray
    xids: np.ndarray

    def without(self, aborted: set[int]) -> Frames:
        """The messages that are not of those subtransactions."""
        begins = np.concatenate(([0], self.ends[:-1])).astype(np.int64)
        if not aborted:
            return Frames(self.store, begins, self.ends)
        kept = ~np.isin(self.xids, np.fromiter(aborted, np.int64, len(aborted)))
        return Frames(self.store, begins[kept], self.ends[kept])


@dataclass(eq=False)
class Transaction:
    """One of them.

    Attributes:
        prefix: bytes between a message's kind and the rest, as they are sent: 4 for an id, or 0.
        prepared: LSN of its prepare record, if it is being prepared or is.
        size: bytes in memory.
    """

    prefix: int
    prepared: int | None = None
    size: int = 0
    _chunks: list[Chunk] = field(default_factory=list)
    _aborted: set[int] = field(default_factory=set)
    _file: IO[bytes] | None = None

    def add(self, chunk: Chunk) -> None:
        """Appends messages."""
        self._chunks.append(chunk)
        self.size += chunk.store.size + 16 * chunk.ends.size

    def abort(self, xid: int) -> None:
        """One of its subtransactions was rolled back."""
        self._aborted.add(xid)

    def spill(self, folder: Path | None) -> None:
        """Moves what is in memory to disk.

        Raises:
            OSError: the disk is full.
        """
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        for chunk in self._chunks:
            sizes = np.array([chunk.ends.size, chunk.store.size], np.int64)
            for part in (sizes, chunk.ends, chunk.xids, chunk.store):
                self._file.write(part.data)
        self._chunks, self.size = [], 0

    def messages(self) -> Iterator[Frames]:
        """All that counts of it, in order, a part at a time; afterwards it is empty."""
        if self._file is not None:
            self._file.seek(0)
            while (sizes := np.fromfile(self._file, np.int64, 2)).size:
                ends, xids = (np.fromfile(self._file, np.int64, sizes[0]) for _ in range(2))
                yield Chunk(np.fromfile(self._file, np.uint8, sizes[1]), ends, xids).without(self._aborted)
        for chunk in self._chunks:
            yield chunk.without(self._aborted)
        self.close()

    def close(self) -> None:
        """Forgets it."""
        self._chunks, self.size = [], 0
        if self._file is not None:
            self._file.close()
            self._file = None


class Held:
    """All of them.

    Args:
        folder: where files go; None: where temporary files go.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._transactions: dict[int, Transaction] = {}
        self._room = np.empty(0, np.uint8)
        self._numbers = np.empty((2, 0), np.int64)

    def __contains__(self, xid: int) -> bool:
        return xid in self._transactions

    def begin(self, xid: int, prefix: int) -> Transaction:
        """The transaction of that id, begun if need be."""
        return self._transactions.setdefault(xid, Transaction(prefix))

    def take(self, source: Input, into: Transaction) -> int:
        """Takes the messages that come next into a transaction; why it stopped, see `walk.hold`."""
        frames, left = source.frames, len(source.frames) - source.at
        size = int(frames.ends[-1] - frames.begins[source.at])
        if size > self._room.size or left > self._numbers.shape[1]:
            self._room, self._numbers = np.empty(size, np.uint8), np.empty((2, left), np.int64)
        store, (ends, xids) = self._room, self._numbers
        where = frames.buffer, frames.begins, frames.ends, source.at, source.header, into.prefix
        source.at, reason, count = walk.hold(*where, store, ends, xids)
        if count:
            into.add(Chunk(store[: ends[count - 1]].copy(), ends[:count].copy(), xids[:count].copy()))
            self._bound()
        return reason

    def _bound(self) -> None:
        """Moves the largest to disk until the rest may stay."""
        while sum(each.size for each in self._transactions.values()) > MEMORY_BYTES:
            try:
                max(self._transactions.values(), key=lambda each: each.size).spill(self._folder)
            except OSError as error:
                raise SourceUnavailable(
                    f"a transaction in progress cannot be kept on disk: {error}",
                    hint=f"make room in {self._folder or tempfile.gettempdir()}, or switch streaming: off",
                ) from error

    def abort(self, xid: int, part: int) -> None:
        """A transaction was rolled back, or a part of it. One that is not known had nothing to say."""
        if xid == part:
            self.discard(xid)
        elif xid in self._transactions:
            self._transactions[xid].abort(part)

    def discard(self, xid: int) -> None:
        """Forgets a transaction."""
        transaction = self._transactions.pop(xid, None)
        if transaction is not None:
            transaction.close()

    def pop(self, xid: int) -> Transaction:
        """Takes a transaction out, which has committed.

        Raises:
            KeyError: it is not here.
        """
        return self._transactions.pop(xid)

    @property
    def prepared(self) -> int | None:
        """LSN of the first prepare record of a transaction that is only prepared; None if there is none."""
        return min((each.prepared for each in self._transactions.values() if each.prepared is not None), default=None)

    def close(self) -> None:
        """Forgets all."""
        for xid in list(self._transactions):
            self.discard(xid)
