"""Log sequence numbers: byte positions in PostgreSQL's write-ahead log."""

from __future__ import annotations

from headwater.errors import InvariantBroken


def lsn_text(lsn: int) -> str:
    """A position as PostgreSQL writes it, "16/B374D848"."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def parse_lsn(text: str) -> int:
    """A position from its text.

    Raises:
        InvariantBroken: it is none.
    """
    high, slash, low = text.partition("/")
    try:
        if not slash:
            raise ValueError(text)
        return int(high, 16) << 32 | int(low, 16)
    except ValueError as error:
        raise InvariantBroken(f"{text!r} is not an LSN") from error
