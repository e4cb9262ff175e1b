"""Unpacks a body that was sent as gzip or zstd, no further than is allowed: a small body can hold a very large one."""

from __future__ import annotations

import pyarrow as pa

from headwater.allocators import give_back
from headwater.errors import UserError

CODECS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
"""`Content-Encoding`s, as Arrow calls them."""
_PIECE_BYTES = 1 << 20


class TooLarge(UserError):
    """What a body holds is larger than is allowed."""

    code = "HW-BODY-SIZE"


def unpack(body: bytes, encoding: str, most: int) -> bytes:
    """What a body holds.

    Args:
        body: as sent.
        encoding: a key of `CODECS`.
        most: largest size unpacked, bytes. Not much more than that is ever held.

    Raises:
        TooLarge: it holds more.
        UserError: it is damaged or cut short.
    """
    if not body:
        raise UserError(f"the body is not whole {encoding}")
    parts: list[bytes] = []
    size = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), CODECS[encoding]) as stream:
            while part := stream.read(min(_PIECE_BYTES, most + 1 - size)):
                size += len(part)
                if size > most:
                    parts.clear()
                    give_back()  # or each thread's allocator keeps as much as one bomb held
                    raise TooLarge(f"unpacked, a body may have {most:,} bytes")
                parts.append(part)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"the body is not whole {encoding}") from error
    return b"".join(parts)
