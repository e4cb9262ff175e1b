"""What an operator is given to work with: one of the view's workers, each with its share of every keyed state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from headwater.engine.accounting import Ledger
from headwater.engine.session import Session
from headwater.engine.state.memory import Memory

Late = Literal["update", "reject", "drop"]


@dataclass
class Arrival:
    """The time at which the batch at work was applied, in microseconds since 1970 UTC."""

    now_us: int = 0


@dataclass(frozen=True)
class Worker:
    """One worker; its operators are used by one thread at a time.

    Attributes:
        session: DuckDB connection of its own.
        ledger: counts and rejects of its own; the graph sums them up.
        late: what happens to rows whose windows are closed.
        memory: where arrays and rows that are kept come from; shared by all workers.
        number: from 0.
        count: how many workers there are.
        arrival: when the batch at work was applied; the same for all workers.
    """

    session: Session
    ledger: Ledger
    late: Late = "update"
    memory: Memory = field(default_factory=Memory)
    number: int = 0
    count: int = 1
    arrival: Arrival = field(default_factory=Arrival)

    @property
    def frees(self) -> bool:
        """Windows that are closed get no more rows, so that what is kept of them may go."""
        return self.late != "update"
