"""Proves a mirror equal to its source at an exact position, or lists where it is not.

1. the lake's rows as of the last epoch done are read;
2. the source opens a consistent view of the table at a position (which is later);
3. meanwhile the log grows past that position, and its changes up to there are added to the rows;
4. both sides compute digests by bucket; of buckets that differ the rows are fetched and compared by value.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pyarrow as pa

from headwater.capture.verification import TableAt, Verifiable
from headwater.clock import Clock
from headwater.digest import MOST_BUCKETS, Digest, total
from headwater.errors import UserError
from headwater.lake.index_check import IndexCheck, Indexed
from headwater.lake.table_format import Lake
from headwater.log.partition import PartitionView, open_for_reading
from headwater.position import Boundary, Resume
from headwater.project.connectors import make_source
from headwater.project.definition import Project, SourceDefinition
from headwater.quality.certificates import Certificate
from headwater.runtime.differences import Found, compare
from headwater.runtime.identity import index_folder, state_identity
from headwater.runtime.mirror_at import MirrorAt, mirror_at
from headwater.runtime.state_store import StateStore
from headwater.schema import StreamSchema

BUCKET_ROWS = 64
WAIT_S = 60.0
_LOOK_S = 0.1


def verify(project: Project, lake: Lake, name: str, clock: Clock, *, wait_s: float = WAIT_S) -> Certificate:
    """Compares one table, and keeps the certificate.

    Args:
        project: which must be running, so that the log reaches the source's position.
        lake: the project's, for reading.
        name: SOURCE.TABLE, for instance shop.orders or shop.sales.orders.
        clock: time.
        wait_s: how long the log may take to reach the position.

    Raises:
        UserError: there is no such table, or it is not in the lake yet, or the log does not get there.
        SourceStopped, SourceUnavailable: the source cannot be read.
    """
    definition, table = _find(project, name)
    source = make_source(replace(definition, audit=()), project.name, state_identity(project.state), clock)
    if not hasattr(source, "table_at"):
        raise UserError(f"tables of source {definition.name!r} ({definition.type}) cannot be compared yet")
    store = StateStore(project.state)
    try:
        certificate = _verify(_Run(project, lake, store, definition, clock, wait_s), cast(Verifiable, source), table)
        with store.transaction():
            store.certificates.add(certificate)
        return certificate
    finally:
        store.close()


def check_indexes(project: Project, lake: Lake, names: Sequence[str]) -> list[IndexCheck]:
    """Holds the key indexes that are kept in files against the tables; changes nothing.

    Args:
        project: running or not; of a running one the file is what its last run left.
        lake: the project's, for reading.
        names: of tables; all if none is named.

    Raises:
        UserError: there is no such table, or the lake's format keeps no index.
        StorageFailed: a table cannot be read.
    """
    checks = []
    for name in names or lake.names():
        table = lake.open_table(name)
        if not isinstance(table, Indexed):
            raise UserError(
                f"a lake of type {project.lake.type!r} keeps no key index in a file: it is built at the start"
            )
        checks.append(table.check_index(index_folder(project.state)))
    return checks


class _Run:
    """What one comparison is about. The lake's epoch is chosen here, before the source's view is opened, so that the
    view is later."""

    def __init__(
        self,
        project: Project,
        lake: Lake,
        store: StateStore,
        definition: SourceDefinition,
        clock: Clock,
        wait_s: float,
    ) -> None:
        self.project, self.lake, self.store, self.definition = project, lake, store, definition
        self.source = source = definition.name
        self.clock, self.wait_s = clock, wait_s
        self.began_us = clock.now_us()
        self.epoch, offsets = store.last_done()
        if source not in offsets:
            raise UserError(f"nothing of source {source!r} is in the lake yet", hint="headwater run")
        self.offset = offsets[source]

    def rows_of(self, stream: StreamSchema) -> pa.Table:
        """The table's rows as of the epoch; one that never had a row is not in the lake."""
        if not self.definition.mirrors(stream.name):
            raise UserError(f"stream {stream.name!r} is not mirrored: there is no table in the lake to compare")
        if stream.name in self.project.gated:
            hint = f"headwater rejects ls --stream {stream.name} shows them"
            raise UserError(f"checks set rows of {stream.name!r} aside: its table is not the whole stream", hint=hint)
        if stream.name not in self.lake.names():
            return stream.columns.empty_table()
        table = self.lake.open_table(stream.name)
        return table.read(self.epoch if table.committed() else None)

    def log_end(self) -> Resume | None:
        """The resume point of the log's end."""
        view = open_for_reading(self.project.state / "log" / self.source)
        boundary = _boundary(view, view.head)
        return boundary.resume if boundary else None

    def log_to(self, position: int) -> PartitionView:
        """The log, as soon as it holds all below the position.

        Raises:
            UserError: it does not get there in time.
        """
        folder = self.project.state / "log" / self.source
        deadline = self.clock.monotonic_s() + self.wait_s
        while True:
            view = open_for_reading(folder)
            if _reached(view) >= position - 1:
                return view
            if self.clock.monotonic_s() > deadline:
                raise UserError(
                    f"the log of source {self.source!r} has not reached the source's position within {self.wait_s:g} s",
                    hint="run the project while it is compared (headwater run); if it runs, see headwater status",
                )
            self.clock.wait(threading.Event(), _LOOK_S)


def _verify(run: _Run, source: Verifiable, table: str) -> Certificate:
    seen = source.table_at(table, run.log_end())
    try:
        stream, log = seen.stream, run.log_to(seen.position)
        ended = _boundary(log, run.offset)
        initial = ended is None or ended.snapshot
        records = log.read(run.offset, log.head)
        mirror = mirror_at(stream, run.rows_of(stream), records, seen.position, initial=initial)
        return _certified(run, table, seen, mirror)
    finally:
        seen.close()


def _certified(run: _Run, table: str, seen: TableAt, mirror: MirrorAt) -> Certificate:
    stream, buckets = seen.stream, _buckets(seen.expected)
    theirs, ours = seen.digests(buckets), mirror.digests(stream.key, buckets)
    differing = sorted(
        bucket for bucket in theirs.keys() | ours.keys() if theirs.get(bucket, Digest()) != ours.get(bucket, Digest())
    )
    found = Found()
    if differing:
        rejected = mirror.rejected | frozenset(run.store.ledger.keys_of(stream.name))
        found = compare(seen, mirror, buckets, differing, theirs, rejected)
    whole, here = total(theirs), total(ours)
    return Certificate(
        source=run.source,
        stream=stream.name,
        table=table,
        verdict="equal" if not differing else "rejected" if found.harmless else "different",
        position=seen.told,
        commit=seen.position,
        epoch=run.epoch,
        offset=run.offset,
        rows=whole.rows,
        rows_here=here.rows,
        checksum=whole.text,
        checksum_here=here.text,
        buckets=buckets,
        buckets_differing=len(differing),
        differences=found.differences,
        complete=found.complete,
        rejected=found.rejected,
        rejects_open=len(run.store.ledger.open_keys().get(stream.name, {})),
        began_us=run.began_us,
        made_us=run.clock.now_us(),
        listed=tuple(found.listed),
    )


def _find(project: Project, name: str) -> tuple[SourceDefinition, str]:
    source, _, table = name.partition(".")
    for definition in project.sources:
        if definition.name == source and table:
            return definition, table
    known = ", ".join(definition.name for definition in project.sources)
    raise UserError(f"{name!r} names no table of a source", hint=f"SOURCE.TABLE, with one of the sources: {known}")


def _reached(view: PartitionView) -> int:
    """The commit position up to which the log holds everything."""
    boundary = _boundary(view, view.head)
    return -1 if boundary is None or boundary.snapshot else boundary.position.commit


def _boundary(view: PartitionView, offset: int) -> Boundary | None:
    """Where the source stands at a log offset; None before the first group's end."""
    try:
        return view.boundary_at(offset)
    except UserError:
        return None


def _buckets(expected: int) -> int:
    buckets = 16
    while buckets < MOST_BUCKETS and buckets * BUCKET_ROWS < expected:
        buckets *= 2
    return buckets
