"""MySQL (5.7 or newer) and MariaDB (10.5 or newer) as a source: a consistent snapshot, then every change from the
binary log.

How it is read: several connections begin a transaction that sees the databases as of one place of the binary log and
read the tables; then the binary log follows from that very place, as a replica reads it. Nothing is made in the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import pymysql

from headwater.capture.gap import Gap, gap_reject
from headwater.capture.mysql.catalog import TableEntry, list_tables, read_definitions
from headwater.capture.mysql.chunks import Chunks
from headwater.capture.mysql.connection import Connection, ask, connect, failed
from headwater.capture.mysql.diagnosis import diagnose
from headwater.capture.mysql.history import History
from headwater.capture.mysql.layout import make_table
from headwater.capture.mysql.lost import LogEnd
from headwater.capture.mysql.pinned import Pinned, pin
from headwater.capture.mysql.place import Place
from headwater.capture.mysql.preconditions import notes, require_filters, require_format, require_server, require_tables
from headwater.capture.mysql.reader import MysqlReader
from headwater.capture.mysql.record import unframe
from headwater.capture.mysql.resnapshot import ORDINAL, first_tasks
from headwater.capture.mysql.resume import RUNNING, Standing, boundary_before, place_of, standing_of
from headwater.capture.mysql.rows import decode_record
from headwater.capture.mysql.selection import Selection, default_server_id
from headwater.capture.mysql.server import Server, read_head, read_server
from headwater.capture.mysql.settings import MysqlSettings
from headwater.capture.mysql.snapshot import READ, Snapshot
from headwater.capture.mysql.stream import Stream
from headwater.capture.mysql.table import Layout, Table
from headwater.capture.mysql.transactions import Assembler
from headwater.capture.mysql.verification import MysqlTableAt
from headwater.capture.mysql.watch import MysqlWatcher
from headwater.capture.request import Request
from headwater.capture.schema_policy import SchemaGuard
from headwater.capture.worklist import Task, Worklist
from headwater.change import ChangeBatch, Group
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, PositionLost, SourceStopped, UserError
from headwater.finding import Finding
from headwater.mysql_url import parse_url
from headwater.position import Boundary, Position, Resume
from headwater.schema import StreamSchema


@dataclass(frozen=True)
class Survey:
    """What was found on the server: how it is set up, and the tables to be captured."""

    server: Server
    entries: Sequence[TableEntry]


class MysqlSource:
    """See `headwater.capture.source.Source`.

    Args:
        name: the source's name in the project.
        settings: from `headwater.yml`.
        project: name of the project; part of the default server id.
        identity: stable id of the state folder, part of the default server id; empty before its first run.
        clock: time.
    """

    def __init__(
        self,
        name: str,
        settings: MysqlSettings,
        *,
        project: str,
        identity: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.server_id = settings.server_id or default_server_id(project, name, identity)
        self._mark = f"headwater-{project}-{name}-{identity}"[:60]
        self._clock = clock or SystemClock()
        self._opened = False

    @property
    def _reads(self) -> bool:
        """Whether tables are read before their changes are followed."""
        return self.settings.snapshot not in ("schema_only", "never")

    @property
    def _selection(self) -> Selection:
        database = parse_url(self.settings.url.get_secret_value()).database
        return Selection(self.settings.tables, self.settings.text_columns, database)

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`."""
        return False

    def check(self) -> list[str]:
        """See `Source.check`."""
        with self._connected() as connection:
            survey = self._survey(connection)
            head = read_head(connection, survey.server)
            tables = self._tables(connection, survey.entries)
        names = ", ".join(table.qualified for table in tables)
        by = f"GTID, now {head.gtid or 'none yet'}" if self._by_gtid(survey.server) else "file and offset"
        return [
            f"captures {len(tables)} table{'s' if len(tables) != 1 else ''}: {names}",
            f"reads the binary log as replica {self.server_id}, from {head} on; its place is kept by {by}",
            *(f"{table.qualified} has no key: every row is kept as it comes" for table in tables if not table.key),
            *notes(survey.server, survey.entries),
        ]

    def diagnose(self, resume: Resume | None) -> Sequence[Finding]:
        """See `headwater.capture.diagnosable.Diagnosable`."""
        return diagnose(self, resume, self._clock)

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """See `Source.discover`."""
        if resume is not None and resume.get("snapshot") != RUNNING:
            standing = standing_of(resume)
            return [table.stream for table in History(standing.tables, self._selection).captured()]
        with self._connected() as connection:
            return [table.stream for table in self._tables(connection, self._survey(connection).entries)]

    def open(self, resume: Resume | None, decision: Request | None = None) -> MysqlReader:
        """See `Source.open`."""
        if resume is None:
            return self._begin(again=False)
        end = self._end(resume)
        if decision is not None and decision.id == end.standing.decided:
            decision = None
        if decision is not None and decision.action == "resnapshot":
            return self._begin(again=True, era=end.place.era + 1, decided=decision.id)
        if decision is not None and decision.action == "accept_change":
            accepted = *end.standing.accepted, *map(self._selection.full, decision.tables)
            end = replace(end, standing=replace(end.standing, accepted=accepted, decided=decision.id))
        if resume.get("snapshot") == RUNNING:
            return self._finish(end, resume)
        lost = self.examine(resume) if decision is not None and decision.action == "accept_gap" else None
        if decision is not None and lost is not None:
            return self._accept(end, lost, decision)
        try:
            return self._go_on(end, resume)
        except PositionLost as lost:
            if self.settings.snapshot != "when_needed":
                raise
            return self._begin(again=True, era=end.place.era + 1, decided=f"{lost.cause}:{end.place}")

    def examine(self, resume: Resume) -> PositionLost | None:
        """See `Source.examine`. A snapshot under way has no position to lose: it would begin again."""
        return None if resume.get("snapshot") == RUNNING else self._examine(self._end(resume))

    def _examine(self, end: LogEnd) -> PositionLost | None:
        try:
            with self._connected() as connection:
                server = read_server(connection)
                end.judge(connection, server, by_gtid=self._by_gtid(server))
        except PositionLost as lost:
            return lost
        return None

    def watcher(self) -> MysqlWatcher:
        """See `Source.watcher`."""
        return MysqlWatcher(self.name, self.settings, self._clock)

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        found = unframe(record)
        return decode_record(found, self._todays(found.layout))

    def table_at(self, table: str, resume: Resume | None = None) -> MysqlTableAt:
        """See `headwater.capture.verification.Verifiable`."""
        name = table if "." in table else f"{self._selection.database}.{table}"
        era = place_of(resume).era if resume is not None else 0
        with self._connected() as connection:
            survey = self._survey(connection)
        entries = [entry for entry in survey.entries if entry.qualified == name]
        if not entries:
            captured = ", ".join(entry.qualified for entry in survey.entries)
            raise UserError(f"table {name} is not captured", hint=f"captured: {captured}")
        pinned = pin(partial(connect, self.settings), survey.server, entries, 1, era)
        try:
            with self._connected() as connection:
                (found,) = self._tables(connection, entries)
        except HeadwaterError:
            pinned.close()
            raise
        return MysqlTableAt(pinned, found, entries[0].rows)

    def _todays(self, layout: Layout) -> Layout:
        """The layout under today's `text_columns`."""
        table, selection = layout.table, self._selection
        columns = tuple(
            replace(column, as_text=selection.is_text(table.database, table.name, column.name))
            for column in table.columns
        )
        return replace(layout, table=replace(table, columns=columns))

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection for a few questions."""
        connection = connect(self.settings, timeout_s=60.0)
        try:
            yield connection
        except pymysql.MySQLError as error:
            failed(error, f"asking the server about source {self.name!r}")
        finally:
            connection.close()

    def _survey(self, connection: Connection) -> Survey:
        """Looks at the server, finds the tables, and judges whether they can be captured."""
        server, selection = read_server(connection), self._selection
        require_server(connection, server, self.settings, self.server_id)
        entries = [entry for entry in list_tables(connection) if not entry.sequence]
        selection.require(entry.qualified for entry in entries)
        wanted = [entry for entry in entries if selection.wants(*entry.full_name)]
        require_tables(connection, wanted)
        require_filters(connection, server, sorted({entry.database for entry in wanted}))
        return Survey(server, wanted)

    def _tables(self, connection: Connection, entries: Sequence[TableEntry]) -> list[Table]:
        tables = [make_table(one, self._selection) for one in read_definitions(connection, entries)]
        _require_streams(tables)
        bags = [table for table in tables if not table.key]
        if bags and not self._reads:
            raise SourceStopped(
                f"table {bags[0].qualified} has no key, and with snapshot: {self.settings.snapshot} its rows so far "
                "are not known: nothing would tell which of them a DELETE takes",
                hint=f"give it a primary key, leave it out: tables: [..., '!{bags[0].qualified}'], or set "
                "snapshot: initial",
            )
        return tables

    def _by_gtid(self, server: Server) -> bool:
        return server.has_gtid and self.settings.position != "file"

    def _begin(self, *, again: bool, era: int = 0, decided: str = "") -> MysqlReader:
        with self._connected() as connection:
            survey = self._survey(connection)
            self._tables(connection, survey.entries)
            _require_decided(connection)
        pinned, standing = self._pin(survey, era, decided)
        try:
            tables = History(standing.tables, self._selection).captured()
            _require_streams(tables)
        except HeadwaterError:
            pinned.close()
            raise
        snapshot = Snapshot(pinned, tables, tables if self._reads or again else [], standing, again)
        self._opened = True
        return MysqlReader(partial(self._stream, standing, pinned.place), snapshot, mode=self.settings.snapshot)

    def _finish(self, end: LogEnd, resume: Resume) -> MysqlReader:
        """A snapshot was cut short. Its place still holds: changes are followed from there, and what was not read to
        its end is read meanwhile. If that place is lost, everything is emptied and read again."""
        if self._examine(end) is not None:
            return self._begin(again=True, era=end.place.era + 1, decided=end.standing.decided)
        tables = History(end.standing.tables, self._selection).captured()
        read = json.loads(str(resume.get(READ) or "[]"))
        worklist = Worklist(first_tasks(tables if self._reads else [], read))
        start = partial(self._stream, end.standing, end.place)
        self._opened = True
        return MysqlReader(start, None, None, worklist, int(resume.get(ORDINAL) or 0), self.settings.snapshot)

    def _pin(self, survey: Survey, era: int, decided: str) -> tuple[Pinned, Standing]:
        """Connections that see one place of the log, and the definitions in force there: the tables cannot be changed
        while the connections hold them."""
        count = self.settings.snapshot_connections if self._reads else 1
        pinned = pin(partial(connect, self.settings), survey.server, survey.entries, count, era)
        selection = self._selection
        try:
            with self._connected() as connection:
                known = [entry for entry in list_tables(connection) if selection.may_want(entry.database)]
                definitions = tuple(read_definitions(connection, known))
        except HeadwaterError:
            pinned.close()
            raise
        server = survey.server
        return pinned, Standing(server.flavor, server.identity, definitions, decided=decided)

    def _end(self, resume: Resume) -> LogEnd:
        return LogEnd(self.name, standing_of(resume), place_of(resume))

    def _go_on(self, end: LogEnd, resume: Resume) -> MysqlReader:
        """Reads on after the log's end, if nothing can be missing."""
        with self._connected() as connection:
            server = read_server(connection)
            require_format(server)
            end.judge(connection, server, by_gtid=self._by_gtid(server))
        moved = server.identity != end.standing.server
        standing = replace(end.standing, server=server.identity)
        place = replace(end.place, era=end.place.era + 1) if moved else end.place
        after = int(resume.get("after") or 0) or end.place.number
        worklist, ordinal = Worklist.from_text(resume.get("snapshots")), int(resume.get(ORDINAL) or 0)
        if self.settings.snapshot == "always" and not self._opened:
            for table in History(standing.tables, self._selection).captured():
                worklist.add(Task(table.qualified))
        self._opened = True
        first = None
        if standing.decided != resume["decided"]:  # the log must hear of it before the change comes
            told = {"decided": standing.decided, "accepted": json.dumps(standing.accepted)}
            first = Group(Boundary(Position(after - 1, ordinal), {**resume, **told}))
        start = partial(self._stream, standing, place, after)
        return MysqlReader(start, None, first, worklist, ordinal, self.settings.snapshot)

    def _accept(self, end: LogEnd, lost: PositionLost, decision: Request) -> MysqlReader:
        """Goes on without what is lost, from now, with the tables as they are now. Tables without a key are read again:
        nothing else would tell which of their rows are gone.

        Raises:
            PositionLost: it is another loss than the one accepted.
        """
        if decision.cause and decision.cause != lost.cause:
            raise lost
        with self._connected() as connection:
            survey = self._survey(connection)
        pinned, standing = self._pin(survey, end.place.era + 1, decision.id)
        pinned.close()
        gap = Gap(
            source=self.name,
            cause=lost.cause,
            message=lost.message,
            since=lost.since,
            until=str(pinned.place),
            lost_bytes=None,
            accepted_us=self._clock.now_us(),
            decision=decision.id,
            reason=decision.reason,
        )
        first = Group(boundary_before(standing, pinned.place), rejects=gap_reject(gap))
        bags = [one for one in History(standing.tables, self._selection).captured() if not one.key]
        worklist = Worklist(first_tasks(bags, ()))
        self._opened = True
        start = partial(self._stream, standing, pinned.place)
        return MysqlReader(start, None, first, worklist, mode=self.settings.snapshot)

    def _stream(self, standing: Standing, place: Place, after: int | None = None) -> tuple[Stream, Chunks]:
        with self._connected() as connection:
            server = read_server(connection)
            head = read_head(connection, server, place.era)
        policy = partial(self.settings.schema_policy, database=self._selection.database)
        guard = SchemaGuard(self.name, policy, list(standing.accepted))
        history = History(standing.tables, self._selection, folded=server.folded, guard=guard)
        assembler = Assembler(history, standing, place, after)
        chunks = Chunks(partial(connect, self.settings), server, place.era, self.settings.snapshot_chunk_rows)
        stream = Stream(
            connect(self.settings),
            assembler,
            source=self.name,
            server_id=self.server_id,
            mark=self._mark,
            by_gtid=self._by_gtid(server),
            head=head,
            heartbeat_s=self.settings.heartbeat_s,
            clock=self._clock,
        )
        return stream, chunks


def _require_streams(tables: Sequence[Table]) -> None:
    """Looks whether every table feeds a stream of its own.

    Raises:
        SourceStopped: two would feed one.
    """
    seen: dict[str, Table] = {}
    for table in tables:
        other = seen.setdefault(table.stream.name, table)
        if other is not table:
            raise SourceStopped(
                f"tables {other.qualified} and {table.qualified} would both feed the stream {table.stream.name!r}",
                hint=f"leave one out: tables: [..., '!{table.qualified}']",
            )


def _require_decided(connection: Connection) -> None:
    """Looks whether XA transactions wait for their commit: what they changed is in no snapshot, and the binary log has
    it from before.

    Raises:
        SourceStopped: some do.
    """
    try:
        waiting = ask(connection, "XA RECOVER")
    except pymysql.MySQLError:
        return
    if waiting is not None:
        raise SourceStopped(
            f"XA transactions are prepared and undecided, {waiting['data']!r} for one: their changes would be lost",
            hint="let them be committed or rolled back: XA RECOVER; XA COMMIT '...'; XA ROLLBACK '...';",
        )
