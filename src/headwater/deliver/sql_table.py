"""What the destinations that keep a table equal to a model say alike, whichever database the table is in."""

from __future__ import annotations

from headwater.deliver.destination import Batch, Op, Sync
from headwater.deliver.record import key_texts
from headwater.deliver.value_text import json_text
from headwater.errors import DestinationStopped

_VERBS = {Op.UPSERT: "upsert into", Op.DELETE: "delete from", Op.INSERT: "insert into"}


def preview(sync: Sync, batch: Batch, table: str) -> list[str]:
    """A sentence for each record; see `Destination.preview`."""
    keys, rows = key_texts(batch.rows, sync.key), batch.rows.to_pylist()
    return [
        f"{_VERBS[Op(op)]} {table}: {keys[at] if op == Op.DELETE else json_text(rows[at])}"
        for at, op in enumerate(batch.op)
    ]


def no_table(sync: Sync, table: str) -> DestinationStopped:
    """The table is not there, and nobody asked for it to be made."""
    return DestinationStopped(
        f"sync {sync.name!r}: there is no table {table}",
        hint=f"make it, or set `create: true` in the sync; then headwater syncs resume {sync.name}",
    )


def taken_over(sync: Sync) -> DestinationStopped:
    """Another process has the sync's fence."""
    return DestinationStopped(
        f"sync {sync.name!r}: another process has taken it over",
        hint=f"stop the other one; then headwater syncs resume {sync.name}",
    )
