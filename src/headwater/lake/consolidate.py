"""A delta brought to its net effect: what was added and removed within it cancels before anything is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.errors import InvariantBroken
from headwater.index.kernels import Longs
from headwater.index.key_index import group


@dataclass(frozen=True)
class NetChange:
    """The net effect of a delta.

    Attributes:
        added: rows to add, each as often as it is added, in the delta's order.
        removed: distinct rows to remove.
        counts: how often each of `removed` goes.
    """

    added: pa.Table
    removed: pa.Table
    counts: Longs


def net_change(rows: pa.Table, weights: Longs) -> NetChange:
    """Sums the weights of equal rows (equal as in SQL's GROUP BY).

    Args:
        rows: the delta without its weights.
        weights: int64, one per row.
    """
    if len(weights) == 0 or weights.min() > 0:
        return NetChange(_repeated(rows, np.arange(len(weights)), weights), rows.slice(0, 0), np.zeros(0, np.int64))
    numbers, first = group(rows, rows.schema)
    net = np.zeros(len(first), np.int64)
    np.add.at(net, numbers, weights)
    plus, minus = net > 0, net < 0
    return NetChange(_repeated(rows, first[plus], net[plus]), rows.take(first[minus]), -net[minus])


def _repeated(rows: pa.Table, which: Longs, counts: Longs) -> pa.Table:
    if len(which) == rows.num_rows and (counts == 1).all():
        return rows
    return rows.take(np.repeat(which, counts))


def weights_of(delta: pa.Table) -> Longs:
    """The weights of a delta as an array.

    Raises:
        InvariantBroken: there are none, or a null among them.
    """
    if WEIGHT not in delta.column_names or delta.column(WEIGHT).null_count:
        raise InvariantBroken(f"a delta must have a column {WEIGHT!r} without nulls")
    return np.ascontiguousarray(delta.column(WEIGHT).to_numpy(), np.int64)


def check_one_row_per_key(change: NetChange, key: pa.Schema, table: str) -> None:
    """A keyed table's net change adds and removes at most one row per key.

    Raises:
        InvariantBroken: it does not.
    """
    once = np.ones(change.added.num_rows, np.int64)
    for verb, rows, counts in (("adds", change.added, once), ("retracts", change.removed, change.counts)):
        numbers, first = group(rows, key)
        total = np.zeros(len(first), np.int64)
        np.add.at(total, numbers, counts)
        again = first[total > 1]
        if len(again):
            shown = sample(rows.take(again[:1]), key)
            raise InvariantBroken(
                f"table {table!r}: one epoch {verb} more than one row of key {shown}",
                hint="for a model: set its `key` to columns that identify a row, or leave it out",
            )


def sample(rows: pa.Table, key: pa.Schema) -> str:
    """The key of the first row, for an error message."""
    return str(rows.select(key.names).slice(0, 1).to_pylist()[0]) if rows.num_rows else "{}"
