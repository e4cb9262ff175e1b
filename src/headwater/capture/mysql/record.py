"""A rejected record as bytes that stand for themselves: the table's description and the source's own bytes.

Framed as `headwater.capture.record_frame` says, with the magic `HWMY1`: the body of a row event with this one row in
it, or the payload of a row's packet in the text protocol.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass

from headwater.capture.mysql.table import Layout, Table
from headwater.capture.mysql.types import Column
from headwater.capture.record_frame import framed, opened, place_in, require_fields
from headwater.errors import UserError

TEXT = 0
"""`Record.kind` of a row of the text protocol."""

_MAGIC = b"HWMY1"


@dataclass(frozen=True)
class Record:
    """One record of a source.

    Attributes:
        layout: its table as it was.
        kind: the event's type (`events.EventType`), or TEXT.
        types, metas: the row's columns as TABLE_MAP says; empty for TEXT.
        data: its bytes.
        commit, ordinal: its position.
        time_us: its commit time, microseconds since 1970 UTC; None if unknown.
        weight: which of its rows was rejected: +1 the one that it brings, -1 the one that goes.
    """

    layout: Layout
    kind: int
    types: tuple[int, ...]
    metas: tuple[int, ...]
    data: bytes
    commit: int
    ordinal: int
    time_us: int | None
    weight: int = 1


def frame(record: Record) -> bytes:
    """The record as bytes."""
    table = record.layout.table
    header = {
        "table": {
            "database": table.database,
            "name": table.name,
            "key": table.key,
            "stream_name": table.stream_name,
            "columns": [asdict(column) for column in table.columns],
        },
        "wire": record.layout.wire,
        "width": record.layout.width,
        "kind": record.kind,
        "types": record.types,
        "metas": record.metas,
        "commit": record.commit,
        "ordinal": record.ordinal,
        "time_us": record.time_us,
        "weight": record.weight,
    }
    return framed(_MAGIC, header, record.data)


def unframe(data: bytes) -> Record:
    """The record of those bytes.

    Raises:
        UserError: they are not a record of a MySQL source.
    """
    try:
        header, rest = opened(_MAGIC, data)
        table = header["table"]
        columns = tuple(Column(**column) for column in table.pop("columns"))
        key = tuple(table.pop("key"))
        layout = Layout(Table(columns=columns, key=key, **table), tuple(header["wire"]), header["width"])
        kinds = header["kind"], tuple(header["types"]), tuple(header["metas"])
        require_fields(layout.wire, layout.width, len(layout.table.stream.columns))
        commit, ordinal, time_us, weight = place_in(header)
        return Record(layout, *kinds, rest, commit, ordinal, time_us, weight)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise UserError("these bytes are not a record of a MySQL source") from error
