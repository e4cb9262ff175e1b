"""Commits epochs and keeps the table, until it is done or killed; run by `fork_server.ForkServer`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crash_writer import change_of
from lake_model import KEYED, delta, open_lake
from maintained import AT_ONCE, maintain

ALL_AT_ONCE = replace(AT_ONCE, keep_snapshots=3)


def write(folder: Path, last: int) -> None:
    """Commits what is missing up to epoch `last`, and keeps the table after every fourth."""
    lake = open_lake(folder)
    table = lake.table(KEYED)
    committed, care = table.committed(), table.maintenance()
    for epoch in range(committed.epoch + 1 if committed else 1, last + 1):
        table.commit(epoch, delta(change_of(epoch)), {"offset": str(epoch * 10)})
        if epoch % 4 == 0:
            maintain(care, ALL_AT_ONCE)
    maintain(care, ALL_AT_ONCE)
    lake.close()


def main(folder: str, last: str) -> None:
    """See the module."""
    write(Path(folder), int(last))
