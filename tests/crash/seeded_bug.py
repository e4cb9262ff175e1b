"""`headwater run` with a bug put in, to see that the campaign finds it: `seeded_bug.py BUG DIR [--once]`.

The bugs sit around the source; the code under test has no switch for them. Where the process is to die is counted from
when the bug has done its deed, so that a campaign is sure to kill it where the deed shows.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg

from headwater import failpoint
from headwater.api.server import Service
from headwater.capture.health import Watcher
from headwater.capture.http.keys import CARRIED
from headwater.capture.kafka.reader import KafkaReader
from headwater.capture.kafka.standing import standing_of
from headwater.capture.postgres.reader import PostgresReader
from headwater.capture.postgres.resume import confirmable
from headwater.capture.rabbitmq.reader import RabbitmqReader
from headwater.capture.request import Progress, Request
from headwater.capture.source import Reader, Source
from headwater.change import ChangeBatch, Group, Op
from headwater.cli.opening import open_project
from headwater.clock import SystemClock
from headwater.demo.example import URL_VARIABLE
from headwater.errors import PositionLost
from headwater.position import Boundary, Resume
from headwater.project.connectors import make_source
from headwater.registry.store import SchemaStore
from headwater.runtime.api import Served
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor, state_identity
from headwater.schema import StreamSchema

KNOWN_S = 60.0
POLL_S = 0.01
CHANGED = (Op.INSERT, Op.UPDATE, Op.DELETE)
EVERY = 3
"""Each so many-th group with records, past the snapshot, is lost or doubled."""


class WrongReader:
    """A reader that behaves, but for what a subclass does to a group.

    Args:
        reader: the real one.
        done: to be told when the bug has done its deed.
    """

    def __init__(self, reader: Reader, done: Callable[[], None]) -> None:
        self._reader = reader
        self._done = done
        self._seen = 0

    def poll(self, timeout_s: float) -> Group | None:
        group = self._reader.poll(timeout_s)
        if group is None:
            return None
        self._seen += len(group) > 0 and not group.boundary.snapshot
        return self.meddle(group)

    def meddle(self, group: Group) -> Group | None:
        raise NotImplementedError

    @property
    def chosen(self) -> bool:
        """Whether this group's turn has come."""
        return self._seen >= EVERY and not self._seen % EVERY

    def confirm(self, boundary: Boundary) -> None:
        self._reader.confirm(boundary)

    def ask(self, request: Request) -> None:
        self._reader.ask(request)

    def progress(self) -> Sequence[Progress]:
        return self._reader.progress()

    def lag_bytes(self) -> int | None:
        return self._reader.lag_bytes()

    def close(self) -> None:
        self._reader.close()


class ConfirmsEarly(WrongReader):
    """Tells the source that a group is safe as soon as it has arrived, before it is in the log.

    Once a group has changes that nothing later makes up for, it waits until the source knows: what is told in the
    background may not be out yet when the process dies. What is read of tables is read again by whoever comes next.
    """

    def meddle(self, group: Group) -> Group:
        self._reader.confirm(group.boundary)
        streamed = [batch.rows["_op"].to_numpy() for batch in group.batches if batch.stream.name != "accounts"]
        if group.boundary.snapshot or not any(np.isin(ops, CHANGED).any() for ops in streamed):
            return group
        if isinstance(self._reader, KafkaReader):
            self._reader._consumer.commit(standing_of(group.boundary.resume).offsets, wait=True)
        elif isinstance(self._reader, RabbitmqReader):
            for intake in self._reader._intakes.values():
                self._reader._ready(intake)  # answered after all that was said before on the channel
        elif isinstance(self._reader, PostgresReader):
            _await_slot(self._reader._course.standing.slot, confirmable(group.boundary.resume))
        self._done()
        return group


def _await_slot(slot: str, lsn: int) -> None:
    """Waits until PostgreSQL has taken note that a slot's reader has everything before `lsn`."""
    clock, never = SystemClock(), threading.Event()
    end_s = clock.monotonic_s() + KNOWN_S
    with psycopg.connect(os.environ[URL_VARIABLE], autocommit=True) as connection:
        query = "SELECT confirmed_flush_lsn - '0/0' >= %s FROM pg_replication_slots WHERE slot_name = %s"
        while connection.execute(query, (lsn, slot)).fetchone() != (True,):
            if clock.monotonic_s() > end_s:
                raise TimeoutError(f"slot {slot} is not told of {lsn}")
            clock.wait(never, POLL_S)


class Loses(WrongReader):
    """Passes a group over now and then."""

    def meddle(self, group: Group) -> Group | None:
        if len(group) and self.chosen:
            self._seen += 1
            self._done()
            return None
        return group


class Doubles(WrongReader):
    """Hands a group over twice now and then: its batches, once more under the same boundary."""

    def meddle(self, group: Group) -> Group:
        if len(group) and self.chosen:
            self._seen += 1
            self._done()
            return Group(group.boundary, group.batches * 2, group.rejects, group.filtered)
        return group


class ForgetsKeys(WrongReader):
    """Lets the log have the records of a request without the key under which they came."""

    def meddle(self, group: Group) -> Group:
        if len(group) and group.boundary.resume.get(CARRIED):
            self._done()
        resume = {name: value for name, value in group.boundary.resume.items() if name != CARRIED}
        return replace(group, boundary=replace(group.boundary, resume=resume))


class ForgetsPlaces(WrongReader):
    """Lets the log have records with the place of those before them, from which a source is then read on."""

    def __init__(self, reader: Reader, done: Callable[[], None]) -> None:
        super().__init__(reader, done)
        self._before: Resume | None = None

    def meddle(self, group: Group) -> Group:
        before, self._before = self._before, group.boundary.resume
        if before is None or not len(group):
            return group
        self._done()
        return replace(group, boundary=replace(group.boundary, resume=before))


BUGS: dict[str, type[WrongReader]] = {
    "confirm-before-fsync": ConfirmsEarly,
    "lose": Loses,
    "double": Doubles,
    "forget-keys": ForgetsKeys,
    "forget-places": ForgetsPlaces,
}


class WrongSource:
    """A source whose readings have the bug."""

    def __init__(self, source: Source, bug: type[WrongReader], done: Callable[[], None]) -> None:
        self.name = source.name
        self._source = source
        self._bug = bug
        self._done = done

    def tell_transactions(self) -> bool:
        return self._source.tell_transactions()

    def check(self) -> list[str]:
        return self._source.check()

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        return self._source.discover(resume)

    def open(self, resume: Resume | None, decision: Request | None = None) -> Reader:
        return self._bug(self._source.open(resume, decision), self._done)

    def examine(self, resume: Resume) -> PositionLost | None:
        return self._source.examine(resume)

    def watcher(self) -> Watcher:
        return self._source.watcher()

    def decode(self, record: bytes) -> ChangeBatch:
        return self._source.decode(record)


class WrongServedSource(WrongSource):
    """One that clients send to."""

    def service(self) -> Service:
        assert isinstance(self._source, Served)
        return self._source.service()


def _wrong(source: Source, bug: str, done: Callable[[], None]) -> Source:
    if bug not in BUGS:
        return source
    return (WrongServedSource if isinstance(source, Served) else WrongSource)(source, BUGS[bug], done)


def _held_back() -> Callable[[], None]:
    """Disarms the failpoint of this process; what is returned arms it, once."""
    waiting = [failpoint._ARMED]
    failpoint._ARMED = ""

    def arm() -> None:
        if waiting:
            failpoint._passings.clear()
            failpoint._ARMED = waiting.pop()

    return arm


def main(bug: str, folder: Path, *, once: bool) -> int:
    """Runs the project as `headwater run` does; returns the exit code."""
    project = open_project(folder)
    if bug not in BUGS:
        sys.path.insert(0, str(Path(__file__).parents[2]))
        from tests.crash.wrong_destination import put_in

        put_in(bug)
    identity, clock = state_identity(project.state), SystemClock()
    state, schemas = project.state, SchemaStore(project.state)
    made = {d.name: make_source(d, project.name, identity, clock, state, lambda: schemas) for d in project.sources}
    done = _held_back() if bug in BUGS else lambda: None
    sources: dict[str, Source] = {name: _wrong(source, bug, done) for name, source in made.items()}
    supervisor = Supervisor(project, Journal(as_json=True), once=once, sources=sources)
    supervisor.stop_on_signals()
    error = supervisor.run()
    if error is not None:
        sys.stderr.write(f"{error}\n")
    return 1 if error is not None else os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), once="--once" in sys.argv))
