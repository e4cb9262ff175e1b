"""What Headwater takes to write and read an Iceberg table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from headwater.bench.lake.rows import APPENDED, KEYED, loads, update, weighted
from headwater.bench.memory import forget_peak, peak_bytes
from headwater.bench.stopwatch import Stopwatch
from headwater.clock import SystemClock
from headwater.engine.state.memory import Memory
from headwater.lake.iceberg.lake import IcebergLake

BATCH = 1_000_000
_READS = 3


def measure(rows: int, changes: int, folder: str, budget_bytes: int) -> dict[str, Any]:
    """Loads a table, updates it, deletes a tenth of it; each figure of one epoch's commit.

    Args:
        rows: of the table.
        changes: keys updated.
        folder: where the lake goes; it is removed.
        budget_bytes: of RAM for the index.

    Returns:
        Seconds of wall clock and of CPU, rows per second and core, bytes of memory held at most.
    """
    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=folder or None) as place:
        forget_peak()
        lake = IcebergLake(Path(place) / "lake", namespace="bench", memory=Memory(budget_bytes, Path(place)))
        figures = {**_appends(lake, min(rows, 5 * BATCH)), **_keyed(lake, rows, changes)}
        lake.close()
    return {**figures, "peak_bytes": peak_bytes()}


def _appends(lake: IcebergLake, rows: int) -> dict[str, Any]:
    """A table that is only appended to."""
    table, watch = lake.table(APPENDED), Stopwatch(SystemClock())
    for epoch, batch in enumerate(loads(rows, BATCH), start=1):
        delta = weighted(batch, 1)
        with watch:
            table.commit(epoch, delta, {})
    lake.drop(APPENDED.name)
    return {"append_rows_per_s": rows / watch.seconds, "append_rows_per_cpu_s": rows / watch.cpu_s}


def _keyed(lake: IcebergLake, rows: int, changes: int) -> dict[str, Any]:
    table, load, change, delete = lake.table(KEYED), *(Stopwatch(SystemClock()) for _ in range(3))
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
    gone, _ = update(rows, rows // 10, 2)
    delta = weighted(gone, -1)
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
    """The quickest of a few readings of the whole table."""
    watch = Stopwatch(SystemClock())
    for _ in range(_READS):
        with watch:
            lake.open_table(KEYED.name).read()
    return min(watch.laps_s)
