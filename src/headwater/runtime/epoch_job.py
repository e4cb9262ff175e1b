"""The loop from the log to the lake: plan an epoch, run it, and now and then write a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headwater.capture.source import Source
from headwater.clock import Clock
from headwater.errors import CheckFailed, HeadwaterError
from headwater.lake.table_format import Table
from headwater.project.definition import Project
from headwater.project.recorded import record, save_recorded
from headwater.project.versions import Versions
from headwater.runtime.capture_job import Partitions
from headwater.runtime.freshness import Freshness
from headwater.runtime.job import Job
from headwater.runtime.journal import Journal
from headwater.runtime.meters import Meters
from headwater.runtime.nodes import StreamNode
from headwater.runtime.outboxes import Outboxes
from headwater.runtime.pipeline import Pipeline
from headwater.runtime.progress import Progress, read_progress
from headwater.runtime.recovery import open_pipeline
from headwater.runtime.replay import requested_replays
from headwater.runtime.swap.conductor import Swaps
from headwater.schema import StreamSchema

CHECKPOINT_COST = 9.0
"""Least time between two checkpoints, in durations of the last one."""


class EpochJob(Job):
    """Runs the epochs of a project.

    Args:
        project: what to run.
        sources: by name.
        partitions: the log, open.
        captured: says whether no more will arrive, for `--once`.
        wait_s: how long the next epoch is to wait on top of its interval.
        outboxes: of the syncs.
        meters: take how long epochs and checkpoints took.
        reload: reads the project's folder as it is now; without it models are not changed while it runs.
        follow: is told of the streams as they are after every epoch.

    Attributes:
        progress: what the status page shows, replaced whole after every epoch.
    """

    def __init__(
        self,
        project: Project,
        sources: Mapping[str, Source],
        partitions: Partitions,
        captured: Callable[[], bool],
        journal: Journal,
        clock: Clock,
        wait_s: Callable[[], float] = lambda: 0.0,
        outboxes: Outboxes | None = None,
        meters: Meters | None = None,
        reload: Callable[[], Project] | None = None,
        follow: Callable[[Mapping[str, StreamNode]], None] = lambda streams: None,
    ) -> None:
        super().__init__("epochs", journal, clock)
        self.progress = Progress()
        self._project = project
        self._sources = sources
        self._partitions = partitions
        self._captured = captured
        self._wait_s = wait_s
        self._outboxes = outboxes or Outboxes(project, journal, clock)
        self._meters = meters or Meters()
        self._pipeline: Pipeline | None = None
        self._swaps = Swaps(project, journal, clock, reload or (lambda: project), self._swapped)
        self._follow = follow
        self._freshness = Freshness()
        self._recorded: dict[str, StreamSchema] | None = None
        self._opened = self._tried_again = False

    def body(self) -> None:
        """Opens the project, which runs again what a crash cut short, and goes on."""
        self._opened = False
        pipeline = open_pipeline(
            self.project, self._sources, self._partitions, self.journal, self.clock, self._freshness, self._outboxes
        )
        try:
            self._opened = True
            self._pipeline = pipeline
            self._swaps.begin()
            self._record(pipeline)
            self._report(pipeline)
            if not isinstance(self.error, CheckFailed):
                self.healthy()
            self._loop(pipeline)
            pipeline.checkpoint()
            self._record(pipeline)
            self._report(pipeline)
        finally:
            self._pipeline = None
            self._swaps.begin()
            pipeline.close()

    def is_final(self, failure: HeadwaterError) -> bool:
        """A check that stops an epoch does so for good when nothing more will arrive that could mend it. An epoch that
        was planned before a restart may lack what has arrived since, so it is tried once more."""
        if not isinstance(failure, CheckFailed) or not self._captured():
            return False
        again, self._tried_again = not self._opened and not self._tried_again, True
        return not again

    @property
    def project(self) -> Project:
        """The project as it runs now: models may have been swapped."""
        return self._swaps.project

    def tables(self) -> Mapping[str, Table]:
        """The tables that are open now; asked by the maintenance thread."""
        pipeline = self._pipeline
        return pipeline.sinks.open_tables() if pipeline is not None else {}

    def behind(self) -> bool:
        """Whether more waits in the log than one epoch takes; asked by the maintenance thread."""
        pipeline, most = self._pipeline, self._project.run.epoch_max_records
        if pipeline is None:
            return True
        return any(log.head - pipeline.offsets_of(source) > most for source, log in pipeline.partitions.items())

    def _record(self, pipeline: Pipeline) -> None:
        """Keeps what `headwater plan` compares with, anew when streams have come or have other columns: what runs has
        followed them, and a plan that offered it would offer work that is done."""
        streams = {name: node.stream for name, node in pipeline.flow.streams.items()}
        if self._recorded != streams:
            save_recorded(self._project.state, record(self.project))
            Versions(self._project.state).keep(self.project.models, self.clock.now_us(), self._swaps.texts)
            self._recorded = streams

    def _loop(self, pipeline: Pipeline) -> None:
        run = self._project.run
        due = self.clock.monotonic_s() + run.checkpoint_interval.total_seconds()
        while not self.stopping.is_set():
            began = self.clock.monotonic_s()
            self.alive()
            at_end = self._captured()
            took = self._epoch(pipeline)
            pipeline.resync()
            self._swaps.tend(pipeline)
            if not took and at_end:
                return
            if self.clock.monotonic_s() >= due:
                due = self._checkpoint(pipeline)
            left = run.epoch_interval.total_seconds() + self._wait_s() - (self.clock.monotonic_s() - began)
            if left > 0 and not at_end:
                self.clock.wait(self.stopping, left)

    def _swapped(self, pipeline: Pipeline) -> None:
        """Keeps and shows the project as it runs from now on."""
        self._recorded = None
        self._record(pipeline)
        self._report(pipeline)

    def _checkpoint(self, pipeline: Pipeline) -> float:
        """Writes a checkpoint and says when the next is due: so late that checkpoints take a tenth of the time."""
        began = self.clock.monotonic_s()
        pipeline.checkpoint()
        self._meters.checkpoints.add(self.clock.monotonic_s() - began)
        self._record(pipeline)
        self._report(pipeline)
        ended = self.clock.monotonic_s()
        wanted = self._project.run.checkpoint_interval.total_seconds()
        return ended + max(wanted, CHECKPOINT_COST * (ended - began))

    def _epoch(self, pipeline: Pipeline) -> bool:
        by_stream = {name: self._sources[node.source] for name, node in pipeline.flow.streams.items()}
        replays = requested_replays(pipeline.store, by_stream, pipeline.flow.models, self.clock.now_us())
        plan = pipeline.next_plan(replays)
        if plan is None:
            self._report(pipeline)
            return False
        began = self.clock.monotonic_s()
        pipeline.run(plan)
        self._meters.epochs.add(self.clock.monotonic_s() - began)
        self._record(pipeline)
        pipeline.check_accounts()
        self.healthy()
        self._report(pipeline)
        return True

    def _report(self, pipeline: Pipeline) -> None:
        self._follow(pipeline.flow.streams)
        before, self.progress = self.progress, read_progress(pipeline, self._freshness, self.clock.now_us())
        if self.progress.rejects_open > before.rejects_open:
            self.journal.write(
                "rejects.open", "warning", open=self.progress.rejects_open, hint="headwater rejects ls shows them"
            )
