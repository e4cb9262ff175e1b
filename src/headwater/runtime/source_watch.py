"""Watches a source from the side while its capture job reads, waits or has stopped."""

from __future__ import annotations

from headwater.capture.health import Health, Watcher
from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.runtime.capture_job import CaptureJob, Partitions
from headwater.runtime.job import Job
from headwater.runtime.journal import Journal


class SourceWatch(Job):
    """Looks at one source now and then. What it sees goes into the status; what must stop the source, to its job.

    Args:
        capture: the source's job.
        watcher: looks.
        partitions: the log, for where it ends.

    Attributes:
        health: what the last look found; empty while the source does not answer.
    """

    def __init__(
        self, capture: CaptureJob, watcher: Watcher, partitions: Partitions, journal: Journal, clock: Clock
    ) -> None:
        super().__init__(f"watch:{capture.source.name}", journal, clock)
        self.health = Health()
        self.capture = capture
        self._watcher = watcher
        self._partitions = partitions
        self._told: set[str] = set()

    def body(self) -> None:
        """Looks until told to stop."""
        try:
            while not self.clock.wait(self.stopping, self._watcher.interval_s):
                self._look()
        finally:
            self._watcher.close()

    def _look(self) -> None:
        """One look. A source that does not answer or refuses us is its capture job's to tell."""
        boundary = self._partitions[self.capture.source.name].boundary
        try:
            self.health = self._watcher.look(boundary.resume if boundary else None)
        except HeadwaterError:
            self.health = Health()
            return
        self._tell(self.health)
        if self.health.stop is not None:
            self.capture.halt(self.health.stop)

    def _tell(self, health: Health) -> None:
        """Tells each alarm when it begins and when it ends."""
        source = self.capture.source.name
        for alarm in health.alarms:
            if alarm.code not in self._told:
                self.journal.write(
                    "source.alarm", "warning", source=source, alarm=alarm.code, message=alarm.message, hint=alarm.hint
                )
        codes = {alarm.code for alarm in health.alarms}
        for code in sorted(self._told - codes):
            self.journal.write("source.alarm_over", source=source, alarm=code)
        self._told = codes
