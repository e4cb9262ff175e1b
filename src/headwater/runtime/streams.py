"""A stream's schema over time: what the log and the tables know already, and what the source says now."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from headwater.errors import SourceStopped
from headwater.schema import StreamSchema


def merge_streams(known: Iterable[StreamSchema], discovered: Iterable[StreamSchema]) -> tuple[StreamSchema, ...]:
    """Streams of the source as of now, each with the columns it ever had.

    A column the source dropped stays (null from then on), a new one goes last, so that rows written before keep their
    meaning.

    Raises:
        SourceStopped: a column's type or the key has changed: what is there cannot be read as the new type.
    """
    before = {stream.name: stream for stream in known}
    return tuple(_merge(before[now.name], now) if now.name in before else now for now in discovered)


def _merge(before: StreamSchema, now: StreamSchema) -> StreamSchema:
    for field in now.columns:
        index = before.columns.get_field_index(field.name)
        if index >= 0 and before.columns.field(index).type != field.type:
            raise SourceStopped(
                f"stream {now.name!r}: column {field.name!r} was {before.columns.field(index).type},"
                f" and is now {field.type}",
                hint="move the state folder away and run again: the tables are then rebuilt from a new snapshot",
            )
    if before.key != now.key:
        raise SourceStopped(
            f"stream {now.name!r}: its key was {list(before.key)} and is now {list(now.key)}",
            hint="move the state folder away and run again: the tables are then rebuilt from a new snapshot",
        )
    added = [field for field in now.columns if field.name not in before.columns.names]
    return StreamSchema(now.name, pa.schema([*before.columns, *added]), now.key, now.changelog)
