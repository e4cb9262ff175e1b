"""Going back: a table to one of its snapshots, or a mirror's rows as of an exact commit of its source.

A table that a project feeds is rolled back while the project is stopped, and is left alone from then on until it is
released: what is to come would otherwise be applied to rows that are not there. See
`docs/decisions/2026-11-21-rollback.md`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT
from headwater.clock import Clock
from headwater.errors import UserError
from headwater.lake.iceberg.past import resolve
from headwater.lake.iceberg.reading import difference_of
from headwater.lake.iceberg.refs import release, rollback
from headwater.lake.iceberg.table import IcebergTable
from headwater.lake.moment import Moment, TableSnapshot, time_text
from headwater.lake.opening import make_lake
from headwater.lake.table_format import Lake, Table, TableSpec
from headwater.log.view import open_for_reading
from headwater.project.definition import Project, TableDefinition, keeps_past
from headwater.project.discovery import load_streams
from headwater.project.table_shape import KIND_PROPERTY
from headwater.runtime.mirror_at import mirror_at
from headwater.runtime.status import is_running, take_lock


@dataclass(frozen=True)
class RolledBack:
    """What a rollback did.

    Attributes:
        snapshot: what readers see now.
        held: the pipeline leaves the table alone from now on.
    """

    snapshot: int
    held: bool


def open_for_change(project: Project, clock: Clock) -> Lake:
    """The project's lake, for changing what its tables are called and not what is in them."""
    return make_lake(project.lake, project.folder, project=project.name, clock=clock)


def iceberg(table: Table) -> IcebergTable:
    """The table as an Iceberg one.

    Raises:
        UserError: it is of another format.
    """
    if not isinstance(table, IcebergTable):
        raise UserError(
            f"table {table.spec.name!r} is not an Iceberg table: its format has no such thing",
            hint="lake: {type: iceberg} has; `headwater query --at` works with every format",
        )
    return table


def is_fed(project: Project, name: str) -> bool:
    """Whether the project writes a table of this name."""
    return name in _own(project) or any(table.name == name for table in _further(project))


def _own(project: Project) -> set[str]:
    """Streams and models, whose tables bear their names."""
    return {stream.name for stream in load_streams(project.state)} | {model.name for model in project.models}


def _further(project: Project) -> Iterator[TableDefinition]:
    """All tables of streams and models."""
    for stream in load_streams(project.state):
        for source in project.sources:
            yield from source.tables(stream.name)
    for model in project.models:
        yield from model.tables


def roll_back(project: Project, name: str, at: Moment, clock: Clock) -> RolledBack:
    """Makes readers see a table as of a moment.

    Raises:
        UserError: the project runs; nothing is kept of that moment; the table was empty then, or is held already.
        StorageFailed: nothing has changed.
    """
    lock = take_lock(project.state, clock) if project.state.exists() else None
    try:
        lake = open_for_change(project, clock)
        try:
            return _roll_back(
                iceberg(lake.open_table(name)), name, at, fed=is_fed(project, name), now_us=clock.now_us()
            )
        finally:
            lake.close()
    finally:
        if lock is not None:
            os.close(lock)


def _roll_back(table: IcebergTable, name: str, at: Moment, *, fed: bool, now_us: int) -> RolledBack:
    metadata = table.handle.load().metadata
    kind = table.spec.properties.get(KIND_PROPERTY, "mirror")
    if fed and keeps_past(kind):
        raise UserError(
            f"table {name!r} keeps the past ({kind}), which cannot be built anew after a rollback",
            hint=f"headwater query --at reads it as it was; headwater tables tag make {name} keeps a moment",
        )
    snapshot = resolve(metadata, at, name)
    if snapshot is None:
        raise UserError(f"table {name!r} had no rows as of {at}", hint=f"headwater tables history {name}")
    why = f"rolled back to {at} at {time_text(now_us)}" if fed else None
    rollback(table.handle, snapshot, why)
    return RolledBack(snapshot.snapshot_id, fed)


def resume(project: Project, name: str, clock: Clock) -> bool:
    """Lets the pipeline feed a table again that was rolled back; at its next start it is built anew.

    Returns:
        Whether the project runs, so that it must be started again.

    Raises:
        UserError: the table is not held.
    """
    lake = open_for_change(project, clock)
    try:
        release(iceberg(lake.open_table(name)).handle)
    finally:
        lake.close()
    return is_running(project.state)


def rewind(project: Project, name: str, position: int, into: str, clock: Clock) -> TableSpec:
    """Makes a table of a mirror's rows as of the end of one of its source's commits.

    Args:
        project: whose mirror.
        name: of the mirror.
        position: the commit, included.
        into: name of the new table, which the pipeline never touches.
        clock: time.

    Raises:
        UserError: there is no such mirror; the name is taken; neither the table's snapshots nor the log go back so far.
    """
    lake = open_for_change(project, clock)
    try:
        if into in lake.names() or is_fed(project, into):
            raise UserError(f"there is a table {into!r}", hint="give another name after --into")
        rows, spec = _rows_at(project, lake, name, position)
        made = lake.table(TableSpec(into, spec.columns, spec.key, {"headwater.rewound": f"{name} at {position}"}))
        weighted = rows.append_column(WEIGHT, pa.array(np.ones(rows.num_rows, np.int64)))
        made.commit(1, weighted, {"rewound": f"{name} at {position}"})
        return made.spec
    finally:
        lake.close()


def _rows_at(project: Project, lake: Lake, name: str, position: int) -> tuple[pa.Table, TableSpec]:
    table = lake.open_table(name)
    stream = next((stream for stream in load_streams(project.state) if stream.name == name), None)
    if stream is None or table.spec.properties.get(KIND_PROPERTY, "mirror") != "mirror":
        raise UserError(
            f"table {name!r} is no mirror of a source", hint="rewind one, or roll the table back --to a time"
        )
    for source in (definition.name for definition in project.sources):
        view = open_for_reading(project.state / "log" / source)
        if name not in view.counts:
            continue
        base = _base(table, source, position)
        start = int(base.properties[f"source.{source}.offset"])
        if start < view.base:
            raise UserError(
                f"the log of {source!r} begins at offset {view.base}, and the last table snapshot before position"
                f" {position} ends at {start}",
                hint="a longer run: log_retention keeps more; `headwater tables history` shows the positions of epochs",
            )
        _require_reached(view.boundary_at(view.head).position.commit, position, source)
        rows = table.dataset(Moment(snapshot=base.snapshot)).to_table()
        mirror = mirror_at(stream, rows, view.read(start, view.head), position + 1, initial=False)
        there = pa.concat_tables(list(mirror.there))
        return _without(there, list(mirror.gone)), TableSpec(name, stream.columns, stream.key)
    raise UserError(f"the log has nothing of {name!r}", hint="headwater log ls")


def _base(table: Table, source: str, position: int) -> TableSnapshot:
    """The newest snapshot that holds nothing beyond the position."""
    for snapshot in table.snapshots():
        said = snapshot.properties.get(f"source.{source}.position")
        if said is not None and int(said) <= position:
            return snapshot
    raise UserError(
        f"no table snapshot is kept from before position {position} of {source!r}",
        hint=f"headwater tables history {table.spec.name} shows the positions that are",
    )


def _require_reached(head: int, position: int, source: str) -> None:
    if position > head:
        raise UserError(
            f"position {position} of {source!r} is not in the log yet, which ends at {head}", hint="headwater status"
        )


def _without(there: pa.Table, gone: list[pa.Table]) -> pa.Table:
    """Rows less others, one for one."""
    if not sum(table.num_rows for table in gone):
        return there
    from headwater.index.consolidate import consolidate

    parts = [(there, 1), *((table, -1) for table in gone)]
    delta = pa.concat_tables(
        [rows.append_column(WEIGHT, pa.array(np.full(rows.num_rows, weight))) for rows, weight in parts]
    )
    net = consolidate(delta)
    often = net.column(WEIGHT).to_numpy()
    return net.drop_columns([WEIGHT]).take(pa.array(np.repeat(np.arange(len(often)), often)))


@dataclass(frozen=True)
class Differences:
    """What changed between two moments.

    Attributes:
        delta: rows and their weights.
        added, removed, updated: rows by key; without a key updated is 0.
    """

    delta: pa.Table
    added: int
    removed: int
    updated: int


def differences(table: Table, before: Moment, after: Moment | None) -> Differences:
    """What changed in a table between two moments, rows that only moved to other files left out."""
    delta = difference_of(iceberg(table).handle, before, after)
    weights = delta.column(WEIGHT).to_numpy()
    plus, minus = int(weights[weights > 0].sum()), -int(weights[weights < 0].sum())
    both = 0
    if table.spec.key and set(table.spec.key) <= set(delta.column_names):
        keys = zip(*(delta.column(name).to_pylist() for name in table.spec.key), strict=True)
        both = sum(1 for count in Counter(map(repr, keys)).values() if count > 1)
    return Differences(delta, plus - both, minus - both, both)
