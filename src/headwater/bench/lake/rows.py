"""The rows of the benchmark: a keyed table of five columns, and random updates of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headwater.change import WEIGHT
from headwater.index.kernels import Longs
from headwater.lake.table_format import TableSpec

COLUMNS = pa.schema(
    [
        ("id", pa.int64()),
        ("customer", pa.string()),
        ("amount", pa.float64()),
        ("at", pa.timestamp("us", "UTC")),
        ("quantity", pa.int32()),
    ]
)
KEYED = TableSpec("orders", COLUMNS, ("id",))
APPENDED = TableSpec("events", COLUMNS)
_START_US = 1_760_000_000_000_000
_NAMES = 50_000


def rows_of(ids: Longs, versions: Longs | int) -> pa.Table:
    """The rows of these keys in these versions; every version of a key is another row."""
    mixed = (ids * 2_654_435_761 + np.asarray(versions, np.int64) * 40_503 + 12_345) & 0x7FFFFFFF
    mixed ^= mixed >> 13
    columns = [
        pa.array(ids),
        pc.binary_join_element_wise("customer", pa.array(mixed % _NAMES).cast(pa.string()), "-"),
        pa.array((mixed % 1_000_003) / 100.0),
        pa.array(_START_US + ids * 1000 + versions, pa.int64()).cast(COLUMNS.field("at").type),
        pa.array((mixed % 99 + 1).astype(np.int32)),
    ]
    return pa.table(columns, schema=COLUMNS)


def weighted(rows: pa.Table, weight: int) -> pa.Table:
    """Rows as a delta, all of this weight."""
    return rows.append_column(WEIGHT, pa.array(np.full(rows.num_rows, weight, np.int64)))


def loads(rows: int, batch: int) -> Iterator[pa.Table]:
    """The table's first content, in batches."""
    for start in range(0, rows, batch):
        yield rows_of(np.arange(start, min(start + batch, rows), dtype=np.int64), 0)


def update(rows: int, changes: int, seed: int) -> tuple[pa.Table, pa.Table]:
    """As many random keys of the first `rows`, each once: a row of the key to retract, and the new one."""
    ids = np.random.default_rng(seed).choice(rows, changes, replace=False).astype(np.int64)
    return rows_of(ids, 0), rows_of(ids, seed)
