"""How the room, the keeper and the turns speak: JSON headers with a length before them, over sockets of one machine."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

LENGTH = struct.Struct(">I")
MOST_HEADER = 16 << 20
"""Largest header, bytes."""

Header = dict[str, Any]


def frame(header: Header) -> bytes:
    """A header as it is sent."""
    text = json.dumps(header).encode()
    return LENGTH.pack(len(text)) + text


def receive(connection: socket.socket) -> Header:
    """The next header.

    Raises:
        EOFError: the other end is gone.
    """
    (size,) = LENGTH.unpack(receive_bytes(connection, LENGTH.size))
    if size > MOST_HEADER:
        raise EOFError("this is no header")
    found: Header = json.loads(receive_bytes(connection, size))
    return found


def receive_bytes(connection: socket.socket, size: int) -> bytes:
    """So many bytes.

    Raises:
        EOFError: the other end is gone.
    """
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError("the other end is gone")
        parts += part
    return bytes(parts)
