"""The contract for comparing a mirror with its source: a table of the source as it was at an exact position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from headwater.digest import Digests
from headwater.position import Resume
from headwater.schema import StreamSchema


class TableAt(Protocol):
    """A table as of one position, read in one consistent view that lasts until it is closed.

    Attributes:
        stream: what the table feeds, as of now; its columns and key are what is compared.
        position: every transaction with a `Position.commit` below it is in the view, and no other.
        told: the position as the source writes it.
        expected: about how many rows there are.
    """

    stream: StreamSchema
    position: int
    told: str
    expected: int

    def digests(self, buckets: int) -> Digests:
        """Digests of the table's rows (`headwater.digest`), computed at the source, in parts that take a few seconds.

        Raises:
            SourceUnavailable: the connection broke, and with it the view.
        """

    def rows(self, buckets: int, chosen: Sequence[int]) -> Iterator[pa.Table]:
        """The rows of the chosen buckets, decoded as capture does; rows with values that cannot be held are left out.

        Raises:
            SourceUnavailable: as for `digests`.
        """

    def close(self) -> None:
        """Gives up the view. May be called twice."""


class Verifiable(Protocol):
    """A source whose tables can be compared."""

    def table_at(self, table: str, resume: Resume | None = None) -> TableAt:
        """Opens a view of a captured table, schema.table or database.table, as of now.

        Args:
            table: its name.
            resume: where the log ends: what positions are counted from, if the source must know.

        Raises:
            UserError: it is not captured; the hint lists what is.
            SourceStopped, SourceUnavailable: it cannot be read.
        """
