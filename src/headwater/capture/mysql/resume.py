"""What a MySQL source writes into its resume points, and reads back from them."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, replace
from functools import cached_property

from headwater.capture.mysql.definition import TableDefinition, from_json, to_json
from headwater.capture.mysql.place import Place
from headwater.errors import InvariantBroken
from headwater.position import Boundary, Position, Resume

RUNNING, DONE = "running", "done"


@dataclass(frozen=True)
class Standing:
    """What must still be the same when reading goes on, and the tables as they are at that place of the log.

    Attributes:
        flavor: mysql or mariadb.
        server: identifies the server: its UUID, or MariaDB's server_uid; empty if it has none.
        tables: the definitions in force, captured tables and those that may become so.
        version: of the schema history: how many statements have changed the definitions.
        decided: id of the user's last decision that was carried out.
        accepted: tables, database.table, of which the next change is accepted, whatever it is.
    """

    flavor: str
    server: str
    tables: tuple[TableDefinition, ...] = ()
    version: int = 0
    decided: str = ""
    accepted: tuple[str, ...] = ()

    @cached_property
    def _packed(self) -> str:
        """The definitions, small: they stand in every resume point, and a log may begin at any."""
        return base64.b85encode(zlib.compress(to_json(self.tables).encode(), 9)).decode()

    def resume(self, place: Place, snapshot: str = DONE) -> Resume:
        """The resume point at `place`."""
        return {
            "file": place.file,
            "position": place.position,
            "gtid": place.gtid,
            "era": place.era,
            "snapshot": snapshot,
            "flavor": self.flavor,
            "server": self.server,
            "schema_version": self.version,
            "schema": self._packed,
            "decided": self.decided,
            "accepted": json.dumps(self.accepted),
        }

    def with_tables(self, tables: tuple[TableDefinition, ...], accepted: tuple[str, ...]) -> Standing:
        """After a statement that changed them."""
        return replace(self, tables=tables, version=self.version + 1, accepted=accepted)


def boundary_before(standing: Standing, place: Place, ordinal: int = 0, snapshot: str = DONE) -> Boundary:
    """A boundary that is not a commit: everything before `place` is included. Its position is the byte before, so that
    rows of a snapshot never stand at the position of the first transaction after it."""
    resume = standing.resume(place, snapshot)
    return Boundary(Position(place.number - 1, ordinal), resume, snapshot=snapshot == RUNNING)


def place_of(resume: Resume) -> Place:
    """The place of a resume point.

    Raises:
        InvariantBroken: it is not one of ours.
    """
    try:
        return Place(
            str(resume["file"]), int(resume["position"] or 0), str(resume["gtid"] or ""), int(resume["era"] or 0)
        )
    except (KeyError, ValueError) as error:
        raise InvariantBroken(f"a resume point of a MySQL source lacks {error}") from error


def standing_of(resume: Resume) -> Standing:
    """The standing that a resume point was written under.

    Raises:
        InvariantBroken: it is not one of ours.
    """
    try:
        text = zlib.decompress(base64.b85decode(str(resume["schema"]))).decode()
        named = str(resume["flavor"]), str(resume["server"])
        accepted = tuple(json.loads(str(resume.get("accepted") or "[]")))
        version, decided = int(resume["schema_version"] or 0), str(resume["decided"])
        return Standing(*named, tuple(from_json(text)), version, decided, accepted)
    except (KeyError, ValueError, TypeError, zlib.error) as error:
        raise InvariantBroken(f"a resume point of a MySQL source lacks {error}") from error
