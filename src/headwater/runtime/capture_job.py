"""The one loop from a source to the log: poll, append and fsync, confirm. Nothing else confirms a position."""

from __future__ import annotations

import threading
from pathlib import Path

from headwater.capture.audit_trail import AuditTrail
from headwater.capture.progress_ledger import ProgressLedger
from headwater.capture.request import Progress as TableProgress
from headwater.capture.request import Request
from headwater.capture.source import Reader, Source
from headwater.change import Group
from headwater.clock import Clock
from headwater.errors import HeadwaterError, PositionLost, StorageFailed
from headwater.log.partition import Partition, Recovery
from headwater.position import Boundary
from headwater.runtime.asking import Asking
from headwater.runtime.job import Job
from headwater.runtime.journal import Journal
from headwater.runtime.meters import Meters
from headwater.runtime.requests import Requests

POLL_S = 0.05
REQUESTS_S = 0.5
"""Seconds between two looks for requests."""
GATHER_RECORDS = 20_000
GATHER_BYTES = 16 << 20


class Partitions:
    """The open log partitions by source; a partition that failed to write is opened anew here, for all its users."""

    def __init__(self, folder: Path, journal: Journal, clock: Clock, segment_bytes: int) -> None:
        self._folder = folder
        self.meters = Meters()
        self._journal = journal
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._open: dict[str, Partition] = {}
        self._lock = threading.Lock()

    def open(self, source: str) -> Partition:
        """(Re-)opens a source's partition, which recovers its tail. Until that succeeds the former one, closed, is what
        the others go on reading."""
        with self._lock:
            before = self._open.get(source)
            if before is not None:
                before.close()
            self._open[source] = Partition.open(
                self._folder / source, segment_bytes=self._segment_bytes, clock=self._clock
            )
            self._open[source].measure(self.meters.log(source).fsyncs)
            self._tell(source, self._open[source].recovered)
            return self._open[source]

    def _tell(self, source: str, recovered: Recovery) -> None:
        if recovered.reason:
            self._journal.write(
                "log.recovered",
                "warning" if recovered.doubtful else "info",
                source=source,
                segment=recovered.segment,
                cut_bytes=recovered.cut_bytes,
                reason=recovered.reason,
                hint="headwater log verify" if recovered.doubtful else "",
            )

    def __getitem__(self, source: str) -> Partition:
        return self._open[source]

    def items(self) -> list[tuple[str, Partition]]:
        """Sources and their partitions, as of now."""
        with self._lock:
            return list(self._open.items())

    def as_mapping(self) -> dict[str, Partition]:
        """The partitions by source, as of now."""
        return dict(self.items())

    def close(self) -> None:
        """Closes all."""
        with self._lock:
            for partition in self._open.values():
                partition.close()


class CaptureJob(Job):
    """Captures one source.

    Args:
        source: what to read.
        partitions: the log.
        once: end when what the source held when it was first idle is in the log.
        requests: what users ask of the source; None if nobody can.
        audit: the audit trail to keep of it; None for none.
    """

    def __init__(
        self,
        source: Source,
        partitions: Partitions,
        journal: Journal,
        clock: Clock,
        *,
        once: bool = False,
        requests: Requests | None = None,
        audit: AuditTrail | None = None,
    ) -> None:
        super().__init__(f"source:{source.name}", journal, clock)
        self.source = source
        self.lag_bytes: int | None = None
        self.taken = 0
        self.snapshots: tuple[TableProgress, ...] = ()
        self._partitions = partitions
        self._once = once
        self._requests = requests
        self._audit = audit
        self._requests_at = clock.monotonic_s()
        self._decision: Request | None = None
        self._halt: HeadwaterError | None = None
        self._must_reopen = False
        self._deferred: HeadwaterError | None = None

    def body(self) -> None:
        """Opens the source where the log ends and follows it; opens it anew when the user has decided something."""
        reopen = True
        while reopen and not self.stopping.is_set():
            reopen = self._read()

    def halt(self, error: HeadwaterError) -> None:
        """Makes the job fail with `error`: called by whoever watches the source from the side."""
        self._halt = error

    def _read(self) -> bool:
        """One reading; True if it ended because the source is to be opened anew."""
        self.beat_s = None
        partition = self._partition()
        boundary = partition.boundary
        self._decision = self._decided(boundary)
        reader = self._open(boundary)
        if self._audit is not None:
            self._audit.begin()
        try:
            if boundary and self._decision is None:
                reader.confirm(boundary)
            return self._follow(reader, partition)
        except StorageFailed:
            self._must_reopen = True
            raise
        finally:
            self._deferred = None
            self._forget_parts(partition)
            reader.close()

    def _open(self, boundary: Boundary | None) -> Reader:
        decision = self._decision
        asked = decision.action if decision else None
        self.journal.write("source.opening", source=self.source.name, resumes=boundary is not None, decision=asked)
        try:
            return self.source.open(boundary.resume if boundary else None, decision)
        except PositionLost:
            if decision is not None and self._requests is not None:
                self.journal.write("source.decision_refused", "warning", source=self.source.name, decision=asked)
                self._requests.decided(decision)
            raise

    def _decided(self, boundary: Boundary | None) -> Request | None:
        """The decision that waits to be carried out; one that the log shows to be carried out is forgotten."""
        decision = self._requests.decision() if self._requests is not None else None
        if decision is None or self._requests is None:
            return None
        if boundary is None or boundary.resume.get("decided") == decision.id:
            self._requests.decided(decision)
            return None
        return decision

    def _partition(self) -> Partition:
        if self._must_reopen:
            partition = self._partitions.open(self.source.name)
            self._must_reopen = False
            return partition
        return self._partitions[self.source.name]

    def _follow(self, reader: Reader, partition: Partition) -> bool:
        """Reads on until told to stop; True if the source is to be opened anew."""
        asking = Asking(reader, self._requests, self.journal, self.clock, self.source.name)
        progress = ProgressLedger()
        appends = self._partitions.meters.log(self.source.name).appends
        while not self.stopping.is_set():
            if self._asked_to_reopen():
                return True
            self.alive()
            asking.look()
            groups = self._gather(reader)
            self.lag_bytes = reader.lag_bytes()
            self.snapshots = tuple(reader.progress())
            if groups:
                offered = [progress.offer(group) for group in groups]
                began_s = self.clock.monotonic_s()
                partition.append(groups)
                appends.add(self.clock.monotonic_s() - began_s)
                for number in offered:
                    if number is not None:
                        progress.stored(number)
                self.taken += sum(len(group) for group in groups)
                boundary = progress.take_confirmable()
                if boundary is not None:
                    self._carried_out()
                    reader.confirm(boundary)
                    asking.durable(boundary.resume)
                snapshot = partition.boundary is None or partition.boundary.snapshot
                self.healthy("snapshotting" if snapshot else "running")
            elif partition.unfinished:
                continue
            elif partition.boundary and not partition.boundary.snapshot:
                if self._once and self.lag_bytes == 0 and not asking.waits:
                    return False
                self.healthy()
        return False

    def _asked_to_reopen(self) -> bool:
        """Whether a new decision waits.

        Raises:
            HeadwaterError: whoever watches the source found that it must not be read on.
        """
        halt, self._halt = self._halt, None
        if halt is not None:
            raise halt
        now = self.clock.monotonic_s()
        if self._requests is None or now - self._requests_at < REQUESTS_S:
            return False
        self._requests_at = now
        waiting = self._requests.decision()
        return waiting is not None and waiting != self._decision

    def _carried_out(self) -> None:
        """The first group of a reading is durable: so is what was decided."""
        decision, self._decision = self._decision, None
        if decision is not None and self._requests is not None:
            self._requests.decided(decision)
            self.journal.write("source.decided", source=self.source.name, decision=decision.action)

    def _gather(self, reader: Reader) -> list[Group]:
        """Groups that are there already, to share one fsync; waits for the first.

        An error after some groups is kept until they are in the log: what was read is not thrown away.
        """
        if self._deferred is not None:
            error, self._deferred = self._deferred, None
            raise error
        groups: list[Group] = []
        records = size = 0
        while records < GATHER_RECORDS and size < GATHER_BYTES:
            try:
                group = reader.poll(0.0 if groups else POLL_S)
            except HeadwaterError as error:
                if not groups:
                    raise
                self._deferred = error
                break
            if group is None:
                break
            groups.append(self._audit.added(group) if self._audit else group)
            records += len(group)
            size += sum(batch.rows.nbytes for batch in group.batches)
        return groups

    def _forget_parts(self, partition: Partition) -> None:
        """The next reading begins again with a transaction that this one did not bring to its end."""
        try:
            partition.forget_parts()
        except StorageFailed:
            self._must_reopen = True
