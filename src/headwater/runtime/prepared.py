"""What a table is to have once a model's new version is swapped in: mostly in files already, the rest in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.lake.table_format import Replacement

WRITE_ROWS = 100_000
"""Changes are written to files once there are so many; the swap writes the rest."""

FILE_ROWS = 500_000
"""Rows of a file at most, of those that are there when it begins; whoever gives it up waits for one of them."""


class PreparedTable:
    """The rows of one table. One thread at a time.

    Args:
        replacement: where they are written.
        columns: the rows' columns.
    """

    def __init__(self, replacement: Replacement, columns: pa.Schema) -> None:
        self.replacement = replacement
        self._schema = pa.schema([*(field.with_nullable(True) for field in columns), pa.field(WEIGHT, pa.int64())])
        self._rest: list[pa.Table] = []
        self._waiting = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.replacement.rows + int(pc.sum(self.rest()[WEIGHT]).as_py() or 0)

    def fill(self, rows: pa.Table) -> Iterator[int]:
        """Writes the rows (with weights) that are there when it begins; says after each file how many it has.

        Raises:
            StorageFailed: it is of no use.
        """
        for start in range(0, rows.num_rows, FILE_ROWS):
            part = rows.slice(start, FILE_ROWS)
            self.replacement.write(part)
            yield part.num_rows

    def add(self, delta: pa.Table) -> None:
        """Takes in what comes on top.

        Raises:
            StorageFailed: it is of no use.
        """
        if delta.num_rows:
            self._rest.append(delta.select(self._schema.names).cast(self._schema))
            self._waiting += delta.num_rows
        if self._waiting >= WRITE_ROWS:
            rest, self._rest, self._waiting = self.rest(), [], 0
            self.replacement.write(rest)

    def rest(self) -> pa.Table:
        """What is in no file yet."""
        return pa.concat_tables([self._schema.empty_table(), *self._rest])
