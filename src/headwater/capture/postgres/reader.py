"""One open reading of a PostgreSQL source: the snapshot first if there is one, then the stream, and beside it tables
that are read again or are new."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from headwater import failpoint
from headwater.capture.incremental import FIRST
from headwater.capture.postgres.course import StreamCourse
from headwater.capture.postgres.newcomers import Found, Newcomers
from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.rereading import Rereading
from headwater.capture.postgres.resume import RUNNING, Standing, confirmable
from headwater.capture.postgres.selection import matches, qualify
from headwater.capture.postgres.snapshot import Snapshot
from headwater.capture.postgres.stream import Stream
from headwater.capture.progress_ledger import Confirmed
from headwater.capture.request import Progress, Request
from headwater.capture.worklist import Task, Worklist
from headwater.change import Group
from headwater.errors import SchemaChanged, UserError
from headwater.position import Boundary

BUSY_S = 0.005
"""The stream is waited for no longer than this while tables are read beside it."""


@dataclass(frozen=True)
class Opening:
    """What a reading begins with.

    Attributes:
        start: begins to stream; called when the snapshot is through.
        beside: makes what reads tables beside the stream.
        standing: goes into resume points.
        work: what is to be read beside the stream.
        newcomers: makes what looks for new tables.
        placed: commit and ordinal of the last row that the log has, if that stood beside the stream.
        mode: the setting `snapshot`.
    """

    start: Callable[[], tuple[Stream, Relations]]
    beside: Callable[[Worklist, Relations, StreamCourse, tuple[int, int]], Rereading]
    standing: Standing
    work: Worklist
    newcomers: Callable[[], Newcomers]
    placed: tuple[int, int] = (0, 0)
    mode: str = "initial"


class PostgresReader:
    """See `headwater.capture.source.Reader`.

    Args:
        opening: see there.
        snapshot: what to read first; None if the log has it.
        first: a group to hand over before the stream's.
    """

    def __init__(self, opening: Opening, snapshot: Snapshot | None = None, first: Group | None = None) -> None:
        self._opening = opening
        self._first = first
        self._snapshot = snapshot
        self._work = opening.work
        self._stream: Stream | None = None
        self._waiting: list[Request] = []
        self._confirmed = Confirmed(0)
        self._torn = self._asked = False
        if snapshot is None:
            self._follow()

    def _follow(self) -> Stream:
        """Begins to stream."""
        opening = self._opening
        stream, self._relations = opening.start()
        self._stream = stream
        stream.transactions()  # from now on it keeps them
        self._course = StreamCourse(stream, opening.standing, self._work)
        placed = opening.placed if self._snapshot is None else self._snapshot.placed
        self._newcomers = opening.newcomers()
        self._rereading = opening.beside(self._work, self._relations, self._course, placed)
        return stream

    def poll(self, timeout_s: float) -> Group | None:
        """See `Reader.poll`."""
        if self._first is not None:
            first, self._first = self._first, None
            return self._course.stamp(first)
        if self._snapshot is not None and not self._snapshot.finished:
            return self._snapshot.poll(timeout_s)
        stream = self._stream or self._follow()
        beside = None if self._torn else self._step(stream)
        if beside is not None:
            return beside
        group = stream.poll(min(timeout_s, BUSY_S) if self._rereading.busy else timeout_s)
        return None if group is None else self._observed(stream, group)

    def _reread(self) -> None:
        """Asks for the tables of which rows are not known any more since their definition changed.

        Raises:
            SchemaChanged: they must not be read.
        """
        unknown = self._relations.known.reread
        for table, number in list(unknown.items()):
            try:
                self.ask(Request(number, "snapshot", (table,)))
            except UserError as error:
                raise SchemaChanged(
                    f"the definition of table {table} has changed so that its rows are not known any more: {error}",
                    hint="headwater source resnapshot reads all tables of the source anew",
                ) from error
            self._work.distrust([table])
            del unknown[table]

    def _observed(self, stream: Stream, group: Group) -> Group:
        self._torn = group.more
        self._reread()  # before the group is judged: what it does to such a table may not fit the rows that are there
        return self._course.stamp(self._rereading.observe(group, *stream.transactions()))

    def _step(self, stream: Stream) -> Group | None:
        """What is to be handed over between two groups of the stream."""
        if (self._rereading.busy or self._asked) and not self._rereading.torn:
            quiet = stream.settle()
            if quiet is not None:
                quiet = self._observed(stream, quiet)
                if len(quiet):
                    return quiet
        for request in self._waiting:
            try:
                self._take(request)
            except UserError as error:
                self._asked = self._work.refuse(request, str(error)) or self._asked
        self._waiting = []
        self._reread()
        if not self._rereading.torn:
            found = self._newcomers.look(list(self._course.standing.tables))
            if found is not None:
                self._capture(found)
            if self._asked:
                self._asked = False
                return Group(self._course.boundary(0))
        return self._rereading.step()

    def _capture(self, found: Found) -> None:
        """Takes new tables in: from here on their changes are captured, and they are put on the worklist."""
        names = {table.stream_name for name in self._course.standing.tables if (table := self._relations.named(name))}
        refused = dict(found.refused)
        for table in found.tables:
            if table.stream_name in names:
                refused[table.qualified] = f"another table feeds the stream {table.stream_name!r} already"
                self._newcomers.refuse(table.qualified, refused[table.qualified])
                continue
            names.add(table.stream_name)
            self._relations.add(table)
            self._course.capture({table.qualified: table.oid})
            empty = self._opening.mode in ("schema_only", "never")
            self._work.add(Task(table.qualified, FIRST, state="stopped" if empty else "waiting"))
        for name, why in refused.items():
            self._work.add(Task(name, FIRST, state="stopped", message=why))
        self._asked = True

    def confirm(self, boundary: Boundary) -> None:
        """See `Reader.confirm`. A snapshot under way has nothing to confirm: the slot stands at its beginning."""
        failpoint.reach("capture.confirm.before")
        if boundary.resume.get("snapshot") != RUNNING:
            lsn = confirmable(boundary.resume)
            self._confirmed.move(lsn)
            if self._stream is not None:
                self._stream.confirm(lsn)
        failpoint.reach("capture.confirm.after")

    def ask(self, request: Request) -> None:
        """See `Reader.ask`. During the initial snapshot it is kept for after that."""
        if request.action == "snapshot" and self._opening.mode == "never":
            raise UserError("the source's setting `snapshot: never` forbids to read rows", hint="snapshot: schema_only")
        if self._stream is None:
            if request not in self._waiting:
                self._waiting.append(request)
            return
        self._take(request)

    def _take(self, request: Request) -> None:
        tables = self._named(request.tables)
        if request.action == "snapshot":
            self._rereading.require_possible(tables, request.where)
        self._asked = self._work.ask(request, tables) or self._asked

    def _named(self, patterns: Sequence[str]) -> list[str]:
        """The captured tables meant.

        Raises:
            UserError: one of the patterns means none.
        """
        known = sorted(self._course.standing.tables)
        names: dict[str, None] = {}
        for pattern in map(qualify, patterns):
            found = [name for name in known if matches(name, [pattern])]
            if not found:
                raise UserError(f"no captured table is called {pattern!r}", hint=f"captured are: {', '.join(known)}")
            names.update(dict.fromkeys(found))
        return list(names)

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        if self._snapshot is not None and self._stream is None:
            return self._snapshot.work.progress()
        return self._work.progress()

    def lag_bytes(self) -> int | None:
        """See `Reader.lag_bytes`. Unknown while the snapshot is read, and not none while there may be new tables."""
        lag = self._stream.lag_bytes() if self._stream else None
        return None if self._stream and not lag and self._newcomers.busy else lag

    def close(self) -> None:
        """See `Reader.close`."""
        if self._snapshot is not None:
            self._snapshot.close()
        if self._stream is not None:
            self._rereading.close()
            self._newcomers.close()
            self._stream.close()
