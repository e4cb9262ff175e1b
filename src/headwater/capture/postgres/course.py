"""The stream and what is read beside it, as one order of groups with one resume point."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from headwater.capture.postgres.resume import DONE, UNFINISHED, Standing, lsn_of
from headwater.capture.postgres.stream import Stream
from headwater.capture.worklist import ENDED, Worklist
from headwater.change import Group
from headwater.position import Boundary, Position, Resume


class StreamCourse:
    """See `headwater.capture.postgres.desk.Course`.

    Args:
        stream: the stream.
        standing: goes into resume points.
        work: what is read beside the stream, and so part of every resume point.
    """

    def __init__(self, stream: Stream, standing: Standing, work: Worklist) -> None:
        self._stream, self._work = stream, work
        self.standing = standing

    def stamp(self, group: Group) -> Group:
        """A group of the stream, its resume point telling of the worklist."""
        boundary = group.boundary
        resume = {**boundary.resume, **self._told()}
        return replace(group, boundary=replace(boundary, resume=resume, snapshot=self._phase() != DONE))

    def boundary(self, ordinal: int) -> Boundary:
        """A boundary here and now. Like a heartbeat's, its position is the byte before what it resumes at."""
        resume = {**self._stream.resume, **self._told(), "ordinal": ordinal}
        return Boundary(Position(self.reached() - 1, ordinal), resume, snapshot=self._phase() != DONE)

    def reached(self) -> int:
        """An LSN before which every commit has been handed over."""
        return lsn_of(self._stream.resume)

    def ask(self) -> None:
        """Asks the server how far it is."""
        self._stream.ask()

    def capture(self, tables: Mapping[str, int]) -> None:
        """More tables are captured from here on, schema.table to id."""
        self.standing = replace(self.standing, tables={**self.standing.tables, **tables})

    def _phase(self) -> str:
        """How far the initial snapshot is."""
        return UNFINISHED if any(task.initial and task.state not in ENDED for task in self._work.tasks()) else DONE

    def _told(self) -> Resume:
        return {
            "snapshot": self._phase(),
            "snapshots": self._work.text(),
            "definitions": self.standing.known.text(),
            "tables": json.dumps(self.standing.tables, separators=(",", ":")),
        }
