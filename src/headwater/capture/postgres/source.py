"""PostgreSQL (14 or newer) as a source: a consistent snapshot, then every change from the write-ahead log.

How it is read: `open` makes a publication and a logical replication slot, whose creation exports a snapshot of the
database; the tables are read in that snapshot, then the slot's stream follows from the very LSN of the snapshot.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg

from headwater import failpoint
from headwater.capture.postgres.acceptance import gap_group, new_start
from headwater.capture.postgres.audit import TransactionLog
from headwater.capture.postgres.captured import still_there
from headwater.capture.postgres.catalog import Published, TableRow, as_wanted, list_tables, read_tables
from headwater.capture.postgres.chunk_reader import ChunkReader
from headwater.capture.postgres.connection import Connection, connect, cut_after, failed
from headwater.capture.postgres.course import StreamCourse
from headwater.capture.postgres.definition import Lookup
from headwater.capture.postgres.desk import TIMEOUTS, Desk
from headwater.capture.postgres.diagnosis import diagnose_server, watched
from headwater.capture.postgres.known import read_known
from headwater.capture.postgres.newcomers import Newcomers
from headwater.capture.postgres.preconditions import require_direct, require_free_slot, require_server, require_tables
from headwater.capture.postgres.publication import plan_publication, read_publication, read_stamps, require_published
from headwater.capture.postgres.reader import Opening, PostgresReader
from headwater.capture.postgres.record import unframe
from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.rereading import Rereading
from headwater.capture.postgres.resume import RUNNING, Standing, lsn_of, standing_of
from headwater.capture.postgres.resumption import OTHER_CLUSTER, LogEnd
from headwater.capture.postgres.rows import decode_record
from headwater.capture.postgres.selection import default_name, qualify, select_tables
from headwater.capture.postgres.settings import PostgresSettings
from headwater.capture.postgres.slot import (
    CreatedSlot,
    System,
    create_slot,
    drop_slot,
    identify_system,
    read_slot,
    require_ours,
    require_unused,
    set_failover,
)
from headwater.capture.postgres.snapshot import Snapshot, begin_snapshot, hold_tables
from headwater.capture.postgres.stream import Stream, Wanted
from headwater.capture.postgres.table import Layout, Table, notes, require_streams
from headwater.capture.postgres.transactions import Assembler
from headwater.capture.postgres.verification import PostgresTableAt, open_table_at
from headwater.capture.postgres.watch import PostgresWatcher
from headwater.capture.request import Request
from headwater.capture.worklist import Task, Worklist
from headwater.change import ChangeBatch
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, PositionLost, SourceUnavailable
from headwater.finding import Finding, sentences
from headwater.position import Resume
from headwater.schema import StreamSchema

T = TypeVar("T")

QUESTIONS = 2
"""How many times `query_timeout_s` all questions of one connection may take together."""

SLOT_FREE_WAIT_S = 3.0
"""How long `open` waits for a slot that is in use: the server may not have missed our own last reader yet."""


@dataclass(frozen=True)
class Survey:
    """What was found in the database: the captured tables and the statement that makes the publication right."""

    rows: Sequence[TableRow]
    tables: Sequence[Table]
    publish: str | None


class PostgresSource:
    """See `headwater.capture.source.Source`.

    Args:
        name: the source's name in the project.
        settings: from `headwater.yml`.
        project: name of the project; part of the default names of slot and publication.
        identity: stable id of the state folder, part of the slot's default name; empty before its first run. It makes
            a slot of that name ours alone, so that one left over from a crash before anything was stored can be
            dropped and made again.
        clock: time.
    """

    def __init__(
        self,
        name: str,
        settings: PostgresSettings,
        *,
        project: str,
        identity: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.slot = settings.slot or default_name(project, name, identity)
        self.publication = settings.publication or default_name(project, name)
        self._slot_is_ours = settings.slot is None and bool(identity)
        self._slot_is_named = bool(settings.slot or identity)
        self._catalog = Lookup(self._connected)
        self._clock = clock or SystemClock()
        self._opened = False
        self.scratch: Path | None = None
        """Where large transactions in progress are kept; None: where temporary files go."""
        self._observer: TransactionLog | None = None

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`."""
        self._observer = TransactionLog(self.name)
        return True

    def check(self) -> list[str]:
        """See `Source.check`."""
        with self._connected() as connection:
            survey = self._survey(connection)
            slot = read_slot(connection, self.slot) if self._slot_is_named else None
            if slot is None:
                require_free_slot(connection)
            with self._connected(replication=True) as replication:
                identify_system(replication)
        publication = "will be made" if survey.publish else "is there"
        names = [table.qualified for table in survey.tables]
        return [
            f"captures {len(names)} table{'s' if len(names) != 1 else ''}: {', '.join(names)}",
            f"publication {self.publication!r} {publication}" + (f": {survey.publish};" if survey.publish else ""),
            f"replication slot {self._slot_told()} " + ("will be made" if slot is None else "is there"),
            *(note for table in survey.tables for note in notes(table)),
        ]

    def _slot_told(self) -> str:
        """The slot's name; before a state folder's first run the end of a default name is not known yet."""
        return repr(self.slot) if self._slot_is_named else f"'{self.slot}_<id of the state folder>'"

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """See `Source.discover`."""
        with self._connected() as connection:
            tables = self._survey(connection, plan=False).tables
        if resume is None:
            return [table.stream for table in tables]
        captured = standing_of(resume).tables
        return [table.stream for table in tables if table.qualified in captured]

    def open(self, resume: Resume | None, decision: Request | None = None) -> PostgresReader:
        """See `Source.open`."""
        if resume is None:
            return self._begin(again=False)
        end = self._end(resume)
        if decision is not None and decision.action == "accept_change":
            end.standing.known.accepted += map(qualify, decision.tables)
            return self._go_on(end, resume, decided=decision.id)
        if decision is not None and decision.action == "resnapshot":
            return self._begin_again(replace(end.standing, decided=decision.id), moved=True)
        lost = self.examine(resume)
        if lost is None:
            return self._go_on(end, resume)
        if decision is not None:
            return self._accept(end, lost, decision, Worklist.from_text(resume.get("snapshots")))
        if resume.get("snapshot") == RUNNING:
            return self._begin_again(end.standing)
        if self.settings.snapshot == "when_needed":
            return self._begin_again(replace(end.standing, decided=f"{lost.cause}:{end.lsn}"), moved=True)
        raise lost

    def examine(self, resume: Resume) -> PositionLost | None:
        """See `Source.examine`."""
        try:
            self._patiently(partial(self._judge, self._end(resume)))
        except PositionLost as lost:
            return lost
        return None

    def diagnose(self, resume: Resume | None) -> list[Finding]:
        """See `Diagnosable.diagnose`."""
        name = self._end(resume).slot if resume else self.slot
        with self._connected() as connection:
            slot = read_slot(connection, name) if self._slot_is_named else None
            found = diagnose_server(connection, self.settings, name, self._clock)
        found += sentences("capture", self.check)
        if resume is None:
            return found
        if slot is not None and slot.active:
            found.append(Finding("position", "ok", f"slot {name!r} is being read, pid {slot.active_pid} at the server"))
        else:
            lost = self.examine(resume)
            told = Finding("position", "ok", f"slot {name!r} holds all that follows the log's end")
            found.append(told if lost is None else Finding("position", "fail", lost.message, lost.hint))
        watcher = PostgresWatcher(self.name, self.settings, self.publication, self._clock, acts=False)
        return [*found, *watched(watcher, resume)]

    def watcher(self) -> PostgresWatcher:
        """See `Source.watcher`."""
        return PostgresWatcher(self.name, self.settings, self.publication, self._clock)

    def table_at(self, table: str, resume: Resume | None = None) -> PostgresTableAt:
        """See `headwater.capture.verification.Verifiable`."""
        return open_table_at(self.settings, lambda found: self._survey(found, plan=False).tables, table)

    def decode(self, record: bytes) -> ChangeBatch:
        """See `Source.decode`."""
        found = unframe(record)
        return decode_record(self._todays(found.layout), found)

    def _todays(self, layout: Layout) -> Layout:
        """The layout under today's `text_columns`."""
        table = layout.table
        plain = (replace(column, as_text=False) for column in table.columns)
        columns = tuple(as_wanted(column, table.qualified, self.settings.text_columns) for column in plain)
        return replace(layout, table=replace(table, columns=columns))

    @contextmanager
    def _connected(self, *, replication: bool = False, patient: bool = False) -> Iterator[Connection]:
        """A connection for a few questions; `patient`: they may take as long as they like (making a slot waits for
        the server's open transactions)."""
        connection = connect(self.settings, replication=replication, asking=not replication)
        limit = cut_after(connection, QUESTIONS * self.settings.query_timeout_s)
        try:
            with nullcontext() if patient else limit:
                yield connection
        except psycopg.Error as error:
            failed(error, f"asking PostgreSQL about source {self.name!r}")
        finally:
            connection.close()

    def _survey(self, connection: Connection, *, plan: bool = True) -> Survey:
        """Looks at the server and finds the tables; with `plan` also judges rights and the publication."""
        require_server(connection, failover=self.settings.failover)
        existing = list_tables(connection)
        rows = [existing[name] for name in select_tables(self.settings.tables, existing)]
        require_tables(connection, rows)
        publication = read_publication(connection, self.publication)
        publish = None
        if plan:
            ours = self.settings.publication is None
            publish = plan_publication(connection, self.publication, publication, rows, ours=ours)
        tables = self._read_tables(connection, rows, publication.tables if publication else {})
        return Survey(rows, tables, publish)

    def _read_tables(
        self, connection: Connection, rows: Sequence[TableRow], published: Mapping[str, Published]
    ) -> list[Table]:
        tables = read_tables(connection, rows, self.settings.text_columns, published)
        require_streams(tables)
        return tables

    def _begin_again(self, standing: Standing, *, moved: bool = False) -> PostgresReader:
        """A snapshot was cut short, or is wanted anew: what the log holds is emptied, and a new one is taken with a new
        slot. `moved`: of another cluster perhaps."""
        end = LogEnd(self.name, standing, standing.slot, 0)
        with self._connected(replication=True) as replication:
            system = identify_system(replication)
        if not moved:
            end.require_same_cluster(system)
        with self._connected() as connection:
            slot = read_slot(connection, standing.slot)
        if slot is not None:
            require_ours(slot, system)
            self._drop_own_slot(standing.slot)
        return self._begin(again=True, decided=standing.decided)

    def _begin(self, *, again: bool, decided: str = "") -> PostgresReader:
        with self._connected() as connection:
            survey = self._survey(connection)
            if not again:
                self._clear_slot(connection)
            require_free_slot(connection)
            if survey.publish:
                connection.execute(survey.publish.encode())
        with self._connected(replication=True, patient=True) as replication:
            system = identify_system(replication)
            created = create_slot(replication, self.slot, failover=self.settings.failover)
            failpoint.reach("capture.snapshot.after_slot")
            snapshot = self._snapshot(survey.rows, system, created, again=again, decided=decided)
            self._opened = True
        return PostgresReader(self._opening(snapshot.tables, snapshot.standing, snapshot.lsn), snapshot)

    def _opening(
        self,
        tables: Sequence[Table],
        standing: Standing,
        lsn: int,
        work: Worklist | None = None,
        resume: Resume | None = None,
    ) -> Opening:
        start = partial(self._stream, tables, standing, lsn, resume)
        placed = lsn - 1, int((resume or {}).get("ordinal") or 0)
        rest = work or Worklist(), self._newcomers, placed, self.settings.snapshot
        return Opening(start, self._beside, standing, *rest)

    def _newcomers(self) -> Newcomers:
        """What looks for tables that appear."""
        ours, every_s = self.settings.publication is None, self.settings.heartbeat_s
        look = (partial(connect, self.settings, asking=True), self._table_of, self.settings.tables, self.publication)
        limit_s = self.settings.query_timeout_s
        return Newcomers(*look, ours=ours, every_s=every_s, limit_s=limit_s, clock=self._clock)

    def _beside(self, work: Worklist, relations: Relations, course: StreamCourse, placed: tuple[int, int]) -> Rereading:
        """What reads tables beside the stream."""
        rows, seconds = self.settings.snapshot_chunk_rows, self.settings.snapshot_chunk_s
        reader = ChunkReader(partial(connect, self.settings), self._table_of, TIMEOUTS * seconds, self._clock)
        desk = Desk(work, reader, relations, course, chunk_rows=rows, chunk_s=seconds, clock=self._clock, placed=placed)
        return Rereading(desk)

    def _table_of(self, connection: Connection, name: str) -> Table | None:
        """A table as the connection's snapshot has it."""
        row, publication = list_tables(connection).get(name), read_publication(connection, self.publication)
        if row is None:
            return None
        return self._read_tables(connection, [row], publication.tables if publication else {})[0]

    def _clear_slot(self, connection: Connection) -> None:
        """Our log is empty: a slot that can only be ours is left over from a crash right after it was made."""
        slot = read_slot(connection, self.slot)
        if slot is not None and self._slot_is_ours:
            self._drop_own_slot(self.slot)
        else:
            require_unused(slot, self.slot)

    def _drop_own_slot(self, name: str) -> None:
        def drop() -> None:
            with self._connected() as connection:
                drop_slot(connection, name)

        self._patiently(drop)

    def _snapshot(
        self, rows: Sequence[TableRow], system: System, created: CreatedSlot, *, again: bool, decided: str
    ) -> Snapshot:
        """Imports the slot's snapshot into connections of its own and looks at the tables as they are in it."""
        wanted = again or self.settings.snapshot not in ("schema_only", "never")
        connections: list[Connection] = []
        try:
            for _ in range(self.settings.snapshot_connections if wanted else 1):
                connections.append(connect(self.settings))
                begin_snapshot(connections[-1], created.snapshot)
            first = connections[0]
            hold_tables(first, rows)
            publication = read_publication(first, self.publication)
            require_published(publication, self.publication, rows)
            tables = self._read_tables(first, rows, publication.tables if publication else {})
            captured = {table.qualified: table.oid for table in tables}
            stamps = read_stamps(first, self.publication, captured)
            place = (system.identifier, system.timeline, system.database, self.slot)
            standing = Standing(*place, captured, stamps, decided=decided, known=read_known(first, tables))
            found = tables, tables if wanted else [], standing, created.lsn
            return Snapshot(connections, *found, again=again, chunk_rows=self.settings.snapshot_chunk_rows)
        except (psycopg.Error, HeadwaterError) as error:
            for connection in connections:
                connection.close()
            if isinstance(error, psycopg.Error):
                failed(error, "beginning the snapshot")
            raise

    def _end(self, resume: Resume) -> LogEnd:
        standing = standing_of(resume)
        return LogEnd(self.name, standing, self.settings.slot or standing.slot, lsn_of(resume))

    def _go_on(self, end: LogEnd, resume: Resume, *, decided: str = "") -> PostgresReader:
        """Reads on after the log's end, if nothing can be missing; what a snapshot left unread is read beside that."""
        with self._connected() as connection:
            require_server(connection, failover=self.settings.failover)
        now = self._patiently(partial(self._judge, end))
        with self._connected() as connection:
            rows = still_there(self.settings.tables, list_tables(connection), end.standing)
            publication = require_published(read_publication(connection, self.publication), self.publication, rows)
            tables = self._read_tables(connection, rows, publication.tables)
            known = now.known if now.known.tables else read_known(connection, tables)
            self._keep_copied(connection, end.slot)
        captured = {table.qualified: table.oid for table in tables}
        now = replace(now, tables=captured, known=known, decided=decided or now.decided)
        then = [known.then(table, self._catalog.describe, self.settings.text_columns) for table in tables]
        work = Worklist.from_text(resume.get("snapshots"))
        work.drop(lambda task: task.table not in now.tables)
        if self.settings.snapshot == "always" and not self._opened:
            for table in tables:
                work.add(Task(table.qualified))
        self._opened = True
        return PostgresReader(self._opening(then, now, end.lsn, work, resume))

    def _keep_copied(self, connection: Connection, name: str) -> None:
        """Has a slot that was made without `failover` copied to standbys, now that it is set."""
        slot = read_slot(connection, name) if self.settings.failover else None
        if slot is not None and not slot.failover:
            with self._connected(replication=True) as replication:
                set_failover(replication, name)

    def _judge(self, end: LogEnd) -> Standing:
        """Whether nothing is missing after the log's end; what is so from now on.

        Raises:
            PositionLost: something is, or may be.
        """
        with self._connected(replication=True) as replication:
            system = identify_system(replication)
            end.require_same_cluster(system)
            end.require_same_history(replication, system)
        with self._connected() as connection:
            stamps = read_stamps(connection, self.publication, end.standing.tables)
            end.require_published(stamps, self.publication)
            slot = end.require_slot(read_slot(connection, end.slot), system)
        return replace(end.standing, slot=end.slot, timeline=system.timeline, published=stamps, restart=slot.restart)

    def _accept(self, end: LogEnd, lost: PositionLost, decision: Request, work: Worklist) -> PostgresReader:
        """Goes on without what is lost.

        Raises:
            PositionLost: it is another loss than the one accepted.
        """
        if decision.cause and decision.cause != lost.cause:
            raise lost
        with self._connected() as connection:
            survey = self._survey(connection)
            if survey.publish:
                connection.execute(survey.publish.encode())
        with self._connected() as connection, self._connected(replication=True, patient=True) as replication:
            system = identify_system(replication)
            rows = still_there(
                self.settings.tables, list_tables(connection), end.standing, moved=lost.cause == OTHER_CLUSTER
            )
            at = new_start(connection, replication, end, lost, system, failover=self.settings.failover)
            publication = require_published(read_publication(connection, self.publication), self.publication, rows)
            tables = self._read_tables(connection, rows, publication.tables)
            captured = {table.qualified: table.oid for table in tables}
            stamps, known = read_stamps(connection, self.publication, captured), read_known(connection, tables)
            known.asked = end.standing.known.asked  # the worklist goes on, and knows requests by their numbers
        place = (system.identifier, system.timeline, system.database, end.slot)
        now = Standing(*place, captured, stamps, decided=decision.id, known=known)
        group = gap_group(end, lost, now, at, max(at, system.wal_end), decision, self._clock.now_us())
        return PostgresReader(self._opening(tables, now, at, work), first=group)

    def _stream(
        self, tables: Sequence[Table], standing: Standing, lsn: int, resume: Resume | None
    ) -> tuple[Stream, Relations]:
        settings, asked = self.settings, (self._catalog.describe, self._catalog.look)
        policy = settings.schema_policy
        relations = Relations(tables, settings.text_columns, *asked, standing.known, policy, self.name)
        assembler = Assembler(relations, standing, lsn, folder=self.scratch, observer=self._observer)
        replication = connect(settings, replication=True)
        try:
            with cut_after(replication, QUESTIONS * settings.query_timeout_s):
                require_direct(replication)
                system = identify_system(replication)
            messages = self._observer is not None
            wanted = Wanted(standing.slot, self.publication, settings.streaming, settings.two_phase, messages)
            begin, times = resume or standing.resume(lsn), (settings.heartbeat_s, settings.silence_timeout_s)
            stream = Stream(replication, assembler, wanted, begin, system.wal_end, *times, self._clock)
            self._require_started(standing, lsn, system, replication.info.backend_pid)
            return stream, relations
        except psycopg.Error as error:
            replication.close()
            failed(error, "asking how far the server's log goes")
        except HeadwaterError:
            replication.close()
            raise

    def _require_started(self, standing: Standing, lsn: int, system: System, pid: int) -> None:
        """Looks once more, now that nobody else can move the slot: what was looked at before may have changed since,
        or have been another server of several in the url. From version 15 on the server begins silently where the
        slot stands when it is asked for less.

        Raises:
            PositionLost: the slot is ahead.
            SourceUnavailable: it is another server than the one looked at.
        """
        if (system.identifier, system.timeline) != (standing.system, standing.timeline):
            raise SourceUnavailable("the url led to another server than a moment ago", hint="looking again")
        end = LogEnd(self.name, standing, standing.slot, lsn)
        with self._connected() as connection:
            end.require_slot(read_slot(connection, standing.slot), system, own_pid=pid)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Tries again for a few seconds while a slot is in use."""
        deadline = self._clock.monotonic_s() + SLOT_FREE_WAIT_S
        while True:
            try:
                return attempt()
            except SourceUnavailable:
                if self._clock.monotonic_s() >= deadline:
                    raise
            self._clock.wait(threading.Event(), 0.05)
