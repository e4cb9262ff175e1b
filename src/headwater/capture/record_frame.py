"""How the records of database sources are kept as bytes that stand for themselves.

Format: a magic of 5 bytes that names the source's kind and the version, the length of a JSON header (4 bytes, big
endian), the header, then the bytes as the server sent them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

Place = tuple[int, int, int | None, int]
"""Commit, ordinal, time in microseconds if known, and weight."""

_LENGTH = struct.Struct(">I")


def framed(magic: bytes, header: Mapping[str, object], data: bytes) -> bytes:
    """Header and data as bytes."""
    encoded = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((magic, _LENGTH.pack(len(encoded)), encoded, data))


def opened(magic: bytes, data: bytes) -> tuple[Any, bytes]:
    """Header and data of those bytes.

    Raises:
        ValueError, struct.error: they have another magic, are cut off, or the header is no JSON.
    """
    if not data.startswith(magic):
        raise ValueError("no magic")
    start = len(magic) + _LENGTH.size
    (length,) = _LENGTH.unpack_from(data, len(magic))
    return json.loads(data[start : start + length]), data[start + length :]


def place_in(header: Any) -> Place:
    """Where a record was, as its header says.

    Raises:
        ValueError, KeyError, TypeError: it says what JSON can hold and we never wrote.
    """
    place = header["commit"], header["ordinal"], header["time_us"], header["weight"]
    if not all(type(each) is int and 0 <= each + (1 << 62) < 1 << 63 for each in place if each is not None):
        raise ValueError("a position that is none")
    return place


def require_fields(wire: Sequence[int], width: int, columns: int) -> None:
    """Refuses fields of a row that JSON can hold and we never wrote.

    Args:
        wire: for each column, which field of the row it is; -1: none.
        width: how many fields a row has.
        columns: how many columns there are.

    Raises:
        ValueError: they are such.
    """
    if not all(type(each) is int and -1 <= each <= width < 1 << 16 for each in [*wire, width]):
        raise ValueError("fields that are none")
    if width in wire or len(wire) != columns:
        raise ValueError("columns without a field")
