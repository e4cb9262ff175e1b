"""A stream's schema over time: what the log and the tables know already, and what the source says now."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from headwater.errors import SourceStopped
from headwater.schema import StreamSchema

DROPPED = b"headwater.dropped"
"""Field metadata: the source no longer has this column, as of an earlier start."""

ANEW = "move the state folder away and run again: the tables are then rebuilt from a new snapshot"


def merge_streams(known: Iterable[StreamSchema], discovered: Iterable[StreamSchema]) -> tuple[StreamSchema, ...]:
    """Streams of the source as of now, each with the columns it ever had.

    A column the source dropped stays (null from then on) and is marked, a new one goes last, so that rows written
    before keep their meaning.

    Raises:
        SourceStopped: a column's type or the key has changed: what is there cannot be read as the new type. Or columns
            have gone and others have come since the last start, which is what a rename looks like: the values of rows
            that nobody touches again would be missed.
    """
    before = {stream.name: stream for stream in known}
    return tuple(_merge(before[now.name], now) if now.name in before else now for now in discovered)


def with_new_columns(known: Iterable[StreamSchema], running: Iterable[StreamSchema]) -> tuple[StreamSchema, ...]:
    """The known streams with the columns that have come while running."""
    now = {stream.name: stream for stream in running}
    return tuple(
        StreamSchema(old.name, pa.schema([*old.columns, *_added(old, now[old.name])]), old.key, old.changelog)
        if old.name in now
        else old
        for old in known
    )


def _merge(before: StreamSchema, now: StreamSchema) -> StreamSchema:
    _refuse_retyped(before, now)
    if before.key != now.key:
        raise SourceStopped(
            f"stream {now.name!r}: its key was {list(before.key)} and is now {list(now.key)}", hint=ANEW
        )
    added = _added(before, now)
    there = set(now.columns.names)
    gone = [field.name for field in before.columns if field.name not in there and not _is_marked(field)]
    if gone and added:
        raise SourceStopped(
            f"stream {now.name!r}: {', '.join(gone)} went and {', '.join(field.name for field in added)} came while"
            " Headwater did not run, as after a rename: rows that are not touched again would keep neither value",
            hint=f"undo it at the source, or {ANEW}; rename or replace columns while Headwater runs",
        )
    kept = [field if field.name in there else _marked(field) for field in before.columns]
    return StreamSchema(now.name, pa.schema([*kept, *added]), now.key, now.changelog)


def _refuse_retyped(before: StreamSchema, now: StreamSchema) -> None:
    for field in now.columns:
        index = before.columns.get_field_index(field.name)
        if index >= 0 and before.columns.field(index).type != field.type:
            raise SourceStopped(
                f"stream {now.name!r}: column {field.name!r} was {before.columns.field(index).type},"
                f" and is now {field.type}",
                hint=ANEW,
            )


def _added(before: StreamSchema, now: StreamSchema) -> list[pa.Field]:
    return [field for field in now.columns if field.name not in before.columns.names]


def _is_marked(field: pa.Field) -> bool:
    return DROPPED in (field.metadata or {})


def _marked(field: pa.Field) -> pa.Field:
    return field.with_metadata({**(field.metadata or {}), DROPPED: b"1"})
