"""The one loop from a source to the log: poll, append and fsync, confirm. Nothing else confirms a position."""

from __future__ import annotations

import threading
from pathlib import Path

from headwater.capture.source import Reader, Source
from headwater.change import Group
from headwater.clock import Clock
from headwater.errors import HeadwaterError, StorageFailed
from headwater.log.partition import Partition, Recovery
from headwater.runtime.job import Job
from headwater.runtime.journal import Journal

POLL_S = 0.05
GATHER_RECORDS = 20_000
GATHER_BYTES = 16 << 20


class Partitions:
    """The open log partitions by source; a partition that failed to write is opened anew here, for all its users."""

    def __init__(self, folder: Path, journal: Journal, clock: Clock, segment_bytes: int) -> None:
        self._folder = folder
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
    """

    def __init__(
        self,
        source: Source,
        partitions: Partitions,
        journal: Journal,
        clock: Clock,
        *,
        once: bool = False,
    ) -> None:
        super().__init__(f"source:{source.name}", journal, clock)
        self.source = source
        self.lag_bytes: int | None = None
        self.taken = 0
        self._partitions = partitions
        self._once = once
        self._must_reopen = False
        self._deferred: HeadwaterError | None = None

    def body(self) -> None:
        """Opens the source where the log ends and follows it."""
        partition = self._partition()
        boundary = partition.boundary
        self.journal.write("source.opening", source=self.source.name, resumes=boundary is not None)
        reader = self.source.open(boundary.resume if boundary else None)
        try:
            if boundary:
                reader.confirm(boundary)
            self._follow(reader, partition)
        except StorageFailed:
            self._must_reopen = True
            raise
        finally:
            self._deferred = None
            self._forget_parts(partition)
            reader.close()

    def _partition(self) -> Partition:
        if self._must_reopen:
            partition = self._partitions.open(self.source.name)
            self._must_reopen = False
            return partition
        return self._partitions[self.source.name]

    def _follow(self, reader: Reader, partition: Partition) -> None:
        while not self.stopping.is_set():
            groups = self._gather(reader)
            self.lag_bytes = reader.lag_bytes()
            if groups:
                partition.append(groups)
                self.taken += sum(len(group) for group in groups)
                whole = [group.boundary for group in groups if not group.more]
                if whole:
                    reader.confirm(whole[-1])
                snapshot = partition.boundary is None or partition.boundary.snapshot
                self.healthy("snapshotting" if snapshot else "running")
            elif partition.unfinished:
                continue
            elif self._once and self.lag_bytes == 0 and partition.boundary and not partition.boundary.snapshot:
                return
            elif partition.boundary and not partition.boundary.snapshot:
                self.healthy()

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
            groups.append(group)
            records += len(group)
            size += sum(batch.rows.nbytes for batch in group.batches)
        return groups

    def _forget_parts(self, partition: Partition) -> None:
        """The next reading begins again with a transaction that this one did not bring to its end."""
        try:
            partition.forget_parts()
        except StorageFailed:
            self._must_reopen = True
