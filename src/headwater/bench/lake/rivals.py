"""The same updates by PyIceberg's `upsert` and by delta-rs' `merge`, each with the settings that it comes with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from headwater.bench.lake.rows import COLUMNS, loads, update
from headwater.bench.memory import forget_peak, peak_bytes
from headwater.bench.stopwatch import Stopwatch
from headwater.clock import SystemClock
from headwater.errors import UserError

_BATCH = 1_000_000


def pyiceberg(rows: int, changes: int, folder: str) -> dict[str, Any]:
    """`Table.upsert` of random keys, in a table with a catalog in SQLite.

    Args:
        rows: of the table.
        changes: keys updated.
        folder: where the table goes, the system's for temporary files if empty.
    """
    from pyiceberg.catalog.sql import SqlCatalog

    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=folder or None) as place:
        catalog = SqlCatalog("bench", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}")
        catalog.create_namespace("bench")
        table = catalog.create_table("bench.orders", COLUMNS)
        for batch in loads(rows, _BATCH):
            table.append(batch)
        _, after = update(rows, changes, 1)
        watch = Stopwatch(SystemClock())
        forget_peak()
        with watch:
            done = table.upsert(after, join_cols=["id"])
        catalog.close()
    assert (done.rows_updated, done.rows_inserted) == (changes, 0)
    return {"rows": rows, "changes": changes, "update_s": watch.seconds, "update_cpu_s": watch.cpu_s, **_peak()}


def delta(rows: int, changes: int, folder: str) -> dict[str, Any]:
    """`DeltaTable.merge` of random keys.

    Args:
        rows: of the table.
        changes: keys updated.
        folder: where the table goes, the system's for temporary files if empty.

    Raises:
        UserError: the package is not installed.
    """
    try:
        from deltalake import DeltaTable, write_deltalake
    except ImportError as error:
        raise UserError("deltalake is not installed", hint="pip install 'headwater[delta]'") from error

    with tempfile.TemporaryDirectory(prefix="headwater-bench-", dir=folder or None) as place:
        where = str(Path(place) / "orders")
        for batch in loads(rows, _BATCH):
            write_deltalake(where, batch, mode="append")
        _, after = update(rows, changes, 1)
        watch, table = Stopwatch(SystemClock()), DeltaTable(where)
        forget_peak()
        with watch:
            merge = table.merge(after, "t.id = s.id", source_alias="s", target_alias="t")
            done = merge.when_matched_update_all().when_not_matched_insert_all().execute()
    assert done["num_target_rows_updated"] == changes
    return {"rows": rows, "changes": changes, "update_s": watch.seconds, "update_cpu_s": watch.cpu_s, **_peak()}


def _peak() -> dict[str, int]:
    return {"peak_bytes": peak_bytes()}
