"""What Headwater takes to write and read an Iceberg table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from headwater.bench.lake.rows import APPENDED, KEYED, loads, rows_of, update, weighted
from headwater.bench.memory import forget_peak, peak_bytes
from headwater.bench.stopwatch import Stopwatch
from headwater.clock import SystemClock
from headwater.engine.state.memory import Memory
from headwater.lake.iceberg.lake import IcebergLake
from headwater.lake.iceberg.table import IcebergTable

BATCH = 1_000_000
_READS = 3


def measure(rows: int, changes: int, folder: str, budget_bytes: int) -> dict[str, Any]:
    """Loads a table, updates it, deletes a tenth of it; each figure of one epoch's commit.

    Args:
        rows: of the table.
        changes: keys updated.
        folder: where the lake goes, the system's for temporary files if empty; it is removed.
        budget_bytes: of RAM for the index.

    Returns:
        Seconds of wall clock and of CPU, rows per second and per second of CPU, bytes of memory held at most.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=folder or None) as place:
        forget_peak()
        memory = Memory(budget_bytes, Path(place))
        lake = _opened(place, memory)
        appends = _appends(lake, min(rows, 5 * BATCH))
        table = lake.table(KEYED)
        keyed = _keyed(lake, table, rows, changes)
        peak, watch = peak_bytes(), Stopwatch(SystemClock())
        with watch:
            lake.close()
        del table
        figures = {**appends, **keyed, "peak_bytes": peak, "close_s": watch.seconds}
        return {**figures, **_again(place, memory, rows)}


def _opened(place: str, memory: Memory) -> IcebergLake:
    folder = Path(place)
    return IcebergLake(folder / "lake", namespace="bench", memory=memory, index_folder=folder / "index")


def _appends(lake: IcebergLake, rows: int) -> dict[str, Any]:
    """A table that is only appended to."""
    table, watch = lake.table(APPENDED), Stopwatch(SystemClock())
    for epoch, batch in enumerate(loads(rows, BATCH), start=1):
        delta = weighted(batch, 1)
        with watch:
            table.commit(epoch, delta, {})
    lake.drop(APPENDED.name)
    return {"append_rows_per_s": rows / watch.seconds, "append_rows_per_cpu_s": rows / watch.cpu_s}


def _keyed(lake: IcebergLake, table: IcebergTable, rows: int, changes: int) -> dict[str, Any]:
    load, change, delete = (Stopwatch(SystemClock()) for _ in range(3))
    epoch = 0
    for batch in loads(rows, BATCH):
        epoch += 1
        delta = weighted(batch, 1)
        with load:
            table.commit(epoch, delta, {})
    clean_s = _read_s(lake)
    before, after = update(rows, changes, 1)
    delta = pa.concat_tables([weighted(before, -1), weighted(after, 1)])
    with change:
        table.commit(epoch + 1, delta, {})
    del before, after
    delta = weighted(update(rows, rows // 10, 2)[0], -1)
    with delete:
        table.commit(epoch + 2, delta, {})
    return {
        "load_rows_per_s": rows / load.seconds,
        "load_rows_per_cpu_s": rows / load.cpu_s,
        "update_s": change.seconds,
        "update_cpu_s": change.cpu_s,
        "delete_tenth_s": delete.seconds,
        "read_clean_s": clean_s,
        "read_deleted_s": _read_s(lake),
    }


def _read_s(lake: IcebergLake) -> float:
    """The quickest of a few readings of every value of the table, by DuckDB, as `headwater query` reads."""
    watch = Stopwatch(SystemClock())
    sql = 'SELECT count(*), max(id), max(customer), sum(amount), max("at"), sum(quantity) FROM orders'
    for _ in range(_READS):
        with watch, duckdb.connect() as connection:
            connection.register("orders", lake.open_table(KEYED.name).dataset())
            connection.sql(sql).to_arrow_table()
    return min(watch.laps_s)


def _again(place: str, memory: Memory, rows: int) -> dict[str, Any]:
    """A restart: the time until the first change is committed, which takes the index, from its file."""
    watch, gone = Stopwatch(SystemClock()), weighted(rows_of(np.arange(1, dtype=np.int64), 0), 0)
    lake = _opened(place, memory)
    table = lake.table(KEYED)
    held = table.committed()
    assert held is not None
    with watch:
        table.commit(held.epoch + 1, pa.concat_tables([gone, weighted(rows_of(np.array([rows]), 0), 1)]), {})
    origin = table.indexes.origin
    lake.close()
    return {"first_commit_after_restart_s": watch.seconds, "index_came_from": origin}
