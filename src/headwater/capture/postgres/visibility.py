"""Which transactions a reading of the database has seen, and which it cannot have.

A commit is in the write-ahead log, and on its way to us, before others see its rows: for an instant, or for as long as
a synchronous standby keeps it waiting. So a place in the log does not say what a reading holds; the transaction ids of
its snapshot do (`pg_current_snapshot`), and every transaction of the stream comes with its id.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InvariantBroken

Ids = NDArray[np.uint64]
Ids32 = NDArray[np.uint32]
Lsns = NDArray[np.uint64]
Mask = NDArray[np.bool_]

_CYCLE = 1 << 32


@dataclass(frozen=True)
class View:
    """What a snapshot sees: committed transactions with an id below `end` that are not among `running`.

    Attributes:
        end: the first id not given out yet (64 bits, as `xid8`).
        running: ids below it of transactions that had not ended, ascending.
    """

    end: int
    running: Ids

    @staticmethod
    def parse(text: str) -> View:
        """From `pg_current_snapshot()::text`, "xmin:xmax:xip,xip".

        Raises:
            InvariantBroken: it is none.
        """
        try:
            _, end, running = text.split(":")
            ids = np.array(sorted(int(xid) for xid in running.split(",") if xid), np.uint64)
            return View(int(end), ids)
        except ValueError as error:
            raise InvariantBroken(f"{text!r} is no snapshot of PostgreSQL's") from error

    def __str__(self) -> str:
        start = int(self.running[0]) if len(self.running) else self.end
        return f"{start}:{self.end}:{','.join(map(str, self.running.tolist()))}"

    def sees(self, ids: Ids) -> Mask:
        """Of which transactions it sees what they did, if they have committed."""
        at = np.searchsorted(self.running, ids)
        among = np.zeros(len(ids), np.bool_)
        inside = at < len(self.running)
        among[inside] = self.running[at[inside]] == ids[inside]
        return np.asarray((ids < np.uint64(self.end)) & ~among)

    def whole(self, ids: Ids32) -> Ids:
        """The stream's 32 bit ids as those of 64 bits: the nearest to `end`."""
        away = (ids - np.uint32(self.end % _CYCLE)).view(np.int32).astype(np.int64)
        return (away + self.end).astype(np.uint64)


class Commits:
    """The transactions that the stream has brought: commit LSN and id, as far as a reading may not see them yet."""

    def __init__(self) -> None:
        self._lsns = np.zeros(0, np.uint64)
        self._ids = np.zeros(0, np.uint32)

    def __len__(self) -> int:
        return len(self._lsns)

    def add(self, lsns: Lsns, ids: Ids32) -> None:
        """Takes note of transactions."""
        if len(lsns):
            self._lsns, self._ids = np.concatenate([self._lsns, lsns]), np.concatenate([self._ids, ids])

    def unseen(self, view: View) -> Lsns:
        """Commit LSNs of those that `view` does not see, ascending."""
        return np.sort(self._lsns[~view.sees(view.whole(self._ids))])

    def seen(self, view: View) -> Lsns:
        """Commit LSNs of those that `view` sees, ascending."""
        return np.sort(self._lsns[view.sees(view.whole(self._ids))])

    def forget(self, view: View) -> None:
        """Lets go of those that `view` sees: every later reading sees them too."""
        kept = ~view.sees(view.whole(self._ids))
        self._lsns, self._ids = self._lsns[kept], self._ids[kept]


def among(lsns: Lsns, known: Lsns) -> Mask:
    """Which commit LSNs are among `known`, which ascends."""
    if not len(known):
        return np.zeros(len(lsns), np.bool_)
    at = np.minimum(np.searchsorted(known, lsns), len(known) - 1)
    return np.asarray(known[at] == lsns)


def may_be_late(view: View, before: View, delivered: Collection[int]) -> bool:
    """Whether a transaction that ran when the reading began still runs by `view`, and may have been sent before that:
    then its rows are nowhere, until it is seen.

    Args:
        view: now.
        before: when the reading began.
        delivered: ids of transactions sent since.
    """
    still = np.intersect1d(view.running, before.running)
    return any(int(xid) not in delivered for xid in still)
