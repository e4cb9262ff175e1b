"""Bytes by row: what each field of a message becomes, before the rows are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import UserError
from headwater.formats.nodes import Bytes, Longs
from headwater.formats.protobuf.writing_kernels import MOST_OF_VARINT, put_numbers, put_spans, weave

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Wire types (protobuf.dev, "Encoding")."""


@dataclass(frozen=True)
class Piece:
    """Attributes:
    data: uint8.
    bounds: int64 [row + 1]: where each row's bytes begin; the last is where they end.
    """

    data: Bytes
    bounds: Longs

    def spread(self, mask: NDArray[np.bool_]) -> Piece:
        """The same rows where the mask is true, and rows without bytes where it is not."""
        lengths = np.zeros(len(mask), np.int64)
        lengths[mask] = np.diff(self.bounds)
        return Piece(self.data, _bounds(lengths))

    def grouped(self, places: Longs) -> Piece:
        """Fewer rows: row i has the bytes of the rows from places[i] up to places[i + 1]."""
        return Piece(self.data, np.ascontiguousarray(self.bounds[places]))


def tag(number: int, wire: int) -> Bytes:
    """What stands before a field; nothing for number 0."""
    out, bounds = np.empty(MOST_OF_VARINT, np.uint8), np.zeros(2, np.int64)
    if number == 0:
        return out[:0]
    size = put_numbers(out[:0], np.array([number << 3 | wire], np.int64), out, bounds)
    return out[:size].copy()


def numbers(before: Bytes, values: Longs) -> Piece:
    """A varint for each value, after the tag."""
    out = np.empty((MOST_OF_VARINT + len(before)) * len(values), np.uint8)
    bounds = np.zeros(len(values) + 1, np.int64)
    size = put_numbers(before, np.ascontiguousarray(values, np.int64), out, bounds)
    return Piece(out[:size], bounds)


def words(before: Bytes, values: NDArray[np.generic]) -> Piece:
    """The bytes of each value of a fixed width, the small end first, after the tag."""
    width = values.dtype.itemsize
    data = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False)).view(np.uint8)
    return spans(before, data, np.arange(0, width * (len(values) + 1), width, dtype=np.int64), with_length=False)


def spans(before: Bytes, data: Bytes, bounds: Longs, *, with_length: bool = True) -> Piece:
    """Bytes by row, after the tag and their length.

    Raises:
        UserError: they are more than 2 GiB.
    """
    return scattered(before, data, bounds[:-1], bounds[1:], with_length=with_length)


def scattered(before: Bytes, data: Bytes, starts: Longs, ends: Longs, *, with_length: bool = True) -> Piece:
    """As `spans`, of rows whose bytes do not follow each other."""
    room = int((ends - starts).sum()) + len(starts) * (len(before) + MOST_OF_VARINT)
    out, made = np.empty(_possible(room), np.uint8), np.zeros(len(starts) + 1, np.int64)
    given = np.ascontiguousarray(starts), np.ascontiguousarray(ends)
    size = put_spans(before, data, *given, int(with_length), out, made)
    return Piece(out[:size], made)


def woven(rows: int, parts: Sequence[Piece]) -> Piece:
    """All parts of each row, one after the other.

    Raises:
        UserError: they are more than 2 GiB.
    """
    if not parts:
        return Piece(np.empty(0, np.uint8), np.zeros(rows + 1, np.int64))
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.data) for part in parts)])
    data = np.concatenate([part.data for part in parts])
    table = np.stack([part.bounds + start for part, start in zip(parts, starts[:-1], strict=True)])
    out, bounds = np.empty(_possible(len(data)), np.uint8), np.zeros(rows + 1, np.int64)
    size = weave(data, table, out, bounds)
    return Piece(out[:size], bounds)


def _bounds(lengths: Longs) -> Longs:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))


def _possible(room: int) -> int:
    if room > 0x7FFFFFFF:
        raise UserError("a batch of messages is larger than 2 GiB")
    return room
