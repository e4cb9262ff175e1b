"""A rejected record as bytes that stand for themselves: the table's description and the source's own bytes.

Format, version 1: the magic `HWPG1`, the length of a JSON header (4 bytes, big endian), the header, then the bytes as
PostgreSQL sent them: a row message of pgoutput, or a row of COPY's text format with its newline.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass

from headwater.capture.postgres.table import Layout, Table
from headwater.capture.postgres.types import Column
from headwater.errors import UserError

STREAM, COPY = "stream", "copy"
Raw = Callable[[int], tuple[str, bytes]]
"""Form and bytes of a run's i-th record."""

_MAGIC = b"HWPG1"
_LENGTH = struct.Struct(">I")


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
    encoded = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((_MAGIC, _LENGTH.pack(len(encoded)), encoded, record.data))


def unframe(data: bytes) -> Record:
    """The record of those bytes.

    Raises:
        UserError: they are not a record of a PostgreSQL source.
    """
    start = len(_MAGIC) + _LENGTH.size
    try:
        if not data.startswith(_MAGIC):
            raise ValueError("no magic")
        (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
        header = json.loads(data[start : start + length])
        table = header["table"]
        columns = tuple(Column(**column) for column in table.pop("columns"))
        key = tuple(table.pop("key"))
        layout = Layout(Table(columns=columns, key=key, **table), tuple(header["wire"]), header["width"])
        place = header["commit"], header["ordinal"], header["time_us"], header["weight"]
        _require_whole(layout, place)
        return Record(layout, header["form"], data[start + length :], *place)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise UserError("these bytes are not a record of a PostgreSQL source") from error


def _require_whole(layout: Layout, place: tuple[object, ...]) -> None:
    """Refuses a header that JSON can hold and we never wrote.

    Raises:
        ValueError, TypeError: it is one.
    """
    fields = [*layout.wire, layout.width]
    if not all(type(each) is int and -1 <= each <= layout.width < 1 << 16 for each in fields):
        raise ValueError("fields that are none")
    if layout.width in layout.wire or len(layout.wire) != len(layout.table.stream.columns):
        raise ValueError("columns without a field")
    if not all(type(each) is int and 0 <= each + (1 << 62) < 1 << 63 for each in place if each is not None):
        raise ValueError("a position that is none")
