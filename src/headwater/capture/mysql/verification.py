"""A table of MySQL or MariaDB as of one place of the binary log, for comparing a mirror with it. See
`headwater.capture.verification`.

The rows are read as the snapshot reads them and digested here, by the same code as the mirror's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from headwater.capture.mysql.packets import select
from headwater.capture.mysql.pinned import Pinned
from headwater.capture.mysql.rows import Places, decode_text
from headwater.capture.mysql.snapshot import query
from headwater.capture.mysql.table import Table, as_read
from headwater.change import ChangeBatch, marks
from headwater.digest import Digest, Digests, digests, in_buckets


class MysqlTableAt:
    """See `TableAt`.

    Args:
        pinned: one connection that sees the table at a place; taken over.
        table: the table as captured.
        expected: about how many rows it has.
    """

    def __init__(self, pinned: Pinned, table: Table, expected: int) -> None:
        self._pinned = pinned
        self._table = table
        self.stream = table.stream
        self.position = pinned.place.number
        self.told = str(pinned.place)
        self.expected = expected

    def digests(self, buckets: int) -> Digests:
        """See `TableAt.digests`. A row with a value that cannot be held counts, with null in its place: it differs."""
        found: Digests = {}
        for batch in self._batches():
            rows = pa.Table.from_batches([batch.rows]).select(self.stream.columns.names)
            for bucket, digest in digests(rows, self.stream.key, buckets).items():
                found[bucket] = found.get(bucket, Digest()) + digest
        return found

    def rows(self, buckets: int, chosen: Sequence[int]) -> Iterator[pa.Table]:
        """See `TableAt.rows`."""
        for batch in self._batches():
            whole = np.ones(len(batch), np.bool_)
            for mask in marks(batch)[1].values():
                whole &= ~mask
            rows = pa.Table.from_batches([batch.rows]).filter(pa.array(whole)).select(self.stream.columns.names)
            yield in_buckets(rows, self.stream.key, buckets, chosen)

    def _batches(self) -> Iterator[ChangeBatch]:
        """All rows, a block at a time."""
        layout = as_read(self._table)
        text = query(self._table)
        for frames in select(self._pinned.connections[0], text, f"reading {self._table.qualified}"):
            places = Places(np.zeros(len(frames), np.uint64), np.zeros(len(frames), np.int64), None)
            batch = decode_text(layout, frames.buffer, frames.begins, frames.ends, places).batch
            if batch is not None:
                yield batch

    def close(self) -> None:
        """See `TableAt.close`."""
        self._pinned.close()
