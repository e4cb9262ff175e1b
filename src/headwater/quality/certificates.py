"""Certificates: what comparing a mirror with its source showed, kept in the state store.

One SQLite table beside the ledger of rejects. A certificate is never changed; the newest `KEPT` of each table are kept.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

KEPT = 1000

Verdict = Literal["equal", "rejected", "different"]
"""equal: to the last bit. rejected: equal but for rows that the ledger of rejects holds. different: anything else."""

DDL = """
CREATE TABLE IF NOT EXISTS certificates (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    stream TEXT NOT NULL,
    verdict TEXT NOT NULL,
    made_us INTEGER NOT NULL,
    contents TEXT NOT NULL
)
"""


@dataclass(frozen=True)
class Difference:
    """One row that is not the same on both sides.

    Attributes:
        key: as rejects have it, the whole row's canonical texts if it has none.
        what: missing (here), extra (here), differs, or rejected.
        columns: which differ.
        count: how many equal rows, of a table without a key.
    """

    key: str
    what: str
    columns: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True)
class Certificate:
    """The outcome of one comparison.

    Attributes:
        source, stream, table: what was compared.
        verdict: see `Verdict`.
        position: at which position of the source, as the source writes it.
        commit: the same as a number: every transaction below it was compared.
        epoch, offset: the lake's epoch and the log offset from which on the log's changes were added to it.
        rows, rows_here: number of rows at the source and here.
        checksum, checksum_here: of all rows (`headwater.digest`).
        buckets, buckets_differing: in how many parts, and how many of those differ.
        differences: rows that differ, of those looked at; `listed` holds the first of them.
        complete: every part that differs was looked at row by row.
        rejected: rows that are missing here because the ledger holds them.
        rejects_open: open rejects of the stream.
        began_us, made_us: when it began and ended, microseconds since 1970 UTC.
        listed: see `differences`.
    """

    source: str
    stream: str
    table: str
    verdict: Verdict
    position: str
    commit: int
    epoch: int
    offset: int
    rows: int
    rows_here: int
    checksum: str
    checksum_here: str
    buckets: int
    buckets_differing: int
    differences: int
    complete: bool
    rejected: int
    rejects_open: int
    began_us: int
    made_us: int
    listed: tuple[Difference, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


class Certificates:
    """The certificates over the state store's one connection.

    Args:
        connection: to the state store.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(DDL)

    def add(self, certificate: Certificate) -> None:
        """Keeps one; inside the caller's transaction."""
        self._connection.execute(
            "INSERT INTO certificates (source, stream, verdict, made_us, contents) VALUES (?, ?, ?, ?, ?)",
            (
                certificate.source,
                certificate.stream,
                certificate.verdict,
                certificate.made_us,
                json.dumps(certificate.as_dict()),
            ),
        )
        self._connection.execute(
            "DELETE FROM certificates WHERE source = ? AND stream = ? AND id NOT IN (SELECT id FROM certificates"
            " WHERE source = ? AND stream = ? ORDER BY id DESC LIMIT ?)",
            (certificate.source, certificate.stream) * 2 + (KEPT,),
        )

    def entries(self, *, newest_only: bool = False) -> list[Certificate]:
        """Certificates, newest first; with `newest_only` one of each table."""
        query = "SELECT contents FROM certificates ORDER BY id DESC"
        if newest_only:
            query = (
                "SELECT contents FROM certificates WHERE id IN (SELECT max(id) FROM certificates GROUP BY source,"
                " stream) ORDER BY source, stream"
            )
        return [_certificate(json.loads(text)) for (text,) in self._connection.execute(query)]


def _certificate(contents: Mapping[str, object]) -> Certificate:
    listed = contents["listed"]
    assert isinstance(listed, list)
    rows = tuple(Difference(**{**row, "columns": tuple(row["columns"])}) for row in listed)
    return Certificate(**{**contents, "listed": rows})  # type: ignore[arg-type]
