"""Reads a request's body as bytes, no further than is allowed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import ClientDisconnect, Request

from headwater.api.problem import Problem, busy


class Room:
    """How many bytes of bodies are held by all requests together. Used in the server's loop alone.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def held(self) -> Iterator[Share]:
        """A request's share, given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            self._taken -= share.size

    def take(self, share: Share, size: int) -> None:
        """Gives a share more bytes.

        Raises:
            Problem: there is no room.
        """
        if self._taken + size > self._most:
            raise busy("too much is being sent at once")
        self._taken += size
        share.size += size


class Share:
    """What one request holds of a `Room`."""

    def __init__(self, room: Room) -> None:
        self.size = 0
        self._room = room

    def take(self, size: int) -> None:
        """See `Room.take`."""
        self._room.take(self, size)


async def read_body(request: Request, share: Share, most: int) -> bytes:
    """The body as it was sent.

    Args:
        request: the request.
        share: what its bytes are counted to.
        most: largest size, bytes.

    Raises:
        Problem: it is larger (413), says a length that is none (400), or there is no room now (503).
    """
    told = request.headers.get("content-length")
    if told is not None and not (told.isascii() and told.isdigit()):
        raise Problem(400, "Content-Length is not a number")
    if told is not None and "transfer-encoding" in request.headers:  # a proxy before us may believe the other one
        raise Problem(400, "a body has a length or comes in chunks, not both", headers={"Connection": "close"})
    if told is not None and int(told) > most:
        raise too_large(most)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise too_large(most)
            share.take(len(part))
            parts.append(part)
    except ClientDisconnect as error:
        raise Problem(400, "the body did not come to its end") from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(most: int) -> Problem:
    """A body, as sent or as unpacked, is larger than `most` bytes."""
    return Problem(413, f"a body may have {most:,} bytes", most_bytes=most)
