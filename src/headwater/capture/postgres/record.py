"""A rejected record as bytes that stand for themselves: the table's description and the source's own bytes.

Framed as `headwater.capture.record_frame` says, with the magic `HWPG1`: a row message of pgoutput, or a row of COPY's
text format with its newline.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass

from headwater.capture.postgres.table import Layout, Table
from headwater.capture.postgres.types import Column
from headwater.capture.record_frame import framed, opened, place_in, require_fields
from headwater.errors import UserError

STREAM, COPY = "stream", "copy"
Raw = Callable[[int], tuple[str, bytes]]
"""Form and bytes of a run's i-th record."""

_MAGIC = b"HWPG1"


@dataclass(frozen=True)
class Record:
    """One record of a source.

    Attributes:
        layout: its table as it was.
        form: STREAM or COPY.
        data: its bytes.
        commit, ordinal: its position.
        time_us: its commit time, microseconds since 1970 UTC; None if unknown.
        weight: which of its rows was rejected: +1 the one that it brings, -1 the one that goes.
    """

    layout: Layout
    form: str
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
            "oid": table.oid,
            "schema": table.schema,
            "name": table.name,
            "key": table.key,
            "identity": table.identity,
            "columns": [asdict(column) for column in table.columns],
        },
        "wire": record.layout.wire,
        "width": record.layout.width,
        "form": record.form,
        "commit": record.commit,
        "ordinal": record.ordinal,
        "time_us": record.time_us,
        "weight": record.weight,
    }
    return framed(_MAGIC, header, record.data)


def unframe(data: bytes) -> Record:
    """The record of those bytes.

    Raises:
        UserError: they are not a record of a PostgreSQL source.
    """
    try:
        header, rest = opened(_MAGIC, data)
        table = header["table"]
        columns = tuple(Column(**column) for column in table.pop("columns"))
        key = tuple(table.pop("key"))
        layout = Layout(Table(columns=columns, key=key, **table), tuple(header["wire"]), header["width"])
        require_fields(layout.wire, layout.width, len(layout.table.stream.columns))
        commit, ordinal, time_us, weight = place_in(header)
        return Record(layout, header["form"], rest, commit, ordinal, time_us, weight)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise UserError("these bytes are not a record of a PostgreSQL source") from error
