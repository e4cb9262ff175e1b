"""Several tables as of one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow.dataset as pads

from headwater.errors import UserError
from headwater.lake.moment import Moment, TableSnapshot
from headwater.lake.table_format import Table


def as_of(tables: Mapping[str, Table], at: Moment) -> tuple[dict[str, pads.Dataset], str]:
    """The tables as of a moment, and what that was in words.

    Tables commit an epoch one after the other, so a time may fall between two of them: then it is the epoch before that
    all are read as of. A snapshot of one table stands for its epoch in the others.

    Raises:
        UserError: a table does not keep the moment, or the moment says nothing of one.
    """
    if at.ref is not None or (len(tables) < 2 and at.time_us is None):
        return {name: table.dataset(at) for name, table in tables.items()}, str(at)
    snapshots = {name: table.snapshots() for name, table in tables.items()}
    if at.snapshot is not None:
        at, said = _epoch_of(snapshots, at.snapshot)
    elif at.time_us is not None:
        epoch = _epoch_at(snapshots, at.time_us)
        said = str(at) if epoch is None else f"{at} (the end of epoch {epoch})"
        if epoch is not None:
            return {
                name: table.dataset(Moment(epoch=epoch) if _of_epochs(snapshots[name]) else at)
                for name, table in tables.items()
            }, said
    else:
        said = str(at)
    return {name: table.dataset(at) for name, table in tables.items()}, said


def _epoch_of(snapshots: Mapping[str, Sequence[TableSnapshot]], number: int) -> tuple[Moment, str]:
    for name, kept in snapshots.items():
        found = next((one for one in kept if one.snapshot == number), None)
        if found is not None and found.epoch is not None:
            said = f"the end of epoch {found.epoch}, which snapshot {number} of {name!r} holds"
            return Moment(epoch=found.epoch), said
    raise UserError(f"no table of the query keeps snapshot {number} of an epoch", hint="headwater tables history TABLE")


def _of_epochs(kept: Sequence[TableSnapshot]) -> bool:
    return any(one.epoch is not None for one in kept)


def _epoch_at(snapshots: Mapping[str, Sequence[TableSnapshot]], time_us: int) -> int | None:
    """The last epoch that every table held by then; None if no table says."""
    ours = [[one for one in kept if one.epoch is not None and not one.maintenance] for kept in snapshots.values()]
    later = [one.epoch for kept in ours for one in kept if one.committed_at_us > time_us and one.epoch is not None]
    earlier = [one.epoch for kept in ours for one in kept if one.committed_at_us <= time_us and one.epoch is not None]
    if not earlier:
        return None
    before_later = min(later) - 1 if later else None
    newest = max(earlier)
    return newest if before_later is None else min(newest, before_later)
