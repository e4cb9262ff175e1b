"""TABLE_MAP: what the rows after it look like on the wire, and what the table's definition says as far as it is sent.

Source: class `Table_map_event` in MySQL's source documentation; MariaDB writes the same, including the optional
metadata (`binlog_row_metadata`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headwater.capture.mysql.events import broken
from headwater.capture.mysql.payload import packed

TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24 = 1, 2, 3, 4, 5, 6, 7, 8, 9
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141
VECTOR, JSON, NEWDECIMAL, ENUM, SET = 242, 245, 246, 247, 248
TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, VAR_STRING, STRING, GEOMETRY = 249, 250, 251, 252, 253, 254, 255
"""Types of columns on the wire (`enum_field_types`); 140 and 141 are MariaDB's compressed columns."""

_NO_META = frozenset({TINY, SHORT, LONG, NULL, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR, NEWDATE})
_ONE_BYTE = frozenset({FLOAT, DOUBLE, TIMESTAMP2, DATETIME2, TIME2, BLOB, GEOMETRY, JSON, VECTOR, BLOB_COMPRESSED})
_ONE_BYTE_MORE = frozenset({TINY_BLOB, MEDIUM_BLOB, LONG_BLOB})
_TWO_BYTES = frozenset({VARCHAR, VARCHAR_COMPRESSED, BIT, NEWDECIMAL, ENUM, SET, VAR_STRING, STRING})
_NUMERIC = frozenset({TINY, SHORT, LONG, FLOAT, DOUBLE, LONGLONG, INT24, NEWDECIMAL})
_CHARACTER = frozenset({VARCHAR, VARCHAR_COMPRESSED, VAR_STRING, STRING, BLOB, BLOB_COMPRESSED, *_ONE_BYTE_MORE})

_SIGNEDNESS, _DEFAULT_CHARSET, _COLUMN_CHARSET, _NAME, _SET_VALUES, _ENUM_VALUES = 1, 2, 3, 4, 5, 6
_GEOMETRY_TYPE, _PRIMARY_KEY, _PRIMARY_KEY_PREFIX, _ENUM_DEFAULT_CHARSET, _ENUM_CHARSET = 7, 8, 9, 10, 11

MAX_COLUMNS = 4096
"""MySQL's own limit; a table map that says more is broken, and no memory is laid out for it."""


@dataclass(frozen=True)
class TableMap:
    """A table as the rows after the event are written.

    Attributes:
        table_id: by which the rows name it; another one after every change of the table and every restart.
        database, table: its name.
        types: per column its type on the wire; ENUM and SET are told apart from the STRING that they are sent as.
        metas: per column the type's parameters: of STRING, VARCHAR and BIT lengths, of DECIMAL precision << 8 | scale,
            of temporal types the digits after the second, of blobs the bytes of a length, of ENUM and SET the bytes of
            a value.
        nullable: per column whether it may be null.
        unsigned: per column; None if it was not sent (MySQL before 8.0.1, MariaDB with NO_LOG).
        collations: per column the collation's number, 0 where there is none; None if they were not sent.
        names: None unless binlog_row_metadata=FULL; so also the following.
        values: per column the labels of an ENUM or SET as bytes in its charset, empty for others; None if not sent.
        key: indexes of the primary key's columns; empty if there is none or it was not sent.
    """

    table_id: int
    database: str
    table: str
    types: tuple[int, ...]
    metas: tuple[int, ...]
    nullable: tuple[bool, ...]
    unsigned: tuple[bool, ...] | None = None
    collations: tuple[int, ...] | None = None
    names: tuple[str, ...] | None = None
    values: tuple[tuple[bytes, ...], ...] | None = None
    key: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.types)

    @cached_property
    def wire(self) -> NDArray[np.int64]:
        """int64 [2, column] for the kernels: types and metas."""
        return np.array([self.types, self.metas], np.int64).reshape(2, len(self.types))


@dataclass
class _Optional:
    """The optional metadata while it is read, by column."""

    unsigned: tuple[bool, ...] | None = None
    collations: dict[int, int] = field(default_factory=dict)
    charsets_sent: bool = False
    names: tuple[str, ...] | None = None
    values: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    key: tuple[int, ...] = ()


def read_table_map(body: bytes) -> TableMap:
    """Reads the body of a TABLE_MAP event.

    Raises:
        SourceStopped: it is not one, or has a column of an unknown type.
    """
    try:
        return _read(body)
    except (ValueError, IndexError) as error:
        raise broken(f"table map: {error}") from error


def _read(body: bytes) -> TableMap:
    table_id = int.from_bytes(body[:6], "little")
    database, at = _name(body, 8)
    table, at = _name(body, at)
    count, at = packed(body, at)
    if not 0 < count <= MAX_COLUMNS or at + count > len(body):
        raise ValueError(f"{count} columns")
    sent, at = body[at : at + count], at + count
    size, at = packed(body, at)
    types, metas = _metas(sent, body[at : at + size])
    at += size
    nulls = (count + 7) // 8
    if at + nulls > len(body):
        raise ValueError("cut short")
    nullable = tuple(bool(body[at + i // 8] >> i % 8 & 1) for i in range(count))
    more = _optional(body[at + nulls :], types)
    collations = tuple(more.collations.get(i, 0) for i in range(count)) if more.charsets_sent else None
    values = tuple(more.values.get(i, ()) for i in range(count)) if more.names else None
    return TableMap(
        table_id, database, table, types, metas, nullable, more.unsigned, collations, more.names, values, more.key
    )


def _name(body: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + body[at]
    if end >= len(body):
        raise ValueError("cut short")
    return body[at + 1 : end].decode(), end + 1


def _metas(sent: bytes, data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Types and parameters of the columns, from the types as they are sent and the block of metadata."""
    types, metas, at = [], [], 0
    for number in sent:
        kind, meta = number, 0
        if kind in _ONE_BYTE or kind in _ONE_BYTE_MORE:
            meta = data[at]
            at += 1
        elif kind in _TWO_BYTES:
            if at + 2 > len(data):
                raise ValueError("metadata cut short")
            kind, meta = _two_bytes(kind, data[at], data[at + 1])
            at += 2
        elif kind not in _NO_META:
            raise ValueError(f"a column of the unknown type {kind}")
        _check(kind, meta)
        types.append(kind)
        metas.append(meta)
    return tuple(types), tuple(metas)


def _two_bytes(kind: int, first: int, second: int) -> tuple[int, int]:
    """Type and parameter of a column with two bytes of metadata."""
    if kind in (VARCHAR, VARCHAR_COMPRESSED):
        return kind, first | second << 8
    if kind == NEWDECIMAL:
        return kind, first << 8 | second
    if kind == BIT:
        return kind, second * 8 + first
    if kind in (ENUM, SET) or first in (ENUM, SET):
        return first if first in (ENUM, SET) else kind, second
    # The real type; of a CHAR the upper two bits of a length beyond 255 are hidden in it, inverted (bug #37426).
    if first & 0x30 != 0x30:
        return first | 0x30, second | (first & 0x30 ^ 0x30) << 4
    return first or kind, second


def _check(kind: int, meta: int) -> None:
    """Refuses parameters that no server writes, for the kernels take them as they are."""
    fine = True
    if kind in (TIMESTAMP2, DATETIME2, TIME2):
        fine = meta <= 6
    elif kind == NEWDECIMAL:
        fine = 1 <= meta >> 8 <= 65 and meta & 0xFF <= min(30, meta >> 8)
    elif kind in (BLOB, GEOMETRY, JSON, VECTOR, BLOB_COMPRESSED):
        fine = 1 <= meta <= 4
    elif kind == ENUM:
        fine = meta in (1, 2)
    elif kind == SET:
        fine = meta in (1, 2, 3, 4, 8)
    elif kind == BIT:
        fine = 1 <= meta <= 64
    elif kind == FLOAT:
        fine = meta == 4
    elif kind == DOUBLE:
        fine = meta == 8
    if not fine:
        raise ValueError(f"a column of type {kind} with the parameter {meta}")


def _optional(data: bytes, types: tuple[int, ...]) -> _Optional:
    found, at = _Optional(), 0
    while at < len(data):
        kind = data[at]
        size, at = packed(data, at + 1)
        if at + size > len(data):
            raise ValueError("optional metadata cut short")
        reader = _READERS.get(kind)
        if reader:
            reader(found, data[at : at + size], types)
        at += size
    return found


def _signedness(found: _Optional, data: bytes, types: tuple[int, ...]) -> None:
    """A bit for every numeric column, from the high end of each byte."""
    numeric = [i for i, kind in enumerate(types) if kind in _NUMERIC]
    bits = {i: bool(data[place // 8] >> 7 - place % 8 & 1) for place, i in enumerate(numeric)}
    found.unsigned = tuple(bits.get(i, False) for i in range(len(types)))


def _integers(data: bytes) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = packed(data, at)
        values.append(value)
    return values


def _default_charset(found: _Optional, data: bytes, columns: list[int]) -> None:
    """A collation for all, then pairs of column and collation for the others; columns count among their own kind."""
    default, *rest = _integers(data)
    others = dict(zip(rest[::2], rest[1::2], strict=True))
    found.collations |= {i: others.get(place, default) for place, i in enumerate(columns)}


def _column_charset(found: _Optional, data: bytes, columns: list[int]) -> None:
    found.collations |= dict(zip(columns, _integers(data), strict=True))


def _charsets(read: Callable[[_Optional, bytes, list[int]], None], kinds: frozenset[int]) -> _Read:
    def reader(found: _Optional, data: bytes, types: tuple[int, ...]) -> None:
        read(found, data, [i for i, kind in enumerate(types) if kind in kinds])
        found.charsets_sent = True

    return reader


def _strings(data: bytes, at: int, count: int) -> tuple[tuple[bytes, ...], int]:
    if count > len(data):
        raise ValueError("more strings than bytes")
    found = []
    for _ in range(count):
        size, at = packed(data, at)
        if at + size > len(data):
            raise ValueError("optional metadata cut short")
        found.append(data[at : at + size])
        at += size
    return tuple(found), at


def _names(found: _Optional, data: bytes, types: tuple[int, ...]) -> None:
    names, _ = _strings(data, 0, len(types))
    found.names = tuple(name.decode() for name in names)


def _labels(of: int) -> _Read:
    def reader(found: _Optional, data: bytes, types: tuple[int, ...]) -> None:
        at = 0
        for i, kind in enumerate(types):
            if kind == of:
                count, at = packed(data, at)
                found.values[i], at = _strings(data, at, count)

    return reader


def _key(found: _Optional, data: bytes, types: tuple[int, ...]) -> None:
    found.key = _columns(_integers(data), types)


def _key_with_prefix(found: _Optional, data: bytes, types: tuple[int, ...]) -> None:
    """Pairs of column and length of the prefix; 0 for all of it."""
    found.key = _columns(_integers(data)[::2], types)


def _columns(indexes: list[int], types: tuple[int, ...]) -> tuple[int, ...]:
    if any(i >= len(types) for i in indexes):
        raise ValueError("a key's column is not there")
    return tuple(indexes)


_Read = Callable[[_Optional, bytes, tuple[int, ...]], None]
_ENUMERATED = frozenset({ENUM, SET})
_READERS: dict[int, _Read] = {
    _SIGNEDNESS: _signedness,
    _DEFAULT_CHARSET: _charsets(_default_charset, _CHARACTER),
    _COLUMN_CHARSET: _charsets(_column_charset, _CHARACTER),
    _NAME: _names,
    _SET_VALUES: _labels(SET),
    _ENUM_VALUES: _labels(ENUM),
    _PRIMARY_KEY: _key,
    _PRIMARY_KEY_PREFIX: _key_with_prefix,
    _ENUM_DEFAULT_CHARSET: _charsets(_default_charset, _ENUMERATED),
    _ENUM_CHARSET: _charsets(_column_charset, _ENUMERATED),
}
"""What is not here (geometry types, visibility, dimensions of vectors) the rows do not need."""
