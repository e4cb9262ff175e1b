"""Follows a table: what each committed epoch changed, as it is committed, from any process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from headwater.clock import Clock, SystemClock
from headwater.errors import SqlError
from headwater.lake.table_format import Committed, TableChange
from headwater.project.definition import Project
from headwater.serve.query import open_lake

POLL_S = 0.25


def tail(
    project: Project,
    name: str,
    *,
    after_epoch: int | None = None,
    follow: bool = True,
    stop: threading.Event | None = None,
    clock: Clock | None = None,
) -> Iterator[TableChange]:
    """Yields the changes of a table or model, oldest first.

    Args:
        project: whose table.
        name: of the table or model.
        after_epoch: begin after this epoch; None begins with what is committed from now on, or without `follow` with
            all that is kept.
        follow: wait for more; else end with what is there.
        stop: ends the waiting.
        clock: time.

    Raises:
        SqlError: there is no such table.
    """
    stop, clock = stop or threading.Event(), clock or SystemClock()
    lake = open_lake(project)
    try:
        if name not in lake.names():
            raise SqlError(f"there is no table {name!r}", hint=f"tables: {', '.join(lake.names())}")
        seen = _start(lake.open_table(name).committed(), after_epoch, follow)
        while True:
            for change in lake.open_table(name).changes(seen):
                yield change
                seen = change.epoch
            if not follow or clock.wait(stop, POLL_S):
                return
    finally:
        lake.close()


def _start(committed: Committed | None, after_epoch: int | None, follow: bool) -> int:
    if after_epoch is not None:
        return after_epoch
    return committed.epoch if follow and committed else 0
