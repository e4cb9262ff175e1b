"""Changes of a stream in order, by column, in the columns in force: what a normaliser works on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.change import ChangeBatch, marks
from headwater.engine.evolution import align
from headwater.engine.trace import At
from headwater.index.kernels import Longs, Mask


@dataclass(frozen=True)
class Changes:
    """Changes in order, by column.

    Attributes:
        op, weight, commit, ordinal, time: the change columns.
        rows: the stream's columns.
        unchanged: which rows were sent without a column, for each column of which that is true of any row.
        misfit: the same for rows whose value in the column cannot be held.
    """

    op: NDArray[np.uint8]
    weight: Longs
    commit: NDArray[np.uint64]
    ordinal: Longs
    time: pa.ChunkedArray
    rows: pa.Table
    unchanged: dict[str, Mask]
    misfit: dict[str, Mask]

    def __len__(self) -> int:
        return len(self.op)

    def between(self, start: int, stop: int) -> Changes:
        """Some neighbours."""
        part = slice(start, stop)
        unchanged, misfit = (
            {name: mask[part] for name, mask in masks.items() if mask[part].any()}
            for masks in (self.unchanged, self.misfit)
        )
        arrays = (self.op[part], self.weight[part], self.commit[part], self.ordinal[part])
        return Changes(
            *arrays, self.time.slice(start, stop - start), self.rows.slice(start, stop - start), unchanged, misfit
        )

    @property
    def at(self) -> At:
        """Where they stand."""
        return At(self.op, self.commit, self.ordinal, self.time)

    def second_halves(self) -> Mask:
        """Which changes follow a -1 at the same position: both are one update or change of key."""
        same = np.zeros(len(self), np.bool_)
        same[1:] = (self.commit[1:] == self.commit[:-1]) & (self.ordinal[1:] == self.ordinal[:-1])
        same[1:] &= self.weight[:-1] < 0
        return same


def aligned(batch: ChangeBatch, columns: pa.Schema) -> Changes:
    """A batch's changes, with their rows in the columns given."""
    rows = batch.rows
    op, weight, commit, ordinal = (
        rows.column(name).to_numpy(zero_copy_only=False) for name in ("_op", "_weight", "_commit", "_ordinal")
    )
    whole, time = align(rows, batch.stream, columns), pa.chunked_array([rows.column("_time")])
    return Changes(op, weight.astype(np.int64), commit, ordinal, time, whole, *marks(batch))


def joined(parts: list[Changes]) -> Changes:
    """Changes of several batches as one."""
    if len(parts) == 1:
        return parts[0]
    return Changes(
        op=np.concatenate([part.op for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        commit=np.concatenate([part.commit for part in parts]),
        ordinal=np.concatenate([part.ordinal for part in parts]),
        time=pa.chunked_array([chunk for part in parts for chunk in part.time.chunks], parts[0].time.type),
        rows=pa.concat_tables([part.rows for part in parts]),
        unchanged=_joined_masks([(len(part), part.unchanged) for part in parts]),
        misfit=_joined_masks([(len(part), part.misfit) for part in parts]),
    )


def _joined_masks(parts: list[tuple[int, dict[str, Mask]]]) -> dict[str, Mask]:
    names = dict.fromkeys(itertools.chain.from_iterable(masks for _, masks in parts))
    return {
        name: np.concatenate([masks.get(name, np.zeros(size, np.bool_)) for size, masks in parts]) for name in names
    }
