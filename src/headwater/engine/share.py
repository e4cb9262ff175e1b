"""Which rows are whose: how keyed rows are divided among workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.engine.delta import mask
from headwater.index.kernels import Longs, Mask, hash_rows
from headwater.index.row_encoding import RowEncoder, encode_table

_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True)
class Share:
    """One worker's part of all keys: rows of equal keys are always the same worker's.

    Attributes:
        number: the worker's.
        count: how many workers there are.
    """

    number: int
    count: int

    def mine(self, rows: pa.Table, keys: Sequence[str]) -> Mask:
        """Which of the rows are this worker's, by the values of their key columns; without any, all are worker 0's."""
        return np.asarray(owners(rows, keys, self.count) == self.number)


def owners(rows: pa.Table, keys: Sequence[str], count: int) -> Longs:
    """Each row's worker. Depends on the keys' values and Arrow types alone."""
    if not keys or count == 1:
        return np.zeros(rows.num_rows, np.int64)
    encoded = encode_table(RowEncoder([rows.schema.field(name).type for name in keys]), rows, keys)
    hashes = np.empty(rows.num_rows, np.uint64)
    with np.errstate(over="ignore"):
        hash_rows(encoded.words, encoded.offsets, _ALL_BITS, hashes)
    # The index picks its buckets by the low bits and its tags by the high ones: these are from between.
    return np.asarray(((hashes >> np.uint64(20)) & np.uint64(0xFFFF)).astype(np.int64) * count >> 16)


def split(delta: pa.Table, keys: Sequence[str], count: int) -> list[pa.Table | None]:
    """A delta divided among workers, rows in their order; None for a worker that gets none."""
    if count == 1:
        return [delta if delta.num_rows else None]
    owner = owners(delta, keys, count)
    parts = [mask(delta, owner == number) for number in range(count)]
    return [part if part.num_rows else None for part in parts]
