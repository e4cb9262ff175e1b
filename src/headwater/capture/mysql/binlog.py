"""Single events of the binlog that say how transactions go, read one at a time: format, rotation, GTIDs, statements,
commits. Each takes the event's body (`Events.body`).

Sources: MySQL's source documentation (classes of `mysql::binlog::event`, "Serialization library" for the tagged GTID),
MariaDB's knowledge base ("Replication Protocol").
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Literal, TypeVar
from uuid import UUID

from headwater.capture.mysql import charsets
from headwater.capture.mysql.events import broken

_GTID = struct.Struct("<B16sq")
_MARIADB_GTID = struct.Struct("<QIB")
_LISTED = struct.Struct("<IIQ")
_QUERY = struct.Struct("<IIBHH")
_FORMAT = struct.Struct("<H50sIB")

_STANDALONE, _TRANSACTIONAL, _PREPARED_XA, _COMPLETED_XA = 1, 4, 64, 128
_COMMIT_TIME_BYTES, _ORIGINAL_FOLLOWS = 7, 1 << 55
_CHARSET_VARIABLE = 4

_T = TypeVar("_T")


def _reader(read: Callable[[bytes], _T]) -> Callable[[bytes], _T]:
    """Says what is wrong with bytes that do not fit the format."""

    @wraps(read)
    def checked(body: bytes) -> _T:
        try:
            return read(body)
        except (struct.error, IndexError, ValueError) as error:
            raise broken(f"{read.__name__.removeprefix('read_')} event: {error}") from error

    return checked


@dataclass(frozen=True)
class Format:
    """FORMAT_DESCRIPTION: how the events after it are written.

    Attributes:
        version: of the binlog's format; 4 since MySQL 5.0.
        server: the server's version, "10.11.19-MariaDB-log".
        checksum: whether events carry a CRC-32.
    """

    version: int
    server: str
    checksum: bool

    @property
    def flavor(self) -> Literal["mysql", "mariadb"]:
        """Whose server wrote it."""
        return "mariadb" if "mariadb" in self.server.lower() else "mysql"


@dataclass(frozen=True)
class Rotate:
    """ROTATE: the log goes on at `position` of the file `file`."""

    file: str
    position: int


@dataclass(frozen=True)
class Gtid:
    """The event that a transaction begins with.

    Attributes:
        text: "uuid:number" or "uuid:tag:number" of MySQL, "domain-server-sequence" of MariaDB; empty if anonymous.
        source: uuid, or uuid:tag; of MariaDB the domain's number. What is ordered by `number`.
        number: within `source`.
        commit_time_us: when it was committed on the server that we read from, microseconds since 1970 UTC; 0 if
            unknown (MySQL before 8.0.1, MariaDB; the header's time is left).
        standalone: no commit follows, the next event is all of it (MariaDB: DDL).
        transactional: it may be rolled back as a whole.
        prepared_xa, completed_xa: MariaDB: the first and the second half of an XA transaction.
    """

    text: str
    source: str
    number: int
    commit_time_us: int = 0
    standalone: bool = False
    transactional: bool = True
    prepared_xa: bool = False
    completed_xa: bool = False


@dataclass(frozen=True)
class Query:
    """QUERY: a statement, also BEGIN and COMMIT of what has no XID.

    Attributes:
        database: the session's default one.
        sql: the statement.
        error_code: 0, or the error with which it ended on the server.
        collation: number of the collation of the statement's bytes; 0 if not said.
    """

    database: str
    sql: str
    error_code: int
    collation: int


@_reader
def read_format(body: bytes) -> Format:
    """Reads a FORMAT_DESCRIPTION, whose last byte says how checksums are computed (0 not at all, 1 CRC-32).

    Raises:
        SourceStopped: it is another format than 4, or an unknown checksum.
    """
    version, server, _, header = _FORMAT.unpack_from(body)
    algorithm = body[-1]
    if version != 4 or header != 19:
        raise ValueError(f"format {version} with headers of {header} bytes is not known")
    if algorithm not in (0, 1):
        raise ValueError(f"checksum algorithm {algorithm} is not known")
    return Format(version, server.split(b"\0")[0].decode("latin-1"), algorithm == 1)


@_reader
def read_rotate(body: bytes) -> Rotate:
    """Reads a ROTATE."""
    (position,) = struct.unpack_from("<Q", body)
    return Rotate(body[8:].decode(), position)


@_reader
def read_gtid(body: bytes) -> Gtid:
    """Reads a GTID of MySQL."""
    _, source, number = _GTID.unpack_from(body)
    if number <= 0:
        raise ValueError(f"number {number}")
    name = str(UUID(bytes=source))
    return Gtid(f"{name}:{number}", name, number, _commit_time(body))


@_reader
def read_anonymous_gtid(body: bytes) -> Gtid:
    """Reads an ANONYMOUS_GTID of MySQL (gtid_mode=OFF)."""
    _GTID.unpack_from(body)
    return Gtid("", "", 0, _commit_time(body))


def _commit_time(body: bytes) -> int:
    """The immediate commit time, which follows the logical timestamps (type 2, two numbers) since MySQL 8.0.1."""
    at = _GTID.size
    if len(body) < at + 17 + _COMMIT_TIME_BYTES or body[at] != 2:
        return 0
    at += 17
    return int.from_bytes(body[at : at + _COMMIT_TIME_BYTES], "little") & ~_ORIGINAL_FOLLOWS


@_reader
def read_tagged_gtid(body: bytes) -> Gtid:
    """Reads a GTID_TAGGED of MySQL 8.3 and newer: a message of the serialization library, numbered fields in order.

    Fields: 0 flags, 1 uuid (16 integers), 2 number, 3 tag, 4 last committed, 5 sequence number, 6 immediate commit
    time, ...; those from 7 on are not needed and come after.
    """
    version, at = _varlen(body, 0)
    size, at = _varlen(body, at)
    required, at = _varlen(body, at)
    if version != 1 or size != len(body) or required > 12:
        raise ValueError(f"message of version {version}, size {size}, needing field {required - 1}")
    source, number, tag, time_us = b"", 0, "", 0
    while at < len(body):
        name, at = _varlen(body, at)
        if name == 1:
            source, at = _uuid(body, at)
        elif name == 3:
            length, at = _varlen(body, at)
            tag, at = body[at : at + length].decode("ascii"), at + length
        elif name in (0, 2, 4, 5, 6):
            value, at = _varlen(body, at)
            value = value >> 1 ^ -(value & 1) if name in (2, 4, 5) else value
            number = value if name == 2 else number
            time_us = value if name == 6 else time_us
        else:
            break
    if len(source) != 16 or number <= 0:
        raise ValueError("no uuid or no number")
    text = str(UUID(bytes=source)) + (f":{tag}" if tag else "")
    return Gtid(f"{text}:{number}", text, number, time_us)


def _varlen(body: bytes, at: int) -> tuple[int, int]:
    """An integer of 1 to 9 bytes: as many one bits at the low end of the first byte as bytes follow it, then a zero bit
    (none after eight ones), then the value, little endian."""
    first = body[at]
    more = (~first & (first + 1)).bit_length() - 1 if first != 0xFF else 8
    if at + 1 + more > len(body):
        raise ValueError("cut short")
    whole = int.from_bytes(body[at : at + 1 + more], "little")
    return whole >> (more + 1 if more < 8 else 8), at + 1 + more


def _uuid(body: bytes, at: int) -> tuple[bytes, int]:
    """Sixteen bytes, each as an integer of its own."""
    parts = []
    for _ in range(16):
        part, at = _varlen(body, at)
        parts.append(part)
    return bytes(parts), at


def read_mariadb_gtid(body: bytes, server: int) -> Gtid:
    """Reads a GTID of MariaDB.

    Args:
        body: the event's body.
        server: the header's server id (`Events.servers`), the middle part of the GTID.
    """
    try:
        sequence, domain, flags = _MARIADB_GTID.unpack_from(body)
    except struct.error as error:
        raise broken(f"MariaDB GTID event: {error}") from error
    return Gtid(
        f"{domain}-{server}-{sequence}",
        str(domain),
        sequence,
        0,
        standalone=bool(flags & _STANDALONE),
        transactional=bool(flags & _TRANSACTIONAL),
        prepared_xa=bool(flags & _PREPARED_XA),
        completed_xa=bool(flags & _COMPLETED_XA),
    )


@_reader
def read_gtid_list(body: bytes) -> list[str]:
    """Reads a GTID_LIST of MariaDB: the last GTID of every domain and server before this file, as text."""
    (count,) = struct.unpack_from("<I", body)
    count &= 0x0FFFFFFF
    if 4 + count * _LISTED.size > len(body):
        raise ValueError("cut short")
    listed = (_LISTED.unpack_from(body, 4 + i * _LISTED.size) for i in range(count))
    return [f"{domain}-{server}-{sequence}" for domain, server, sequence in listed]


@_reader
def read_query(body: bytes) -> Query:
    """Reads a QUERY."""
    _, _, database_length, error_code, variables_length = _QUERY.unpack_from(body)
    at = _QUERY.size + variables_length
    if at + database_length + 1 > len(body) or body[at + database_length]:
        raise ValueError("cut short")
    collation = _collation(body[_QUERY.size : at])
    text = body[at + database_length + 1 :]
    return Query(body[at : at + database_length].decode(), charsets.text(text, collation), error_code, collation)


_VARIABLE_SIZES = {0: 4, 1: 8, 3: 4}
"""Status variables that the server writes before the charset, with their sizes; 2 and 6 are names with a length."""


def _collation(variables: bytes) -> int:
    """Number of the client's collation among a QUERY's status variables; 0 if it is not there."""
    at = 0
    while at < len(variables):
        kind = variables[at]
        at += 1
        if kind == _CHARSET_VARIABLE:
            return int.from_bytes(variables[at : at + 2], "little")
        if kind in _VARIABLE_SIZES:
            at += _VARIABLE_SIZES[kind]
        elif kind in (2, 6):
            at += 1 + (variables[at] if at < len(variables) else 0) + (kind == 2)
        else:
            return 0
    return 0


@_reader
def read_xid(body: bytes) -> int:
    """Reads an XID, the commit of a transaction: its number in the storage engine."""
    return int(struct.unpack_from("<Q", body)[0])


@_reader
def read_xa_prepare(body: bytes) -> bool:
    """Reads an XA_PREPARE, the end of the first half of an XA transaction; whether it commits at once (one phase)."""
    one_phase, _, first, second = struct.unpack_from("<BIII", body)
    if first + second > len(body) - 13:
        raise ValueError("cut short")
    return bool(one_phase)
