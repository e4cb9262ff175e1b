"""Messages of the `pgoutput` plugin, protocol versions 1 to 4, that frame rows and transactions.

Source: "Streaming Replication Protocol" and "Logical Replication Message Formats" in PostgreSQL's manual, versions 14
to 18. These are read one at a time; rows, Begin and Commit are read by `walk` and `kernels.scan_messages`, whole
buffers at once. All readers take the plugin's message without what XLogData puts before it and, in a transaction in
progress, without its id.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from headwater.capture.postgres.walk import POSTGRES_EPOCH_US
from headwater.errors import InvariantBroken

XLOG_DATA, KEEPALIVE = ord("w"), ord("k")
HEADER = 25
"""Bytes of XLogData before the plugin's message: 'w', start, end and time, 8 bytes each."""

STREAMING_VERSION, TWO_PHASE_VERSION, PARALLEL_VERSION = 2, 3, 4

_KEEPALIVE = struct.Struct(">xQqB")
_STATUS = struct.Struct(">cQQQqB")
_OID = struct.Struct(">I")
_COLUMN = struct.Struct(">Ii")
_TRUNCATE = struct.Struct(">xIB")
_MESSAGE = struct.Struct(">xBQ")
_STREAM_START = struct.Struct(">xIB")
_STREAM_COMMIT = struct.Struct(">xIBQQq")
_STREAM_ABORT = struct.Struct(">xII")
_STREAM_ABORT_AT = struct.Struct(">xIIQq")
_BEGIN_PREPARE = struct.Struct(">xQQqI")
_PREPARED = struct.Struct(">xBQQqI")
_ROLLBACK_PREPARED = struct.Struct(">xBQQqqI")

_Read = TypeVar("_Read")


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


@dataclass(frozen=True)
class End:
    """How a transaction ended that was sent before it did: Stream Commit, Commit Prepared; or was prepared: Prepare,
    Stream Prepare.

    Attributes:
        xid: its id.
        commit: LSN of its commit (or prepare) record.
        lsn: LSN of the end of it.
        time_us: when, microseconds since 1970 UTC.

    Raises:
        InvariantBroken: no server gets that far.
    """

    xid: int
    commit: int
    lsn: int
    time_us: int

    def __post_init__(self) -> None:
        if max(self.commit, self.lsn, abs(self.time_us)) >> 63:
            raise InvariantBroken("a message of pgoutput has a position or a time out of range")


@dataclass(frozen=True)
class Message:
    """What `pg_logical_emit_message` wrote.

    Attributes:
        transactional: it is part of a transaction.
        lsn: where it stands in the write-ahead log.
        prefix, content: what it says.
    """

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


def _exactly(layout: struct.Struct, data: bytes, name: str) -> tuple[int, ...]:
    if len(data) != layout.size:
        raise InvariantBroken(f"a {name} message of pgoutput has {len(data)} bytes, not {layout.size}")
    return layout.unpack(data)


def _checked(name: str, read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except (struct.error, ValueError, IndexError) as error:
        raise InvariantBroken(f"a {name} message of pgoutput is cut short") from error


def read_keepalive(message: bytes) -> tuple[int, bool]:
    """How far the server has sent (LSN), and whether it wants an answer at once.

    Raises:
        InvariantBroken: it is not what it should be, here as below.
    """
    wal_end, _, reply = _exactly(_KEEPALIVE, message, "keepalive")
    if wal_end >> 63:
        raise InvariantBroken("a keepalive message has a position out of range")
    return wal_end, bool(reply)


def read_truncate(data: bytes) -> tuple[int, ...]:
    """Table ids of a Truncate message, in its order."""

    def read() -> tuple[int, ...]:
        count, _ = _TRUNCATE.unpack_from(data)
        if len(data) != _TRUNCATE.size + 4 * count:
            raise ValueError(count)
        return struct.unpack_from(f">{count}I", data, _TRUNCATE.size)

    return _checked("Truncate", read)


def read_relation(data: bytes) -> RelationMessage:
    """Reads a Relation message."""

    def read() -> RelationMessage:
        (oid,) = _OID.unpack_from(data, 1)
        schema, at = _string(data, 5)
        name, at = _string(data, at)
        identity, count = chr(data[at]), int.from_bytes(data[at + 1 : at + 3], "big")
        columns, position = [], at + 3
        for _ in range(count):
            column, after = _string(data, position + 1)
            type_oid, typmod = _COLUMN.unpack_from(data, after)
            columns.append(RelationColumn(column, type_oid, typmod, bool(data[position] & 1)))
            position = after + _COLUMN.size
        return RelationMessage(oid, schema or "pg_catalog", name, identity, tuple(columns))

    return _checked("Relation", read)


def read_message(data: bytes) -> Message:
    """Reads a logical decoding message."""

    def read() -> Message:
        flags, lsn = _MESSAGE.unpack_from(data)
        prefix, at = _string(data, _MESSAGE.size)
        (length,) = _OID.unpack_from(data, at)
        if len(data) != at + 4 + length:
            raise ValueError(length)
        return Message(bool(flags & 1), lsn, prefix, data[at + 4 :])

    return _checked("logical decoding", read)


def read_stream_start(data: bytes) -> tuple[int, bool]:
    """Id of the transaction of which a part follows, and whether it is the first part."""
    xid, first = _exactly(_STREAM_START, data, "Stream Start")
    return xid, bool(first)


def read_stream_commit(data: bytes) -> End:
    """Reads a Stream Commit message."""
    xid, _, commit, lsn, time = _exactly(_STREAM_COMMIT, data, "Stream Commit")
    return End(xid, commit, lsn, time + POSTGRES_EPOCH_US)


def read_stream_abort(data: bytes) -> tuple[int, int]:
    """Ids of the transaction, and of its part that was rolled back: itself, or a subtransaction. What version 4 adds,
    where and when, changes nothing."""
    layout = _STREAM_ABORT if len(data) == _STREAM_ABORT.size else _STREAM_ABORT_AT
    xid, part, *_ = _exactly(layout, data, "Stream Abort")
    return xid, part


def read_begin_prepare(data: bytes) -> End:
    """Reads a Begin Prepare message."""
    commit, lsn, time, xid = _checked("Begin Prepare", lambda: _with_gid(_BEGIN_PREPARE, data))
    return End(xid, commit, lsn, time + POSTGRES_EPOCH_US)


def read_prepared(data: bytes) -> End:
    """Reads a Prepare, Stream Prepare or Commit Prepared message, which are alike."""
    _, commit, lsn, time, xid = _checked("prepared transaction", lambda: _with_gid(_PREPARED, data))
    return End(xid, commit, lsn, time + POSTGRES_EPOCH_US)


def read_rollback_prepared(data: bytes) -> int:
    """Id of the prepared transaction that a Rollback Prepared message ends."""
    *_, xid = _checked("Rollback Prepared", lambda: _with_gid(_ROLLBACK_PREPARED, data))
    return xid


def _with_gid(layout: struct.Struct, data: bytes) -> tuple[int, ...]:
    """The numbers of a message that ends with the user's own name for a prepared transaction."""
    found = layout.unpack_from(data)
    _, at = _string(data, layout.size)
    if at != len(data):
        raise ValueError(at)
    return found


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
