"""What becomes of the ledger's entries of rows that checks set aside: a row that goes takes its entry along."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import pyarrow as pa

INDEX = "CREATE INDEX IF NOT EXISTS rejects_by_row ON rejects (stream, position) WHERE stage = 'quality'"
_STANDS = "stage = 'quality' AND stream = ? AND state IN ('open', 'requested', 'discarded')"


class WithheldRows:
    """Entries of stage `quality`, whose `position` is the digest of their row. All inside the caller's transaction.

    Args:
        connection: to the state store, with the ledger's table.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(INDEX)

    def release(self, node: str, gone: Mapping[str, int]) -> None:
        """Closes the entries of rows that have gone, so often as they have."""
        for digest, times in gone.items():
            self._close(node, digest, times, "superseded")

    def let_go(self, gated: Collection[str]) -> None:
        """Closes the entries of streams and models of which no check sets rows aside any more: their rows land."""
        query = "SELECT DISTINCT stream FROM rejects WHERE stage = 'quality'"
        for (node,) in self._connection.execute(query).fetchall():
            if node not in gated:
                self._connection.execute(f"UPDATE rejects SET state = 'replayed' WHERE {_STANDS}", (node,))  # noqa: S608

    def reconcile(
        self, node: str, entries: Sequence[pa.RecordBatch], passing: Callable[[], Collection[str]]
    ) -> list[pa.RecordBatch]:
        """Holds the entries of a node against the rows that are set aside now, after its checks have changed or it has
        been built anew.

        Args:
            node: the stream or model.
            entries: for all rows that are set aside now.
            passing: gives the digests of rows that are there and are not set aside.

        Returns:
            Those of `entries` that the ledger does not have yet. Entries of rows that pass now are `replayed`; those of
            rows that are there no more `superseded`.
        """
        held: Counter[str] = Counter()
        query = f"SELECT position, count(*) FROM rejects WHERE {_STANDS} GROUP BY position"  # noqa: S608 constant
        held.update(dict(self._connection.execute(query, (node,)).fetchall()))
        new: list[pa.RecordBatch] = []
        for batch in entries:
            unknown: list[int] = []
            for number, digest in enumerate(batch.column("position").to_pylist()):
                if held[digest] > 0:
                    held[digest] -= 1
                else:
                    unknown.append(number)
            new.append(batch.take(pa.array(unknown, pa.int64())))
        left = +held
        there = set(passing()) if left else set()
        for digest, times in left.items():
            self._close(node, digest, times, "replayed" if digest in there else "superseded")
        return new

    def _close(self, node: str, digest: str, times: int, state: str) -> None:
        self._connection.execute(
            "UPDATE rejects SET state = ? WHERE id IN"  # noqa: S608 constant
            f" (SELECT id FROM rejects WHERE {_STANDS} AND position = ? ORDER BY id LIMIT ?)",
            (state, node, digest, times),
        )
