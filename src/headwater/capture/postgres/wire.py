"""Messages of a COPY, of a snapshot as of the replication stream, taken from libpq many at a time.

libpq does the talking, TLS included. What it has received is copied end to end into one buffer by a compiled loop;
Python sees a buffer, never a message.
"""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
from numba import njit
from numpy.typing import NDArray
from psycopg import pq

from headwater.capture.postgres import libpq
from headwater.capture.postgres.connection import Connection, result_failed
from headwater.errors import InvariantBroken

_WAITING, _FULL, _ENDED, _BROKEN = 0, 1, -1, -2
"""How a compiled loop came to its end: nothing more there, room used up, COPY over, connection broken."""

_FRUITLESS = 3
"""So often libpq is asked to read before there is said to be nothing: TLS may hold back a record of 16 KiB that it has
read from the socket already, and libpq takes 8 KiB at least each time."""

_SMALL_BYTES, _SMALL_READS, _ANY_READS = 1 << 12, 2, 1 << 30
"""So many readings of fewer bytes than that in a row, and a server is only being chased from message to message, a
system call each. Through TLS every record is such a reading."""


@dataclass(frozen=True)
class Frames:
    """Messages end to end.

    Attributes:
        buffer: uint8.
        begins, ends: int64 per message, into `buffer`.
    """

    buffer: NDArray[np.uint8]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.begins.size)

    def __getitem__(self, at: int) -> bytes:
        """One message."""
        return self.buffer[int(self.begins[at]) : int(self.ends[at])].tobytes()

    @staticmethod
    def of(messages: Sequence[bytes]) -> Frames:
        """Those messages."""
        offsets = np.zeros(len(messages) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, messages), np.int64, len(messages)), out=offsets[1:])
        return Frames(np.frombuffer(bytearray().join(messages), np.uint8), offsets[:-1], offsets[1:])


class CopyReader:
    """Takes in the messages of a COPY that has begun on a connection; never waits.

    Args:
        connection: libpq's connection.
        rows, size: messages, and bytes, after which `Frames` are full; the last message may go beyond.
    """

    def __init__(self, connection: pq.abc.PGconn, rows: int, size: int) -> None:
        self._connection = connection
        self._functions = libpq.functions()
        self._address = int(getattr(connection, "pgconn_ptr", None) or 0)
        self._rows, self._size = rows, size
        self._small_reads = _ANY_READS if connection.ssl_in_use else _SMALL_READS
        self.ended = False
        """The server has ended the COPY; libpq's `get_result` says how."""
        self._broken = ""
        self._renew()

    def _renew(self) -> None:
        self._buffer = np.empty(self._size + (self._size >> 2), np.uint8)
        self._offsets = np.zeros(self._rows + 1, np.int64)
        self._count = 0

    def __len__(self) -> int:
        """Number of messages taken in."""
        return self._count

    @property
    def size(self) -> int:
        """Their bytes."""
        return int(self._offsets[self._count])

    @property
    def full(self) -> bool:
        """No more messages are taken in before `cut`."""
        enough = self._count >= self._rows or self.size >= self._size
        return enough or bool(self._broken and self._count)

    def fill(self) -> None:
        """Takes in what is there.

        Raises:
            psycopg.OperationalError: the connection broke, and nothing is left to be cut that came before.
        """
        if not (self.ended or self._broken or self.full):
            fill = self._fill_compiled if self._functions else self._fill_singly
            status = fill()
            self.ended = status == _ENDED
            if status == _BROKEN:
                self._broken = self._connection.get_error_message() or "the connection broke"
        if self._broken and not self._count:
            raise psycopg.OperationalError(self._broken)

    def cut(self, *, lent: bool = False) -> Frames:
        """What was taken in since the last cut; `lent`: only until the next `fill`."""
        offsets = self._offsets[: self._count + 1]
        frames = Frames(self._buffer[: int(offsets[-1])], offsets[:-1], offsets[1:])
        if lent and self._buffer.size <= 2 * self._size:
            self._count = 0
        elif self._count:
            self._renew()
        return frames

    def _fill_compiled(self) -> int:
        functions = self._functions or libpq.Functions(0, 0, 0)
        self._buffer, self._count, status = _take_in(
            *functions, self._address, self._buffer, self._offsets, self._count, self._size, self._small_reads
        )
        return int(status)

    def _fill_singly(self) -> int:
        """The same with psycopg's calls."""
        fruitless = 0
        while not self.full:
            try:
                length, message = self._connection.get_copy_data(1)
                if length == 0 and fruitless < _FRUITLESS:
                    self._connection.consume_input()
            except psycopg.OperationalError:
                return _BROKEN
            if length < 0:
                return _ENDED
            if length == 0 and fruitless == _FRUITLESS:
                return _WAITING
            fruitless = 0 if length else fruitless + 1
            if length:
                self._append(np.frombuffer(message, np.uint8))
        return _FULL

    def _append(self, message: NDArray[np.uint8]) -> None:
        start = int(self._offsets[self._count])
        end = start + message.size
        if end > self._buffer.size:
            self._buffer = np.concatenate((self._buffer[:start], np.empty(max(start, end - start) * 2, np.uint8)))
        self._buffer[start:end] = message
        self._count += 1
        self._offsets[self._count] = end


@njit(cache=True, nogil=True)
def _take_in(
    get: int,
    free: int,
    consume: int,
    connection: int,
    buffer: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    count: int,
    size: int,
    small_reads: int,
) -> tuple[NDArray[np.uint8], int, int]:
    """Appends messages to `buffer`, which grows where one does not fit.

    Args:
        get, free, consume, connection: addresses, see `libpq.Functions`.
        buffer: uint8, with `count` messages in it.
        offsets: int64, room for one more than the messages wanted; ends of those that are there.
        size: bytes after which it is enough.
        small_reads: after so many readings in a row that brought little, the rest is left to gather.

    Returns:
        The buffer, the number of messages in it, and why it ended.
    """
    fruitless, small, at = 0, 0, offsets[count]
    before = at
    while count < offsets.size - 1 and at < size:
        length, message = libpq.get_copy_data(get, connection)
        if length > 0:
            if at + length > buffer.size:
                grown = np.empty(2 * max(at, length), np.uint8)
                grown[:at] = buffer[:at]
                buffer = grown
            libpq.copy_bytes(buffer.ctypes.data + at, message, length)
            libpq.free(free, message)
            at += length
            count += 1
            offsets[count] = at
            fruitless = 0
        elif length < 0:
            return buffer, count, length
        else:
            small = small + 1 if before < at < before + _SMALL_BYTES else 0
            if fruitless == _FRUITLESS or small > small_reads:
                return buffer, count, _WAITING
            before = at
            fruitless += 1
            if libpq.consume_input(consume, connection) == 0:
                return buffer, count, _BROKEN
    return buffer, count, _FULL


def read_copy(connection: Connection, query: bytes, rows: int, size: int) -> Iterator[Frames]:
    """Runs a `COPY ... TO STDOUT` and gives its rows, each with its newline, in chunks; waits for the server.

    An iterator that is not read to its end leaves the COPY under way, which nothing but closing the connection ends.

    Args:
        connection: in no other command.
        query: the statement.
        rows, size: rows, and bytes, after which a chunk is full; the last row may go beyond.

    Raises:
        psycopg.OperationalError: the connection broke.
        SourceStopped, SourceUnavailable: the server refuses, or gave up under way.
    """
    wire = connection.pgconn
    waiter = select.poll()
    waiter.register(wire.socket, select.POLLIN)
    wire.send_query(query)
    _await_result(wire, waiter, pq.ExecStatus.COPY_OUT)
    reader = CopyReader(wire, rows, size)
    while True:
        reader.fill()
        if reader.ended:
            break
        if reader.full:
            yield reader.cut()
        else:
            waiter.poll()
    if len(reader):
        yield reader.cut()
    _await_result(wire, waiter, pq.ExecStatus.COMMAND_OK)
    while wire.get_result() is not None:
        pass


def _await_result(wire: pq.abc.PGconn, waiter: select.poll, expected: pq.ExecStatus) -> None:
    """Waits for the next result.

    Raises:
        SourceStopped, SourceUnavailable: it is an error.
    """
    while wire.is_busy():
        waiter.poll()
        wire.consume_input()
    result = wire.get_result()
    if result is None:
        raise InvariantBroken("a COPY ended without a result")
    if result.status != expected:
        while wire.get_result() is not None:
            pass
        result_failed(result, "reading by COPY")
