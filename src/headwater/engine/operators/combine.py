"""Adds up a worker's rows of a batch group by group before they go to the workers that the groups belong to (the
combiner of MapReduce: Dean and Ghemawat, OSDI 2004)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa

from headwater.engine.accumulators.layout import layout, mergeable
from headwater.engine.accumulators.merging import with_records
from headwater.engine.accumulators.part import Batch
from headwater.engine.delta import conform, consolidate, weights
from headwater.engine.operators.hop import told_apart_by
from headwater.engine.worker import Worker
from headwater.index.key_index import group
from headwater.sql.plan import Aggregate

_NETTED, _WIDE, _NARROW = 2, 4, 500
"""It pays if there are so many rows to a distinct row or to a group of several windows; to any other group, if rows
have many columns; and if they have few, which soon are sent, only where there are so few groups that one worker would
have most of the work."""

_MANY_COLUMNS = 5

_PAUSE = 15
"""So many batches pass after one in which it did not pay before it is tried again."""

What = TypeVar("What", bound=Hashable)


class Combiner:
    """Makes less of one worker's rows for an `Aggregate` node for which `layout.nettable` is true."""

    def __init__(self, node: Aggregate, worker: Worker) -> None:
        self._adds_up = mergeable(node)
        self._source = node.inputs[0].schema
        self._keys = pa.schema([self._source.field(name) for name in node.keys])
        self._apart = told_apart_by(node, self._keys)
        self._layout = layout(node, worker)
        narrow = len(self._source) < _MANY_COLUMNS
        self.pays = _NETTED if node.hop is not None or not self._adds_up else _NARROW if narrow else _WIDE

    def combined(self, delta: pa.Table) -> pa.Table:
        """One row for each group, its key columns and its record (`accumulators.merging`), if records can be added up;
        else each distinct row once."""
        rows = conform(delta, self._source).combine_chunks()
        return self._records(rows) if self._adds_up else consolidate(rows)

    def _records(self, rows: pa.Table) -> pa.Table:
        numbers, firsts = np.zeros(rows.num_rows, np.int64), np.zeros(1, np.int64)
        if self._keys:
            numbers, firsts = group(rows, self._apart)
        taken = np.zeros((len(firsts), self._layout.records.width), np.int64)
        self._layout.add(Batch(rows, weights(rows), firsts, taken, numbers))
        return with_records(rows.select(self._keys.names).take(pa.array(firsts)), taken)


class Thrift(Generic[What]):
    """Where combining has paid of late. All workers are to do the same in one batch, so it is asked before."""

    def __init__(self, places: Iterable[What]) -> None:
        self._pauses = dict.fromkeys(places, 0)

    def begin(self) -> frozenset[What]:
        """Where to combine in the batch that begins."""
        found = frozenset(place for place, pause in self._pauses.items() if not pause)
        self._pauses = {place: max(pause - 1, 0) for place, pause in self._pauses.items()}
        return found

    def note(self, place: What, rows: int, left: int, pays: int) -> None:
        """So many rows were left of so many; it pays if one is left of `pays`."""
        if left * pays > rows:
            self._pauses[place] = _PAUSE
