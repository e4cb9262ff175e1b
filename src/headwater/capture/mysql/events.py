"""Events of the binary log of MySQL 5.7 to 9 and MariaDB 10.5 and newer: what they are called, and cutting a buffer of
them into columns of headers.

Sources: "Replication Protocol" in MySQL's source documentation (class `mysql::binlog::event::Log_event_type`) and in
MariaDB's knowledge base. Rows are read by `headwater.capture.mysql.rows`, single events that say how a transaction
goes by `headwater.capture.mysql.binlog`.

Nothing is skipped that is not known to say nothing about rows: an unknown type stops the source unless the server
flags it as one that readers may ignore, and so does an INCIDENT, by which the server says that its log has a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from headwater.capture.mysql import kernels_events, payload
from headwater.errors import InvariantBroken, SourceStopped

MAGIC = b"\xfebin"
"""The first bytes of a binlog file."""

IGNORABLE_FLAG = 0x80
"""LOG_EVENT_IGNORABLE_F: a reader that does not know the event may pass over it."""

ARTIFICIAL_FLAG = 0x20
"""LOG_EVENT_ARTIFICIAL_F: made for us by the server (the ROTATE a stream begins with), not in the file."""


class EventType(IntEnum):
    """Types that `scan` may hand out. Compressed ones come out as what they hold."""

    QUERY = 2
    STOP = 3
    ROTATE = 4
    INTVAR = 5
    RAND = 13
    USER_VAR = 14
    FORMAT_DESCRIPTION = 15
    XID = 16
    TABLE_MAP = 19
    WRITE_ROWS_V1 = 23
    UPDATE_ROWS_V1 = 24
    DELETE_ROWS_V1 = 25
    HEARTBEAT = 27
    IGNORABLE = 28
    ROWS_QUERY = 29
    WRITE_ROWS = 30
    UPDATE_ROWS = 31
    DELETE_ROWS = 32
    GTID = 33
    ANONYMOUS_GTID = 34
    PREVIOUS_GTIDS = 35
    TRANSACTION_CONTEXT = 36
    VIEW_CHANGE = 37
    XA_PREPARE = 38
    PARTIAL_UPDATE_ROWS = 39
    HEARTBEAT_V2 = 41
    GTID_TAGGED = 42
    ANNOTATE_ROWS = 160
    BINLOG_CHECKPOINT = 161
    MARIADB_GTID = 162
    GTID_LIST = 163
    START_ENCRYPTION = 164


ROWS = frozenset(
    {
        EventType.WRITE_ROWS_V1,
        EventType.UPDATE_ROWS_V1,
        EventType.DELETE_ROWS_V1,
        EventType.WRITE_ROWS,
        EventType.UPDATE_ROWS,
        EventType.DELETE_ROWS,
        EventType.PARTIAL_UPDATE_ROWS,
    }
)
"""Events that hold rows."""

SILENT = frozenset(
    {
        EventType.STOP,
        EventType.INTVAR,
        EventType.RAND,
        EventType.USER_VAR,
        EventType.HEARTBEAT,
        EventType.HEARTBEAT_V2,
        EventType.IGNORABLE,
        EventType.ROWS_QUERY,
        EventType.PREVIOUS_GTIDS,
        EventType.TRANSACTION_CONTEXT,
        EventType.VIEW_CHANGE,
        EventType.ANNOTATE_ROWS,
        EventType.BINLOG_CHECKPOINT,
        EventType.GTID_LIST,
        EventType.START_ENCRYPTION,
    }
)
"""Events that say nothing about rows or where transactions begin and end. INTVAR, RAND and USER_VAR go before a
statement that changes rows in statement format, which the QUERY itself gives away."""

INCIDENT = 26
TRANSACTION_PAYLOAD = 40
_STATEMENTS = {9: "APPEND_BLOCK", 11: "DELETE_FILE", 17: "BEGIN_LOAD_QUERY", 18: "EXECUTE_LOAD_QUERY"}
_COMPRESSED: Mapping[int, EventType] = {
    165: EventType.QUERY,
    166: EventType.WRITE_ROWS_V1,
    167: EventType.UPDATE_ROWS_V1,
    168: EventType.DELETE_ROWS_V1,
    169: EventType.WRITE_ROWS,
    170: EventType.UPDATE_ROWS,
    171: EventType.DELETE_ROWS,
}
"""MariaDB's compressed types (`log_bin_compress`)."""

_OPENED = frozenset({TRANSACTION_PAYLOAD, *_COMPRESSED})
_KNOWN = np.zeros(256, bool)
_KNOWN[[*EventType, *_OPENED]] = True
_REASONS = {
    kernels_events.CUT_SHORT: "is cut short",
    kernels_events.BAD_SIZE: "does not have the size that its header says",
    kernels_events.BAD_CHECKSUM: "fails its checksum",
}


@dataclass(frozen=True)
class Events:
    """Events in the order of the log, one element each in every array, all in one buffer.

    Attributes:
        buffer: uint8.
        types: uint8, members of `EventType`.
        times_s: int64, seconds since 1970 UTC.
        servers: int64, the server that first wrote it.
        positions: int64, offset in the file of the next event; 0 for those that are in no file.
        flags: int64.
        begins, ends: int64, the body: after the header, before the checksum.
        tables: int64, the table id of TABLE_MAP and rows; -1 of others.
        sizes: int64, bytes that it takes in the file, header and checksum included; of a payload's events the last one
            stands for all and the others are 0.
        inside: bool, it came out of a TRANSACTION_PAYLOAD.
        checksum: whether events that follow these carry a checksum.
        read: how many events came in; payloads make more of one.
    """

    buffer: NDArray[np.uint8]
    types: NDArray[np.uint8]
    times_s: NDArray[np.int64]
    servers: NDArray[np.int64]
    positions: NDArray[np.int64]
    flags: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    tables: NDArray[np.int64]
    sizes: NDArray[np.int64]
    inside: NDArray[np.bool_]
    checksum: bool
    read: int

    def __len__(self) -> int:
        return int(self.types.size)

    def body(self, at: int) -> bytes:
        """The bytes of one event's body."""
        return self.buffer[int(self.begins[at]) : int(self.ends[at])].tobytes()


@dataclass
class Account:
    """What came in must have been handled or have failed: the sum is checked, so that no event is lost in silence.

    Attributes:
        seen: events of each type that `scan` handed out.
        handled: events of each type that were dealt with.
    """

    seen: dict[int, int] = field(default_factory=dict)
    handled: dict[int, int] = field(default_factory=dict)

    def took(self, events: Events) -> None:
        """Counts what was handed out."""
        for kind, count in enumerate(np.bincount(events.types, minlength=256).tolist()):
            if count:
                self.seen[kind] = self.seen.get(kind, 0) + count

    def handle(self, kind: int, count: int = 1) -> None:
        """Counts what was dealt with."""
        self.handled[kind] = self.handled.get(kind, 0) + count

    def check(self) -> None:
        """Compares the two.

        Raises:
            InvariantBroken: an event was neither handled nor did it fail.
        """
        if self.seen != self.handled:
            kinds = sorted(self.seen.keys() | self.handled.keys())
            off = [f"{kind}: {self.seen.get(kind, 0)} in, {self.handled.get(kind, 0)} handled" for kind in kinds]
            raise InvariantBroken(f"binlog events in and events handled differ by type ({'; '.join(off)})")


def split(data: NDArray[np.uint8], begin: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the whole events in bytes of a binlog file begin and end.

    Args:
        data: uint8, events end to end.
        begin: the first event's offset; `len(MAGIC)` in a file from its beginning.

    Returns:
        begins, ends: int64 per event. An event that is cut short at the end is left out.

    Raises:
        SourceStopped: these are no events.
    """
    room = max(0, data.size - begin) // kernels_events.HEADER
    begins, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    count = kernels_events.split_events(data, begin, data.size, begins, ends)
    if count < 0:
        raise broken(f"event {-1 - count} of the buffer is smaller than its header")
    return begins[:count], ends[:count]


def scan(
    buffer: NDArray[np.uint8],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    *,
    checksum: bool,
    limit: int = payload.LIMIT,
) -> Events:
    """Reads the headers of events, verifies their checksums and opens what is compressed.

    Args:
        buffer: uint8.
        begins, ends: int64 per event, the whole event: header, body and checksum, without the packet's OK byte.
        checksum: whether they carry a checksum; from a FORMAT_DESCRIPTION on, what that says holds.
        limit: how large the content of one compressed event may be, in bytes.

    Raises:
        SourceStopped: an INCIDENT, an unknown event, one that fails its checksum, or bytes that are no event.
    """
    found = _headers(buffer, begins, ends, checksum, inside=False)
    opened = np.flatnonzero(np.isin(found.types, list(_OPENED)))
    return _open(found, opened.tolist(), limit) if opened.size else found


def _headers(
    buffer: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64], checksum: bool, *, inside: bool
) -> Events:
    count = begins.size
    types = np.empty(count, np.uint8)
    heads = np.empty((5, count), np.int64)
    sizes = ends - begins
    begins, ends, failure = begins.astype(np.int64), ends.astype(np.int64), np.zeros(2, np.int64)
    after = kernels_events.scan_headers(buffer, begins, ends, checksum, types, heads, failure)
    if failure[1]:
        raise broken(f"event {failure[0]} of the buffer {_REASONS[int(failure[1])]}")
    times, servers, positions, flags, tables = heads
    _refuse_unknown(types, flags, positions)
    within = np.full(count, inside)
    return Events(
        buffer, types, times, servers, positions, flags, begins, ends, tables, sizes, within, bool(after), count
    )


def _refuse_unknown(types: NDArray[np.uint8], flags: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
    """Stops at what is not known; turns what may be ignored into IGNORABLE."""
    unknown = np.flatnonzero(~_KNOWN[types])
    if not unknown.size:
        return
    ignorable = (flags[unknown] & IGNORABLE_FLAG) != 0
    for at in unknown[~ignorable].tolist():
        raise _refused(int(types[at]), int(positions[at]))
    types[unknown] = EventType.IGNORABLE


def _refused(kind: int, position: int) -> SourceStopped:
    where = f"before position {position} of the binlog"
    if kind == INCIDENT:
        return SourceStopped(
            f"the server reports an INCIDENT {where}: changes are missing from its binlog, so the tables here no "
            "longer equal the source's",
            hint="take a new snapshot: headwater snapshot SOURCE.TABLE, or accept the gap",
        )
    if kind in _STATEMENTS:
        return SourceStopped(
            f"event {_STATEMENTS[kind]} {where}: a change was logged as a statement, which cannot be decoded",
            hint="SET GLOBAL binlog_format = 'ROW', let sessions connect anew, and take a new snapshot of the table",
        )
    return SourceStopped(
        f"unknown binlog event of type {kind} {where}; passing over it might lose changes",
        hint="report this with the server's version; until it is known here, turn the feature that writes it off",
    )


def broken(what: str) -> SourceStopped:
    """The error for bytes of a binlog that are not what the format says."""
    return SourceStopped(
        f"the binlog cannot be decoded: {what}",
        hint="try again; if it stays so the server's log file is damaged (mysqlbinlog --verify-binlog-checksum FILE), "
        "and a new snapshot is the way out",
    )


def _open(events: Events, at: list[int], limit: int) -> Events:
    """The same with what was compressed in the place of what it was compressed in."""
    parts: list[Events] = []
    done = 0
    for place in at:
        parts.append(_slice(events, done, place))
        parts.append(_opened(events, place, limit))
        done = place + 1
    parts.append(_slice(events, done, len(events)))
    return _joined(parts, events)


def _opened(events: Events, at: int, limit: int) -> Events:
    kind, body = int(events.types[at]), events.body(at)
    try:
        if kind != TRANSACTION_PAYLOAD:
            whole = payload.plain(_COMPRESSED[kind], body, limit)
            return _like(events, at, _COMPRESSED[kind], np.frombuffer(whole, np.uint8))
        data = np.frombuffer(payload.transaction(body, limit), np.uint8)
    except ValueError as error:
        raise broken(f"compressed event of type {kind}: {error}") from error
    begins, ends = split(data)
    if data.size and (not ends.size or ends[-1] != data.size):
        raise broken("a transaction's payload ends in the middle of an event")
    inner = _headers(data, begins, ends, False, inside=True)
    if np.isin(inner.types, list(_OPENED)).any() or (inner.types == EventType.FORMAT_DESCRIPTION).any():
        raise broken("a transaction's payload holds an event that cannot be in one")
    inner.positions[:] = events.positions[at]
    inner.sizes[:] = 0
    inner.sizes[-1:] = events.sizes[at]
    return inner


def _like(events: Events, at: int, kind: int, body: NDArray[np.uint8]) -> Events:
    """One event with the header of another."""
    one = _slice(events, at, at + 1)
    return Events(
        body,
        np.array([kind], np.uint8),
        one.times_s,
        one.servers,
        one.positions,
        one.flags,
        np.zeros(1, np.int64),
        np.array([body.size], np.int64),
        one.tables,
        one.sizes,
        one.inside,
        one.checksum,
        1,
    )


def _slice(events: Events, first: int, last: int) -> Events:
    cut = slice(first, last)
    return Events(
        events.buffer,
        events.types[cut],
        events.times_s[cut],
        events.servers[cut],
        events.positions[cut],
        events.flags[cut],
        events.begins[cut],
        events.ends[cut],
        events.tables[cut],
        events.sizes[cut],
        events.inside[cut],
        events.checksum,
        last - first,
    )


def _joined(parts: list[Events], whole: Events) -> Events:
    """Parts one after the other, their buffers end to end; those in the buffer of `whole` share it."""
    buffers, size = [whole.buffer], whole.buffer.size
    shifts = []
    for part in parts:
        own = part.buffer is not whole.buffer
        shifts.append(size if own else 0)
        if own:
            buffers.append(part.buffer)
            size += part.buffer.size
    return Events(
        np.concatenate(buffers),
        np.concatenate([part.types for part in parts]),
        np.concatenate([part.times_s for part in parts]),
        np.concatenate([part.servers for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.flags for part in parts]),
        np.concatenate([part.begins + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.ends + shift for part, shift in zip(parts, shifts, strict=True)]),
        np.concatenate([part.tables for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.inside for part in parts]),
        whole.checksum,
        whole.read,
    )
