"""Reading what a server sends in bulk: whole packets of a connection, a buffer at a time.

PyMySQL makes the connection (TLS, authentication); from there its socket is read directly, for it would make Python
objects of every packet. Source: "Client/Server Protocol" in MySQL's manual.
"""

from __future__ import annotations

import selectors
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from headwater.capture.mysql.connection import Connection, server_error
from headwater.capture.mysql.packet_kernels import Bytes, Integers, frame_packets
from headwater.errors import SourceUnavailable

BLOCK_BYTES = 2 << 20
SMALL_BYTES = 64 << 10
"""Less than this is copied out, so that a quiet source does not hold a block for every few bytes."""

PACKETS_AT_ONCE = 1 << 16
COM_QUERY = 0x03
_SEND_TIMEOUT_S = 60.0
_OK, _EOF, _ERROR = 0x00, 0xFE, 0xFF
_EOF_BYTES_MAX = 9


@dataclass(frozen=True)
class Frames:
    """Payloads of packets: packet i is buffer[begins[i]:ends[i]]."""

    buffer: Bytes
    begins: Integers
    ends: Integers

    def __len__(self) -> int:
        return int(self.begins.size)

    def payload(self, at: int) -> bytes:
        """One packet as bytes."""
        return self.buffer[int(self.begins[at]) : int(self.ends[at])].tobytes()

    def part(self, begin: int, stop: int) -> Frames:
        """The packets from `begin` up to `stop`."""
        return Frames(self.buffer, self.begins[begin:stop], self.ends[begin:stop])


class Packets:
    """The packets of one connection, which nobody else may use while one of its commands is answered.

    Args:
        connection: between two commands.
        doing: what is being done with it, for errors.
    """

    def __init__(self, connection: Connection, doing: str) -> None:
        self._socket = cast(Any, connection)._sock
        self._doing = doing
        self._timeout = self._socket.gettimeout()
        self._buffer: Bytes = np.empty(BLOCK_BYTES, np.uint8)
        self._filled = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ)

    def send(self, command: int, payload: bytes) -> None:
        """Sends a command of less than 16 MiB.

        Raises:
            SourceUnavailable: the connection broke.
        """
        with self._broken():
            self._socket.settimeout(_SEND_TIMEOUT_S)
            self._socket.sendall(struct.pack("<IB", len(payload) + 1, command) + payload)
            self._socket.settimeout(0.0)

    def release(self) -> None:
        """Gives the connection back to PyMySQL, after the answer was read to its end."""
        self._selector.close()
        self._socket.settimeout(self._timeout)

    def read(self, timeout_s: float | None) -> Frames | None:
        """The whole packets that are there, waiting at most so long for the first; None if none came.

        Raises:
            SourceUnavailable: the connection broke.
        """
        with self._broken():
            while True:
                fresh = self._fill()
                frames = self._frame() if fresh else None
                if frames is not None:
                    return frames
                if not fresh and not self._selector.select(timeout_s):
                    return None

    def _fill(self) -> bool:
        """Takes in what the socket has, up to the buffer's end; whether anything came."""
        before = self._filled
        if self._filled == self._buffer.size:
            self._grow()
        view = memoryview(cast(Any, self._buffer))
        while self._filled < view.nbytes:
            try:
                got = self._socket.recv_into(view[self._filled :])
            except (BlockingIOError, ssl.SSLWantReadError):
                break
            if got == 0:
                if self._filled > before:
                    break
                raise SourceUnavailable(f"{self._doing}: the server closed the connection", hint="trying again")
            self._filled += got
        return self._filled > before

    def _grow(self) -> None:
        larger = np.empty(2 * self._buffer.size, np.uint8)
        larger[: self._filled] = self._buffer[: self._filled]
        self._buffer = larger

    def _frame(self) -> Frames | None:
        begins, ends = np.empty(PACKETS_AT_ONCE, np.int64), np.empty(PACKETS_AT_ONCE, np.int64)
        parts, at = [], 0
        while True:
            count, at = frame_packets(self._buffer, at, self._filled, begins, ends)
            if count:
                parts.append((begins[:count].copy(), ends[:count].copy()))
            if count < PACKETS_AT_ONCE:
                break
        if not parts:
            return None
        found = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        return Frames(self._hand_out(at), *found)

    def _hand_out(self, used: int) -> Bytes:
        """The first `used` bytes, which are the caller's from now on; the rest is what the next packets begin with."""
        rest = self._filled - used
        if used < SMALL_BYTES:
            out = self._buffer[:used].copy()
            self._buffer[:rest] = self._buffer[used : self._filled].copy()
        else:
            out, block = self._buffer, np.empty(max(BLOCK_BYTES, 2 * rest), np.uint8)
            block[:rest] = out[used : self._filled]
            self._buffer = block
        self._filled = rest
        return out[:used]

    @contextmanager
    def _broken(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SourceUnavailable(f"{self._doing}: {error}", hint="trying again") from error

    def close(self) -> None:
        """Stops reading; the connection is its owner's to close."""
        self._selector.close()


def raise_error(payload: bytes, doing: str) -> None:
    """Raises the error that an ERR packet tells of; returns if it is none.

    Raises:
        SourceUnavailable: it may pass.
        SourceStopped: it will not.
    """
    if payload[:1] == b"\xff":
        code, text = read_error(payload)
        raise server_error(code, text, doing)


def read_error(payload: bytes) -> tuple[int, str]:
    """Number and text of an ERR packet."""
    (code,) = struct.unpack_from("<H", payload, 1)
    text = payload[9:] if payload[3:4] == b"#" else payload[3:]
    return code, text.decode(errors="replace")


def is_end(payload: bytes) -> bool:
    """Whether a packet of a text result ends it."""
    return payload[:1] == b"\xfe" and len(payload) < _EOF_BYTES_MAX


def select(connection: Connection, query: str, doing: str) -> Iterator[Frames]:
    """The rows of a query in the text protocol, unbuffered: packets as they come, each one row.

    The connection is free again when the iterator is through; one that is left before must be closed.

    Raises:
        SourceUnavailable: the connection broke, or the server is busy.
        SourceStopped: the server will not answer.
    """
    packets = Packets(connection, doing)
    packets.send(COM_QUERY, query.encode())
    heads = None
    while True:
        frames = packets.read(None)
        if frames is None:
            continue
        begin = 0
        if heads is None:
            raise_error(frames.payload(0), doing)
            heads = int(frames.buffer[frames.begins[0]]) if frames.buffer[frames.begins[0]] < 251 else _count(frames)
            heads, begin = heads + 1, 1  # the definitions of the columns and the EOF after them
        skipped = min(heads, len(frames) - begin)
        heads, begin = heads - skipped, begin + skipped
        if begin == len(frames):
            continue
        last = frames.payload(len(frames) - 1)
        raise_error(last, doing)
        ended = is_end(last)
        rows = frames.part(begin, len(frames) - ended)
        if len(rows):
            yield rows
        if ended:
            packets.release()
            return


def _count(frames: Frames) -> int:
    """A length-encoded count of more than 250 columns."""
    return int.from_bytes(frames.payload(0)[1:3], "little")
