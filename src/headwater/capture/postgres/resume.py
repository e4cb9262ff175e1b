"""What a PostgreSQL source writes into its resume points, and reads back from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from headwater.capture.postgres.known import Known
from headwater.capture.postgres.lsn import lsn_text, parse_lsn
from headwater.capture.postgres.publication import Stamps
from headwater.errors import InvariantBroken
from headwater.position import Boundary, Position, Resume

RUNNING, UNFINISHED, DONE = "running", "unfinished", "done"
"""The initial snapshot: being read before the slot's changes, cut short and being finished beside them, complete."""


@dataclass(frozen=True)
class Standing:
    """What must still be the same when reading goes on.

    Attributes:
        system: the cluster's system identifier.
        timeline: its timeline when reading began.
        database: name of the database.
        slot: name of the replication slot.
        tables: captured tables, schema.table to id.
        published: stamps of the publication when reading began; None if they were not taken.
        restart: the slot's restart_lsn when reading began; it never goes back.
        decided: id of the last decision of the user's that was carried out.
        known: the captured tables' definitions, which change under way.
    """

    system: str
    timeline: int
    database: str
    slot: str
    tables: Mapping[str, int]
    published: Stamps | None = None
    restart: int = 0
    decided: str = ""
    known: Known = field(default_factory=Known, compare=False)

    def resume(self, lsn: int, snapshot: str = DONE, snapshots: str = "", *, held: int | None = None) -> Resume:
        """The resume point at `lsn`: every transaction that commits before it is in the log, and none after.

        Args:
            lsn: see above.
            snapshot: how far the initial snapshot is: RUNNING, UNFINISHED or DONE.
            snapshots: the text of a `Worklist`, of what is being read or to be read of tables.
            held: where the first transaction was prepared that has not ended; it must be sent again.
        """
        return {
            **({} if held is None else {"held": lsn_text(held)}),
            "lsn": lsn_text(lsn),
            "snapshot": snapshot,
            "snapshots": snapshots,
            "system": self.system,
            "timeline": self.timeline,
            "database": self.database,
            "slot": self.slot,
            "tables": json.dumps(self.tables, separators=(",", ":")),
            "published": json.dumps(vars(self.published), separators=(",", ":")) if self.published else "",
            "restart": lsn_text(self.restart),
            "decided": self.decided,
            "definitions": self.known.text(),
        }


def boundary_before(
    standing: Standing,
    lsn: int,
    ordinal: int = 0,
    snapshot: str = DONE,
    snapshots: str = "",
    *,
    held: int | None = None,
) -> Boundary:
    """A boundary that is not a commit: everything that commits before `lsn` is included.

    Its position is the byte before `lsn`, because a commit record may begin at `lsn` itself: with `lsn` as its commit,
    the first changes after a snapshot could stand at positions that the snapshot's rows have already. The ordinal is in
    the resume point too, so that what is read beside the stream goes on counting from there.
    """
    resume = {**standing.resume(lsn, snapshot, snapshots, held=held), "ordinal": ordinal}
    return Boundary(Position(lsn - 1, ordinal), resume, snapshot=snapshot != DONE)


def standing_of(resume: Resume) -> Standing:
    """The standing that a resume point was written under.

    Raises:
        InvariantBroken: it is not one of ours.
    """
    try:
        tables = json.loads(str(resume["tables"]))
        named = (str(resume["database"]), str(resume["slot"]))
        published = Stamps(**json.loads(str(resume["published"]))) if resume.get("published") else None
        restart, decided = parse_lsn(str(resume.get("restart") or "0/0")), str(resume.get("decided") or "")
        place = (str(resume["system"]), int(resume["timeline"] or 0), *named)
        known = Known.from_text(str(resume.get("definitions") or ""))
        return Standing(*place, tables, published, restart, decided, known)
    except (KeyError, ValueError) as error:
        raise InvariantBroken(f"a resume point of a PostgreSQL source lacks {error}") from error


def lsn_of(resume: Resume) -> int:
    """The LSN of a resume point."""
    return parse_lsn(str(resume.get("lsn")))


def confirmable(resume: Resume) -> int:
    """The LSN before which the server need keep nothing for us: that of the resume point, or of an earlier transaction
    that was prepared and has neither committed nor been rolled back."""
    held = resume.get("held")
    return min(lsn_of(resume), parse_lsn(str(held))) if held else lsn_of(resume)
