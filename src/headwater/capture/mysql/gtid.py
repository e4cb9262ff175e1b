"""Sets of global transaction ids: which transactions a place has before it."""

from __future__ import annotations

import struct
from typing import Protocol
from uuid import UUID


class GtidState(Protocol):
    """What has been read, in a server's own words."""

    def add(self, source: str, server: int, number: int) -> None:
        """Notes one transaction.

        Args:
            source: of MariaDB the domain, of MySQL uuid or uuid:tag.
            server: of MariaDB the server's id.
            number: its number.
        """

    def text(self) -> str:
        """As SQL takes it."""


class MariaDbGtids:
    """The last transaction of each domain: "domain-server-number" joined by commas.

    Args:
        text: to begin with.
    """

    def __init__(self, text: str = "") -> None:
        self.last: dict[int, tuple[int, int]] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            domain, server, number = map(int, part.split("-"))
            self.last[domain] = server, number

    def add(self, source: str, server: int, number: int) -> None:
        """See `GtidState.add`."""
        self.last[int(source)] = server, number

    def text(self) -> str:
        """See `GtidState.text`."""
        return ",".join(f"{domain}-{server}-{number}" for domain, (server, number) in sorted(self.last.items()))


class MysqlGtids:
    """Numbers by source, as closed intervals: "uuid:1-77:80,uuid:tag:1-3".

    Args:
        text: to begin with.
    """

    def __init__(self, text: str = "") -> None:
        self.intervals: dict[str, list[tuple[int, int]]] = {}
        for part in filter(None, (one.strip() for one in text.replace("\n", "").split(","))):
            source, *rest = part.split(":")
            name = source.lower()
            for piece in rest:
                if not piece[:1].isdigit():
                    name = f"{source.lower()}:{piece}"
                    continue
                first, _, last = piece.partition("-")
                self.intervals.setdefault(name, []).append((int(first), int(last or first)))

    def add(self, source: str, server: int, number: int) -> None:
        """See `GtidState.add`. The next number, the common case, lengthens the last interval."""
        known = self.intervals.setdefault(source, [])
        if known and known[-1][1] == number - 1:
            known[-1] = known[-1][0], number
        elif not any(first <= number <= last for first, last in known):
            known.append((number, number))
            self.intervals[source] = _joined(known)

    def text(self) -> str:
        """See `GtidState.text`."""
        parts = []
        for source, known in sorted(self.intervals.items()):
            spans = (f"{first}-{last}" if last > first else str(first) for first, last in known)
            parts.append(":".join([source, *spans]))
        return ",".join(parts)

    def encoded(self) -> bytes:
        """For COM_BINLOG_DUMP_GTID: count, then uuid, count and half-open intervals of each.

        Raises:
            ValueError: there are tags, which servers before 8.3 cannot take.
        """
        out = [struct.pack("<Q", len(self.intervals))]
        for source, known in sorted(self.intervals.items()):
            if ":" in source:
                raise ValueError(f"tagged GTIDs ({source})")
            out.append(UUID(source).bytes + struct.pack("<Q", len(known)))
            out += [struct.pack("<QQ", first, last + 1) for first, last in known]
        return b"".join(out)


def _joined(known: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(known):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    return joined


def gtid_state(flavor: str, text: str) -> GtidState:
    """The state that a text says.

    Args:
        flavor: mysql or mariadb.
    """
    return MariaDbGtids(text) if flavor == "mariadb" else MysqlGtids(text)
