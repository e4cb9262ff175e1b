"""Where in a source a change stands, and from where a source can be read on.

A *position* identifies one change: (commit, ordinal). For PostgreSQL `commit` is the LSN of the transaction's commit
record and `ordinal` the change's number inside the transaction, because an LSN alone does not identify a row (a COPY of
a thousand rows carries eight distinct LSNs). Only commit boundaries are points to resume at.
"""

from __future__ import annotations

from dataclasses import dataclass, field

JsonScalar = str | int | float | bool | None
Resume = dict[str, JsonScalar]
"""What a source needs to read on from a boundary, in its own words; JSON, opaque to everybody else."""


@dataclass(frozen=True, order=True)
class Position:
    """One change's place in its source; totally ordered within that source.

    Attributes:
        commit: unsigned 64 bit; the source's commit order (PostgreSQL: commit LSN).
        ordinal: the change's number within the commit, from 0.
    """

    commit: int
    ordinal: int = 0


@dataclass(frozen=True)
class Boundary:
    """The end of a whole number of transactions: what the log stores with a group and what is confirmed to a source.

    Attributes:
        position: position of the last change or commit included.
        resume: where the source reads on from after this boundary.
        commit_time_us: the source's own commit time of the last transaction, microseconds since 1970 UTC; 0 if unknown.
        snapshot: the initial snapshot is not complete yet; rows are in no order of time, so watermarks stand still.
    """

    position: Position
    resume: Resume = field(default_factory=dict)
    commit_time_us: int = 0
    snapshot: bool = False
