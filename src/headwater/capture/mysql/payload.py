"""What compressed events hold: MySQL's TRANSACTION_PAYLOAD and MariaDB's compressed QUERY and rows.

Sources: class `Transaction_payload` in MySQL's source documentation (fields of type, length and value, all packed
integers: 1 payload size, 2 compression, 3 uncompressed size, 0 end of the header); "Compressed binlog events" in
MariaDB's knowledge base (a header byte of 0x80, algorithm in bits 4 to 6, and the number of bytes of the uncompressed
length that follows, high byte first; then zlib).

All of it raises ValueError for bytes that are not that. No more than `limit` bytes are ever made of them.
"""

from __future__ import annotations

import zlib

import pyarrow as pa

LIMIT = 1 << 30
"""Default size of what one event may hold, in bytes: the server's own largest max_allowed_packet."""

_END, _SIZE, _COMPRESSION, _UNCOMPRESSED = 0, 1, 2, 3
_ZSTD, _NONE = 0, 255
_QUERY = 2
_UPDATES = frozenset({24, 31})
_V2 = frozenset({30, 31, 32})
_QUERY_HEADER = 13


def packed(data: bytes, at: int) -> tuple[int, int]:
    """A packed ("length-encoded") integer and the offset after it.

    Raises:
        ValueError: there is none.
    """
    if at >= len(data):
        raise ValueError("cut short")
    first = data[at]
    if first < 251:
        return first, at + 1
    width = {252: 2, 253: 3, 254: 8}.get(first, 0)
    if not width or at + 1 + width > len(data):
        raise ValueError("not a packed integer")
    return int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width


def transaction(body: bytes, limit: int) -> bytes:
    """The events, end to end, that a TRANSACTION_PAYLOAD holds."""
    fields: dict[int, int] = {}
    at = 0
    while True:
        kind, at = packed(body, at)
        if kind == _END:
            break
        length, at = packed(body, at)
        if at + length > len(body):
            raise ValueError("a field is cut short")
        if kind in (_SIZE, _COMPRESSION, _UNCOMPRESSED):
            fields[kind] = packed(body, at)[0]
        at += length
    content = body[at:]
    if fields.get(_SIZE, len(content)) != len(content):
        raise ValueError("its content does not have the size that it says")
    compression = fields.get(_COMPRESSION, _NONE)
    if compression == _NONE:
        return content
    if compression != _ZSTD:
        raise ValueError(f"unknown compression {compression}")
    return _unzstd(content, fields.get(_UNCOMPRESSED), limit)


def _unzstd(content: bytes, expected: int | None, limit: int) -> bytes:
    if expected is not None and expected > limit:
        raise ValueError(f"it holds {expected} bytes, more than the limit of {limit}")
    try:
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            data = bytes(stream.read(limit + 1 if expected is None else expected + 1))
    except (OSError, pa.ArrowException) as error:
        raise ValueError("its content is not zstd") from error
    if len(data) > limit:
        raise ValueError(f"it holds more than the limit of {limit} bytes")
    if expected is not None and len(data) != expected:
        raise ValueError("it does not hold as much as it says")
    return data


def plain(kind: int, body: bytes, limit: int) -> bytes:
    """The body of the plain event of type `kind` that a compressed one of MariaDB's stands for."""
    at = _query_text(body) if kind == _QUERY else _rows_data(kind, body)
    return body[:at] + _inflated(body[at:], limit)


def _query_text(body: bytes) -> int:
    """Where the statement begins: after the header, the status variables, the database and its end."""
    if len(body) < _QUERY_HEADER:
        raise ValueError("cut short")
    return _QUERY_HEADER + body[8] + int.from_bytes(body[11:13], "little") + 1


def _rows_data(kind: int, body: bytes) -> int:
    """Where the rows begin: after table id, flags, number of columns and the bitmaps of columns."""
    at = 8
    if kind in _V2:
        at += int.from_bytes(body[8:10], "little")
    columns, at = packed(body, at)
    return at + (columns + 7) // 8 * (2 if kind in _UPDATES else 1)


def _inflated(data: bytes, limit: int) -> bytes:
    if not data:
        raise ValueError("cut short")
    header = data[0]
    algorithm, width = (header & 0x70) >> 4, header & 0x07
    if algorithm or not header & 0x80 or not 1 <= width <= 4 or len(data) <= width:
        raise ValueError(f"unknown compression header {header:#x}")
    expected = int.from_bytes(data[1 : 1 + width], "big")
    if expected > limit:
        raise ValueError(f"it holds {expected} bytes, more than the limit of {limit}")
    engine = zlib.decompressobj()
    try:
        content = engine.decompress(data[1 + width :], expected + 1)
    except zlib.error as error:
        raise ValueError("its content is not zlib") from error
    if len(content) != expected or not engine.eof:
        raise ValueError("it does not hold as much as it says")
    return content
