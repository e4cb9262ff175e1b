"""The identity that proves nothing was lost: read = landed + rejected + filtered + late, and what is still under way.

Each side is counted where it happens: `read` by the log as records become durable, `landed` by the dataflow as an
epoch's changes are committed, `rejected` by the ledger, `filtered` and `late` by the source and the operators that
leave rows out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Account:
    """The counts of one stream or model, in records since it began.

    `in_flight` are records that are durable in the log and not yet part of a committed epoch.
    """

    read: int = 0
    landed: int = 0
    rejected: int = 0
    filtered: int = 0
    late: int = 0
    in_flight: int = 0

    @property
    def difference(self) -> int:
        """What the identity lacks: records unaccounted for if positive, counted twice if negative."""
        return self.read - self.landed - self.rejected - self.filtered - self.late - self.in_flight

    @property
    def holds(self) -> bool:
        """Whether the identity is true."""
        return self.difference == 0

    def as_dict(self) -> dict[str, int | bool]:
        """For JSON: the counts and whether they add up."""
        return {**asdict(self), "holds": self.holds}
