"""Commits epochs to two tables, keeping their indexes if they are Iceberg's, until it is done or killed; run by
`fork_server.ForkServer`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lake_model import KEYED, MULTISET, Delta, Row, changed, delta, open_any, open_lake

from headwater.lake.iceberg.table import IcebergTable


def change_of(epoch: int) -> Delta:
    """Every third row goes again two epochs later; one row is rewritten in each epoch."""
    change: Delta = [((epoch, "new", float(epoch)), 1), ((-1, "rewritten", float(epoch)), 1)]
    if epoch > 1:
        change.append(((-1, "rewritten", float(epoch - 1)), -1))
    if epoch > 2 and epoch % 3 == 0:
        change.append(((epoch - 2, "new", float(epoch - 2)), -1))
    return change


def state_at(epoch: int) -> Counter[Row]:
    state: Counter[Row] = Counter()
    for number in range(1, epoch + 1):
        state = changed(state, change_of(number))
    return state


def write(format: str, folder: Path, last: int) -> None:
    lake = open_lake(folder, indexes=True) if format == "iceberg" else open_any(format, folder)
    tables = [lake.table(KEYED), lake.table(MULTISET)]
    held = [table.committed() for table in tables]
    for epoch in range(1, last + 1):
        for table, committed in zip(tables, held, strict=True):
            if committed is None or epoch > committed.epoch:
                table.commit(epoch, delta(change_of(epoch)), {"offset": str(epoch * 10)})
                if isinstance(table, IcebergTable):
                    table.indexes.least_rows = 0
                    table.keep_index()
    lake.close()


def main(format: str, folder: str, last: str) -> None:
    """See the module."""
    write(format, Path(folder), int(last))
