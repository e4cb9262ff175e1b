"""The memory that state lives in: a budget, and memory-mapped files for what goes past it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from headwater.index.key_index import Value, grown


class Memory:
    """Gives out arrays and keeps rows. Without a budget everything stays in RAM.

    Shared by the workers of a view, and safe to be used by several threads.
    """

    def zeros(self, size: int, dtype: DTypeLike) -> NDArray[np.generic]:
        """A new array of zeros."""
        return np.zeros(size, dtype)

    def grown(self, array: NDArray[Value], size: int) -> NDArray[Value]:
        """The array with room for `size` values, at least doubled if it must grow; new values are zero."""
        return grown(array, size)

    def kept(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows that are to be kept long: the same, or a copy that is mapped from a file."""
        return rows
