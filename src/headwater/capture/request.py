"""What a user may ask of a source that is being read, and how far what was asked for has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["snapshot", "pause", "resume", "stop", "resnapshot", "accept_gap", "accept_change"]
"""snapshot: read tables whole while following their changes; pause, resume and stop say how to go on with the snapshots
asked for so far. resnapshot and accept_gap are *decisions* about a source whose position is lost: read all tables again
from a new position, or go on from where the source can without what lies in between. accept_change is one about a table
whose definition has changed, and that the source stopped at."""

DECISIONS: tuple[Action, ...] = ("resnapshot", "accept_gap", "accept_change")
"""What `Source.open` carries out; a reading that is open is closed first."""

State = Literal["waiting", "running", "paused", "done", "stopped"]


@dataclass(frozen=True)
class Request:
    """A wish of the user's.

    Attributes:
        id: unique; a request is carried out once, however often it is handed over.
        action: see `Action`.
        tables: schema.table, or database.table; of pause, resume and stop all that were asked for if empty.
        where: SQL condition on the tables' rows, in the source's own dialect; empty for all rows.
        cause: of accept_gap, the cause of the loss that was accepted (`PositionLost.cause`); empty for any.
        reason: why, in the user's words; kept with what comes of it.
    """

    id: str
    action: Action
    tables: tuple[str, ...] = ()
    where: str = ""
    cause: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Progress:
    """How far the snapshot of one table is.

    Attributes:
        table: schema.table, or database.table.
        state: see `State`.
        rows: rows read so far.
        expected: how many there may be, by the source's statistics; None if unknown.
        message: what there is to say, for instance why it was stopped or what it waits for.
    """

    table: str
    state: State
    rows: int
    expected: int | None = None
    message: str = ""
