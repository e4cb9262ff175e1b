"""The memory that state lives in: a budget, and memory-mapped files for what goes past it."""

from __future__ import annotations

import pyarrow as pa

from headwater.index.memory import Arrays


class Memory(Arrays):
    """Gives out arrays and keeps rows. Without a budget everything stays in RAM.

    Shared by the workers of a view, and safe to be used by several threads.
    """

    def kept(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows that are to be kept long: the same, or a copy that is mapped from a file."""
        return rows
