"""Snapshots of tables while their changes are followed, chunk by chunk: which rows of a chunk a streamed change beats.

The method is DBLog's (Andreakis and Papapanagiotou, 2020): a chunk of a table is read between a low and a high
watermark and handed over when the stream has come to the high one, without the rows whose key a change between the two
named: the stream wins. What a chunk may hold already, and what it cannot, each source knows best, so it says itself
which of the changes count (PostgreSQL: those whose transactions the chunk's snapshot does not see).

Nothing compares keys by order: the source's own order of texts is no other system's. Keys are found by
`headwater.index.KeyIndex`, a whole chunk at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.change import ChangeBatch, Op, log_schema
from headwater.index.key_index import KeyIndex
from headwater.schema import StreamSchema

Mask = NDArray[np.bool_]
Counts = Callable[[NDArray[np.uint64]], Mask]
"""Which changes count, by `Position.commit`: those that a chunk does not hold for certain."""

FIRST, PART, WHOLE = 1, 0, -1
"""What a snapshot of a stream is to do, the weight of its SNAPSHOT_BEGIN: fill a stream that lacks rows, renew some
rows, or renew all and take back those that are gone."""

COMPLETE, GIVEN_UP = -1, 0
"""How it ended, the weight of its SNAPSHOT_END."""


@dataclass(frozen=True)
class _Touched:
    """Keys that a batch named: per row its commit, and whether it left values out."""

    keys: pa.RecordBatch
    commits: NDArray[np.uint64]
    unsent: Mask


@dataclass(frozen=True)
class Survivors:
    """What became of a chunk.

    Attributes:
        batch: the rows that no counted change named.
        again: rows that one did, and that left values out as unchanged: nobody may know those values, so these keys
            are to be read once more.
    """

    batch: ChangeBatch
    again: pa.RecordBatch


class Window:
    """The keys that streamed changes of one table have named."""

    def __init__(self) -> None:
        self._touched: list[_Touched] = []
        self._truncated: list[NDArray[np.uint64]] = []

    def __len__(self) -> int:
        return sum(len(touched.commits) for touched in self._touched)

    def touch(self, batch: ChangeBatch) -> None:
        """Takes note of streamed changes."""
        rows = batch.rows
        commits = rows.column("_commit").to_numpy()
        emptied = rows.column("_op").to_numpy() == Op.TRUNCATE
        if emptied.any():
            self._truncated.append(commits[emptied])
        unsent = rows.column("_unchanged").is_valid().to_numpy(zero_copy_only=False)
        self._touched.append(_Touched(rows.select(list(batch.stream.key)), commits, unsent))

    def forget(self, counts: Counts) -> None:
        """Lets go of the changes that do not count, now or later."""
        self._truncated = [kept for commits in self._truncated if len(kept := commits[counts(commits)])]
        counted = [_counted(touched, counts) for touched in self._touched]
        self._touched = [touched for touched in counted if len(touched.commits)]

    def named(self) -> list[pa.RecordBatch]:
        """The keys that were named."""
        return [touched.keys for touched in self._touched]

    def survivors(self, chunk: ChangeBatch, counts: Counts) -> Survivors:
        """Divides a chunk's rows by whether a change that counts named their key.

        Args:
            chunk: rows of the table, READ, as of some moment.
            counts: which changes that snapshot does not hold for certain.
        """
        nothing = chunk.rows.slice(0, 0)
        if any(counts(commits).any() for commits in self._truncated):
            return Survivors(ChangeBatch(chunk.stream, nothing), nothing)
        index = KeyIndex(pa.schema([chunk.stream.columns.field(name) for name in chunk.stream.key]))
        unsent = np.zeros(0, np.bool_)
        for touched in (_counted(touched, counts) for touched in self._touched):
            slots, _ = index.find_or_insert(touched.keys)
            unsent = np.concatenate([unsent, np.zeros(index.capacity - len(unsent), np.bool_)])
            unsent[slots[touched.unsent]] = True
        if not len(index):
            return Survivors(chunk, nothing)
        found = index.find(chunk.rows)
        again = np.zeros(len(found), np.bool_)
        again[found >= 0] = unsent[found[found >= 0]]
        rest = chunk.rows.filter(pa.array(found < 0))
        return Survivors(ChangeBatch(chunk.stream, rest), chunk.rows.filter(pa.array(again)))


def _counted(touched: _Touched, counts: Counts) -> _Touched:
    kept = counts(touched.commits)
    if kept.all():
        return touched
    return _Touched(touched.keys.filter(pa.array(kept)), touched.commits[kept], touched.unsent[kept])


def moved(batch: ChangeBatch) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The rows that came under another key and left values out as unchanged: as they were, of which the key is there,
    and as they are. Where rows are still missing, nobody may know those values, and a reading that has passed their key
    will not come upon them."""
    rows = batch.rows
    commits, ordinals, weights = (rows.column(name).to_numpy() for name in ("_commit", "_ordinal", "_weight"))
    second = np.zeros(len(batch), np.bool_)
    second[1:] = (commits[1:] == commits[:-1]) & (ordinals[1:] == ordinals[:-1]) & (weights[:-1] < 0)
    unsent = rows.column("_unchanged").is_valid().to_numpy(zero_copy_only=False)
    at = np.flatnonzero(second & unsent & (weights > 0))
    return rows.take(pa.array(at - 1)), rows.take(pa.array(at))


def marker(stream: StreamSchema, op: Op, weight: int, commit: int, ordinal: int) -> ChangeBatch:
    """One row without values in a stream: SNAPSHOT_BEGIN (`FIRST`, `PART`, `WHOLE`), SNAPSHOT_END (`COMPLETE`,
    `GIVEN_UP`), or a TRUNCATE (weight -1)."""
    schema = log_schema(stream)
    head = {"_op": int(op), "_weight": weight, "_commit": commit, "_ordinal": ordinal}
    return ChangeBatch(stream, pa.RecordBatch.from_pylist([head], schema=schema))


def left_out(batch: ChangeBatch, held: Counts) -> tuple[ChangeBatch, int]:
    """A batch without the changes that a snapshot of the whole table holds already, and how many those were."""
    held_rows = held(batch.rows.column("_commit").to_numpy())
    if not held_rows.any():
        return batch, 0
    return ChangeBatch(batch.stream, batch.rows.filter(pc.invert(pa.array(held_rows)))), int(held_rows.sum())
