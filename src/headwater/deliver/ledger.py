"""What delivery needs of the ledger of rejects; the runtime brings it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from headwater.errors import HeadwaterError


@dataclass(frozen=True)
class Parked:
    """A record that cannot go on.

    Attributes:
        seq: its number in the outbox.
        epoch: the epoch that made the change.
        key: as text; "" without one.
        reason: refused by the destination, or gave_up after too many tries.
        message: why.
        weight: -1 of a DELETE, else 1.
        record: whole (`headwater.deliver.record.record_bytes`).
    """

    seq: int
    epoch: int
    key: str
    reason: str
    message: str
    weight: int
    record: bytes


class Ledger(Protocol):
    """The entries of one sync in the ledger of rejects, stage `delivery`. An entry belongs to a record for good, so
    that entering it twice changes nothing."""

    def park(self, records: Sequence[Parked]) -> None:
        """Enters records, durable when it returns; those entered before are open again, tried once more."""

    def delivered(self, seqs: Iterable[int]) -> None:
        """Notes that parked records went through."""

    def superseded(self, seqs: Iterable[int]) -> None:
        """Notes that a later change made parked records moot."""

    def discarded(self, seqs: Iterable[int]) -> None:
        """Notes that parked records were given up."""

    def keep_open(self, seqs: Iterable[int]) -> None:
        """Notes that of all entries of this sync only these still wait: the others went through."""

    def full(self) -> HeadwaterError | None:
        """Why it takes no more records for now; None if it does. It takes those that are parked all the same."""

    def asked(self) -> tuple[list[int], list[int]]:
        """Records that users want to be tried again, and those that they have given up, by way of the ledger."""


class NoLedger:
    """Takes nothing; for trying out a destination."""

    def park(self, records: Sequence[Parked]) -> None:
        """Nothing."""

    def delivered(self, seqs: Iterable[int]) -> None:
        """Nothing."""

    def superseded(self, seqs: Iterable[int]) -> None:
        """Nothing."""

    def discarded(self, seqs: Iterable[int]) -> None:
        """Nothing."""

    def keep_open(self, seqs: Iterable[int]) -> None:
        """Nothing."""

    def full(self) -> HeadwaterError | None:
        """Never."""
        return None

    def asked(self) -> tuple[list[int], list[int]]:
        """Nothing."""
        return [], []
