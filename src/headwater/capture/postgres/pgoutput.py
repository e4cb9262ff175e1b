"""Messages of the `pgoutput` plugin, protocol version 1, as they come in XLogData.

Source: "Streaming Replication Protocol" and "Logical Replication Message Formats" in PostgreSQL's manual. Only what
frames the rows is read here, one message at a time; the rows themselves are read by `kernels.scan_messages`, whole
batches at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from headwater.errors import InvariantBroken

Message = memoryview | bytes

XLOG_DATA, KEEPALIVE = ord("w"), ord("k")
HEADER = 25
"""Bytes of XLogData before the plugin's message: 'w', start, end and time, 8 bytes each."""

BEGIN, COMMIT, RELATION, TRUNCATE = ord("B"), ord("C"), ord("R"), ord("T")
ROWS = frozenset(b"IUD")
IGNORED = frozenset(b"YOM")
"""Type, Origin and (not asked for) logical messages say nothing that rows need."""

POSTGRES_EPOCH_US = 946_684_800_000_000
"""2000-01-01 UTC in microseconds since 1970."""

_KEEPALIVE = struct.Struct(">xQqB")
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">xBQQq")
_STATUS = struct.Struct(">cQQQqB")
_RELATION_ID = struct.Struct(">I")
_COLUMN = struct.Struct(">Ii")


@dataclass(frozen=True)
class RelationColumn:
    """One column as a Relation message describes it."""

    name: str
    oid: int
    typmod: int
    identifies: bool


@dataclass(frozen=True)
class RelationMessage:
    """A table as it is from here on in the stream.

    Attributes:
        oid, schema, name, identity: as in `Table`.
        columns: the fields of its tuples, in order.
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


def read_keepalive(message: Message) -> tuple[int, bool]:
    """How far the server has sent (LSN), and whether it wants an answer at once."""
    wal_end, _, reply = _KEEPALIVE.unpack_from(message)
    return wal_end, bool(reply)


def read_begin(message: Message) -> tuple[int, int]:
    """Commit LSN of the transaction that begins and its commit time in microseconds since 1970."""
    lsn, time, _ = _BEGIN.unpack_from(message, HEADER + 1)
    return lsn, time + POSTGRES_EPOCH_US


def read_commit(message: Message) -> int:
    """LSN of the end of the transaction that ends."""
    _, _, end, _ = _COMMIT.unpack_from(message, HEADER)
    return int(end)


def relation_of(message: Message) -> int:
    """Table id of a row message."""
    return int(_RELATION_ID.unpack_from(message, HEADER + 1)[0])


def read_truncate(message: Message) -> tuple[int, ...]:
    """Table ids of a Truncate message, in its order."""
    (count,) = _RELATION_ID.unpack_from(message, HEADER + 1)
    return struct.unpack_from(f">{count}I", message, HEADER + 6)


def read_relation(message: Message) -> RelationMessage:
    """Reads a Relation message.

    Raises:
        InvariantBroken: it is cut short.
    """
    data = bytes(message[HEADER:])
    try:
        (oid,) = _RELATION_ID.unpack_from(data, 1)
        schema, at = _string(data, 5)
        name, at = _string(data, at)
        count = int.from_bytes(data[at + 1 : at + 3], "big")
        columns, position = [], at + 3
        for _ in range(count):
            column, after = _string(data, position + 1)
            type_oid, typmod = _COLUMN.unpack_from(data, after)
            columns.append(RelationColumn(column, type_oid, typmod, bool(data[position] & 1)))
            position = after + _COLUMN.size
    except (struct.error, ValueError, IndexError) as error:
        raise InvariantBroken("a Relation message of pgoutput is cut short") from error
    return RelationMessage(oid, schema or "pg_catalog", name, chr(data[at]), tuple(columns))


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def status_update(written: int, flushed: int, now_us: int, *, reply: bool = False) -> bytes:
    """A Standby status update.

    Args:
        written: LSN up to which everything was received.
        flushed: LSN up to which everything is durable here; the server forgets what lies before.
        now_us: microseconds since 1970.
        reply: asks the server for a keepalive at once.
    """
    return _STATUS.pack(b"r", written, flushed, flushed, now_us - POSTGRES_EPOCH_US, reply)
