"""XA transactions: their rows come when they are prepared, and count when they are committed."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.capture.mysql.pieces import Item
from headwater.capture.mysql.place import Place
from headwater.capture.mysql.resume import Standing
from headwater.capture.mysql.statement import unquoted


@dataclass(frozen=True)
class Prepared:
    """An XA transaction that is prepared and not yet decided; reading must be able to begin before it."""

    items: list[Item]
    place: Place
    standing: Standing


def xid_of_event(body: bytes) -> str:
    """The id of an XA_PREPARE: after the phase a format, two lengths, and the bytes."""
    form, first, second = (int.from_bytes(body[at : at + 4], "little") for at in (1, 5, 9))
    data = body[13 : 13 + first + second]
    return f"{data[:first].hex()},{data[first:].hex()},{form}"


def xid_of_statement(sql: str) -> str:
    """The id in XA COMMIT X'67',X'62',1, the way in which servers write it."""
    parts = [part.strip() for part in sql.split(None, 2)[2].split(",")]
    values = [part[2:-1].lower() if part[:2].upper() == "X'" else unquoted(part).encode().hex() for part in parts[:2]]
    form = parts[2] if len(parts) > 2 else "1"
    return f"{values[0]},{values[1] if len(values) > 1 else ''},{form.split()[0]}"
