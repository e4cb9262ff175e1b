"""What a sync would send next, computed from its outbox, or from its model's table if it has not begun."""

from __future__ import annotations

import numpy as np

from headwater.clock import SystemClock
from headwater.deliver.changes import all_rows
from headwater.deliver.destination import Batch, Sync
from headwater.deliver.dry_run import preview
from headwater.deliver.outbox import current
from headwater.log.partition import open_for_reading
from headwater.project.definition import Project, SyncDefinition
from headwater.project.destinations import make_destination
from headwater.serve.deliveries import how_far
from headwater.serve.query import open_lake


def next_records(project: Project, sync: SyncDefinition, most: int) -> list[str]:
    """A text for each of the next records, at most so many."""
    destination = make_destination(sync)
    folder = project.state / "syncs" / sync.name
    of = current(folder)
    if of is not None:
        told = Sync(project.name, sync.name, of.id, sync.model, of.columns, of.key, project.folder, SystemClock())
        view = open_for_reading(folder / of.id)
        return preview(destination, told, view, cursor=how_far(folder, of.id), most=most)
    if sync.settings.start == "changes":
        return []
    lake = open_lake(project)
    try:
        if sync.model not in lake.names():
            return []
        table = lake.open_table(sync.model)
        rows, key = table.read().slice(0, most), table.spec.key
    finally:
        lake.close()
    changes = all_rows(rows, key)
    numbers = np.arange(len(changes), dtype=np.int64)
    told = Sync(project.name, sync.name, "", sync.model, rows.schema, key, project.folder, SystemClock())
    batch = Batch(0, changes.rows, changes.op, numbers, np.zeros(len(changes), np.int64))
    return destination.preview(told, batch)
