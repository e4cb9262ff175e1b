"""All syncs of a running project: their outboxes, and a delivery job for each."""

from __future__ import annotations

from collections.abc import Callable

from headwater.clock import Clock
from headwater.errors import HeadwaterError
from headwater.formats.schema_source import SchemaSource
from headwater.project.definition import Project, SyncDefinition
from headwater.runtime.delivery_job import DeliveryJob
from headwater.runtime.journal import Journal
from headwater.runtime.outboxes import Outboxes, sync_folder

RESUME = "resume"
"""File in a sync's folder that asks for a sync that stopped to begin again."""
JOIN_S = 0.1


class Deliverers:
    """The syncs of a project. Used by the supervisor's thread.

    Args:
        project: whose.
        ended: says whether nothing more will be handed over.
        schemas: the project's own registry.

    Attributes:
        outboxes: for the epochs' thread.
        jobs: one per sync, in the order of the project.
    """

    def __init__(
        self, project: Project, ended: Callable[[], bool], journal: Journal, clock: Clock,
        schemas: SchemaSource | None = None,
    ) -> None:  # fmt: skip
        self._schemas = schemas
        self._project, self._ended, self._journal, self._clock = project, ended, journal, clock
        self.outboxes = Outboxes(project, journal, clock)
        self.jobs = [self._job(sync) for sync in project.syncs]

    def start(self) -> None:
        """Starts the jobs."""
        for job in self.jobs:
            job.start()

    def revive(self) -> None:
        """Begins a sync again that stopped for a decision which has been taken since."""
        for at, job in enumerate(self.jobs):
            asked = sync_folder(self._project.state, job.sync.name) / RESUME
            if asked.exists():
                if not job.is_alive() and job.state == "stopped":
                    self.jobs[at] = self._job(job.sync)
                    self.jobs[at].start()
                asked.unlink(missing_ok=True)

    def finish(self, interrupted: Callable[[], bool] | None) -> list[HeadwaterError]:
        """Ends the jobs; returns what some of them had stopped for.

        Args:
            interrupted: None to end them at once; else they go on until all that can be delivered is, or this is true.
        """
        for job in self.jobs:
            while interrupted is not None and job.is_alive() and not interrupted():
                job.join(JOIN_S)
            job.stop()
            if job.ident is not None:
                job.join()
        self.outboxes.close()
        return [job.error for job in self.jobs if job.error is not None and job.state == "stopped"]

    def _job(self, sync: SyncDefinition) -> DeliveryJob:
        return DeliveryJob(self._project, sync, self.outboxes, self._ended, self._journal, self._clock, self._schemas)
