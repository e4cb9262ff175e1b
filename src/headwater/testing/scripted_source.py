"""A source that says what a test tells it to: groups in order, failures in between, positions confirmed and kept.

It behaves as a replication log does: what was not confirmed is offered again to a reading that resumes before it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from headwater.capture.health import NoWatcher
from headwater.capture.request import Progress, Request
from headwater.change import ChangeBatch, Group, Op, log_schema
from headwater.errors import HeadwaterError, PositionLost, UserError
from headwater.position import Boundary, Position, Resume
from headwater.schema import StreamSchema

Row = Mapping[str, object]


class ScriptedSource:
    """A `Source` over a list of groups, which may grow while it is read.

    Args:
        streams: what it feeds.
        script: groups, and errors to raise once when they come up.

    Attributes:
        confirmed: the boundary confirmed last, by commit position.
        opened: how often it was opened, and with which resume point.
    """

    def __init__(
        self, name: str, streams: Sequence[StreamSchema], script: Iterable[Group | HeadwaterError] = ()
    ) -> None:
        self.name = name
        self.streams = tuple(streams)
        self.confirmed = 0
        self.opened: list[Resume | None] = []
        self._script: list[Group | HeadwaterError] = list(script)
        self._lock = threading.Lock()

    def add(self, *entries: Group | HeadwaterError) -> None:
        """Lengthens the script."""
        with self._lock:
            self._script.extend(entries)

    def tell_transactions(self) -> bool:
        """See `Source.tell_transactions`."""
        return False

    def check(self) -> list[str]:
        """Nothing to check."""
        return [f"reads {len(self._script)} scripted groups"]

    def discover(self, resume: Resume | None = None) -> Sequence[StreamSchema]:
        """The streams given; with `resume`, those as well that have appeared up to there."""
        found = {stream.name: stream for stream in self.streams}
        with self._lock:
            groups = [entry for entry in self._script if isinstance(entry, Group)]
        read = [group for group in groups if resume and group.boundary.position.commit <= int(resume["commit"] or 0)]
        for batch in (batch for group in read for batch in group.batches):
            found.setdefault(batch.stream.name, batch.stream)
        return list(found.values())

    def open(self, resume: Resume | None, decision: Request | None = None) -> ScriptedReader:
        """Reads on after the commit position in `resume`; positions are never lost, so nothing is ever decided."""
        self.opened.append(resume)
        return ScriptedReader(self, int(resume["commit"] or 0) if resume else 0)

    def examine(self, resume: Resume) -> PositionLost | None:
        """A script is never lost."""
        return None

    def watcher(self) -> NoWatcher:
        """There is nothing to see."""
        return NoWatcher()

    def decode(self, record: bytes) -> ChangeBatch:
        """A rejected record is an Arrow IPC stream of log rows, or cannot be decoded."""
        try:
            rows = pa.ipc.open_stream(record).read_all()
        except pa.ArrowInvalid as error:
            raise UserError("the record still cannot be decoded") from error
        return ChangeBatch(self.streams[0], rows.to_batches()[0])

    def next_after(self, commit: int, parts: int = 0) -> Group | None:
        """The first group beyond `commit`, or, if so many parts of it have been read, its next one; an error that
        stands before it is raised, once. All parts of a group have the commit position of its end.

        Raises:
            HeadwaterError: as scripted.
        """
        passed = 0
        with self._lock:
            for index, entry in enumerate(self._script):
                if isinstance(entry, HeadwaterError):
                    if passed == parts:
                        del self._script[index]
                        raise entry
                elif entry.boundary.position.commit > commit:
                    if passed == parts:
                        return entry
                    passed += 1
        return None


class ScriptedReader:
    """One reading of a `ScriptedSource`."""

    def __init__(self, source: ScriptedSource, commit: int) -> None:
        self._source = source
        self._commit = commit
        self._parts = 0

    def poll(self, timeout_s: float) -> Group | None:
        """The next scripted group, at once."""
        group = self._source.next_after(self._commit, self._parts)
        if group is None:
            threading.Event().wait(timeout_s)
            return None
        self._parts += 1
        if not group.more:
            self._commit, self._parts = group.boundary.position.commit, 0
        return group

    def confirm(self, boundary: Boundary) -> None:
        """Notes the boundary."""
        self._source.confirmed = max(self._source.confirmed, boundary.position.commit)

    def ask(self, request: Request) -> None:
        """See `Reader.ask`. None can be carried out yet."""
        raise UserError(f"{request.action} cannot be asked of this source")

    def progress(self) -> Sequence[Progress]:
        """See `Reader.progress`."""
        return ()

    def lag_bytes(self) -> int | None:
        """How many groups are left."""
        return 0 if self._source.next_after(self._commit, self._parts) is None else 1

    def close(self) -> None:
        """Nothing to give up."""


def scripted_group(
    commit: int,
    changes: Sequence[tuple[StreamSchema, Op, Row]] = (),
    *,
    rejects: pa.RecordBatch | None = None,
    time_us: int | None = None,
    snapshot: bool = False,
    more: bool = False,
) -> Group:
    """One transaction as a group, or a part of one.

    Args:
        commit: its commit position.
        changes: (stream, what happened, row); a row may leave columns out (null).
        rejects: records that could not be decoded.
        time_us: commit time.
        snapshot: part of a snapshot that is not complete yet.
        more: the transaction goes on with the next group.
    """
    by_stream: dict[str, list[tuple[int, Op, Row]]] = {}
    schemas = {stream.name: stream for stream, _, _ in changes}
    for ordinal, (stream, op, row) in enumerate(changes):
        by_stream.setdefault(stream.name, []).append((ordinal, op, row))
    batches = tuple(_batch(schemas[name], commit, entries, time_us) for name, entries in by_stream.items())
    boundary = Boundary(Position(commit, len(changes)), {"commit": commit}, time_us or 0, snapshot)
    return Group(boundary, batches, rejects, more=more)


def _batch(
    stream: StreamSchema, commit: int, entries: Sequence[tuple[int, Op, Row]], time_us: int | None
) -> ChangeBatch:
    gone = (Op.DELETE, Op.TRUNCATE)
    rows = [
        {
            "_op": int(op),
            "_weight": -1 if op in gone else 1,
            "_commit": commit,
            "_ordinal": ordinal,
            "_time": time_us,
            "_unchanged": None,
            **row,
        }
        for ordinal, op, row in entries
    ]
    return ChangeBatch(stream, pa.RecordBatch.from_pylist(rows, schema=log_schema(stream)))
