"""Sums the weights of equal rows of a delta."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.index.key_index import group


def consolidate(delta: pa.Table) -> pa.Table:
    """Each distinct row of a delta once, with its net weight; rows that cancel are gone. Order is that of first rows.

    Args:
        delta: columns and int64 `_weight`. Rows are equal as `row_encoding` says.
    """
    at = delta.schema.get_field_index(WEIGHT)
    numbers, first = group(delta, delta.schema.remove(at))
    net = np.zeros(len(first), np.int64)
    np.add.at(net, numbers, delta.column(at).to_numpy())
    kept = np.flatnonzero(net)
    rows = delta.take(pa.array(first[kept]))
    return rows.set_column(at, delta.schema.field(at), pa.array(net[kept]))
