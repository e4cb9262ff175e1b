"""What the readings of tables beside the stream share: the list of them, the connection, the stream's course."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import psycopg

from headwater.capture.incremental import marker
from headwater.capture.postgres.chunk_reader import Call, ChunkReader, TooMuch
from headwater.capture.postgres.connection import failed
from headwater.capture.postgres.relations import Relations
from headwater.capture.postgres.table import Table
from headwater.capture.worklist import Task, Worklist
from headwater.change import Group, Op
from headwater.clock import Clock
from headwater.errors import HeadwaterError, SourceUnavailable
from headwater.position import Boundary

LEAST_ROWS = 100
FIRST_ROWS = 1000
RETRY_S = 0.2
"""After something that passes by itself: a lock, a table just rewritten, a writer older than the reading."""

ASK_S = 0.5
TIMEOUTS = 30
"""The server gives a chunk up after so many times the seconds it should take."""


class Course(Protocol):
    """The stream, as far as it concerns what is read beside it."""

    def boundary(self, ordinal: int) -> Boundary:
        """A boundary here and now, with the worklist as it is."""

    def reached(self) -> int:
        """An LSN before which every commit has been handed over."""

    def ask(self) -> None:
        """Asks the server how far it is, which also tells it that we are alive."""


class Desk:
    """See above.

    Args:
        work: what is to be done; kept up to date.
        reader: reads tables.
        relations: the captured tables as the stream describes them.
        course: the stream.
        chunk_rows, chunk_s: the most rows of a chunk, and the seconds it should take.
        clock: time.
        placed: commit and ordinal of the last row that stood beside the stream.

    Attributes:
        rows: how many rows the next chunk is to have.
    """

    def __init__(
        self,
        work: Worklist,
        reader: ChunkReader,
        relations: Relations,
        course: Course,
        *,
        chunk_rows: int,
        chunk_s: float,
        clock: Clock,
        placed: tuple[int, int],
    ) -> None:
        self.work, self.reader, self.relations, self.course, self.clock = work, reader, relations, course, clock
        self.rows = min(chunk_rows, FIRST_ROWS)
        self._chunk_rows, self._chunk_s = chunk_rows, chunk_s
        self._placed = placed
        self._thread = ThreadPoolExecutor(1, "chunks")
        self._job: Future[object] | None = None
        self._not_before = self._asked_at = 0.0

    def place(self, rows: int) -> tuple[int, int, Boundary]:
        """Commit and first ordinal of so many rows that stand here, between the stream's, and the boundary after."""
        commit = self.course.boundary(0).position.commit
        first = self._placed[1] + 1 if self._placed[0] == commit else 0
        last = first + rows - 1
        self._placed = (commit, max(last, first - 1))
        return commit, first, self.course.boundary(max(0, last))

    def mark(self, table: Table, op: Op, weight: int) -> Group:
        """A group of one marker."""
        commit, ordinal, boundary = self.place(1)
        return Group(boundary, (marker(table.stream, op, weight, commit, ordinal),))

    def note(self) -> Group:
        """A group that says nothing but how the worklist stands."""
        return Group(self.place(0)[2])

    @property
    def waits(self) -> bool:
        """Whether what failed is not to be tried again yet."""
        return self.clock.monotonic_s() < self._not_before

    def later(self) -> None:
        """Has the next try wait."""
        self._not_before = self.clock.monotonic_s() + RETRY_S

    def has_come_to(self, high: int) -> bool:
        """Whether the stream has come to a watermark; asks the server now and then, if not."""
        if self.course.reached() >= high:
            return True
        now = self.clock.monotonic_s()
        if now - self._asked_at >= ASK_S or now < self._asked_at:
            self._asked_at = now
            self.course.ask()
        return False

    def submit(self, call: Call) -> None:
        """Has the thread read something; one thing at a time."""
        self._asked_at = 0.0
        self._job = self._thread.submit(call)

    @property
    def asked(self) -> bool:
        """Whether the thread was asked for something that was not taken."""
        return self._job is not None

    def look(self, task: Task) -> object | None:
        """What the thread has read, which stays until `take`; None if it is not there yet, or failed."""
        if self._job is None or not self._job.done():
            return None
        error = self._job.exception()
        if error is None:
            return self._job.result()
        self._job = None
        self.judge(task, error)
        return None

    def take(self) -> None:
        """Makes room for the next."""
        self._job = None

    def judge(self, task: Task, error: BaseException) -> None:
        """What becomes of a task whose reading failed: another try, or its end.

        Raises:
            SourceUnavailable: the connection broke.
            BaseException: it is nothing that a reading may meet.
        """
        said = " ".join(str(error).split())
        if isinstance(error, (TooMuch, psycopg.errors.QueryCanceled)):
            self._fewer(task)
        elif isinstance(error, (SourceUnavailable, psycopg.errors.LockNotAvailable)):
            self.work.put(replace(task, message=said))
            self.later()
        elif isinstance(error, psycopg.OperationalError) and not (error.sqlstate or "08").startswith(("42", "22")):
            failed(error, f"reading table {task.table}")
        elif isinstance(error, (psycopg.Error, HeadwaterError)):
            self.end(task, said)
        else:
            raise error

    def end(self, task: Task, why: str) -> None:
        """Gives a task up."""
        self.work.put(replace(task, state="stopped", message=why))

    def _fewer(self, task: Task) -> None:
        if self.rows <= LEAST_ROWS:
            self.end(task, f"{LEAST_ROWS} rows take longer to read than {TIMEOUTS * self._chunk_s:g} s")
        self.rows = max(LEAST_ROWS, self.rows // 4)
        self.later()

    def pace(self, seconds: float) -> None:
        """Chooses the next chunk's size by how long the last one, a full one, took."""
        if seconds > self._chunk_s:
            self.rows = max(LEAST_ROWS, self.rows // 2)
        elif seconds < self._chunk_s / 2:
            self.rows = min(self._chunk_rows, self.rows * 2)

    def drop(self) -> None:
        """Ends what the thread does."""
        if self._job is not None and not self._job.done():
            self.reader.interrupt()
            self._job.exception()
        self._job = None
        self.reader.close()

    def close(self) -> None:
        """Gives up connection and thread."""
        self.drop()
        self._thread.shutdown()
