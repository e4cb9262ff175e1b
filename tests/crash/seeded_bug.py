"""`headwater run` with a bug put in, to see that the campaign finds it: `seeded_bug.py BUG DIR [--once]`.

The bugs sit around the source; the code under test has no switch for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from headwater.api.server import Service
from headwater.capture.health import Watcher
from headwater.capture.http.keys import CARRIED
from headwater.capture.kafka.reader import KafkaReader
from headwater.capture.kafka.standing import standing_of
from headwater.capture.request import Progress, Request
from headwater.capture.source import Reader, Source
from headwater.change import ChangeBatch, Group
from headwater.cli.opening import open_project
from headwater.clock import SystemClock
from headwater.errors import PositionLost
from headwater.position import Boundary, Resume
from headwater.project.connectors import make_source
from headwater.registry.store import SchemaStore
from headwater.runtime.api import Served
from headwater.runtime.journal import Journal
from headwater.runtime.supervisor import Supervisor, state_identity
from headwater.schema import StreamSchema

EVERY = 3
"""Each so many-th group with records, past the snapshot, is lost or doubled."""


class WrongReader:
    """A reader that behaves, but for what a subclass does to a group."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
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

    Kafka is told again and waited for: what is told in the background may not be out yet when the process dies.
    """

    def meddle(self, group: Group) -> Group:
        self._reader.confirm(group.boundary)
        if isinstance(self._reader, KafkaReader) and len(group):
            self._reader._consumer.commit(standing_of(group.boundary.resume).offsets, wait=True)
        return group


class Loses(WrongReader):
    """Passes a group over now and then."""

    def meddle(self, group: Group) -> Group | None:
        if len(group) and self.chosen:
            self._seen += 1
            return None
        return group


class Doubles(WrongReader):
    """Hands a group over twice now and then: its batches, once more under the same boundary."""

    def meddle(self, group: Group) -> Group:
        if len(group) and self.chosen:
            self._seen += 1
            return Group(group.boundary, group.batches * 2, group.rejects, group.filtered)
        return group


class ForgetsKeys(WrongReader):
    """Lets the log have the records of a request without the key under which they came."""

    def meddle(self, group: Group) -> Group:
        resume = {name: value for name, value in group.boundary.resume.items() if name != CARRIED}
        return replace(group, boundary=replace(group.boundary, resume=resume))


BUGS: dict[str, Callable[[Reader], WrongReader]] = {
    "confirm-before-fsync": ConfirmsEarly,
    "lose": Loses,
    "double": Doubles,
    "forget-keys": ForgetsKeys,
}


class WrongSource:
    """A source whose readings have the bug."""

    def __init__(self, source: Source, bug: Callable[[Reader], WrongReader]) -> None:
        self.name = source.name
        self._source = source
        self._bug = bug

    def tell_transactions(self) -> bool:
        return self._source.tell_transactions()

    def check(self) -> list[str]:
        return self._source.check()

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        return self._source.discover(resume)

    def open(self, resume: Resume | None, decision: Request | None = None) -> Reader:
        return self._bug(self._source.open(resume, decision))

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


def _wrong(source: Source, bug: str) -> Source:
    if bug not in BUGS:
        return source
    return (WrongServedSource if isinstance(source, Served) else WrongSource)(source, BUGS[bug])


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
    sources: dict[str, Source] = {name: _wrong(source, bug) for name, source in made.items()}
    supervisor = Supervisor(project, Journal(as_json=True), once=once, sources=sources)
    supervisor.stop_on_signals()
    error = supervisor.run()
    if error is not None:
        sys.stderr.write(f"{error}\n")
    return 1 if error is not None else os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), once="--once" in sys.argv))
