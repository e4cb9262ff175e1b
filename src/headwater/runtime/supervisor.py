"""Runs a project: one capture job per source, one epoch job, the status, and a stop that loses nothing."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import FrameType

from pydantic import BaseModel, SecretStr

from headwater.api.server import Service
from headwater.capture.source import Source
from headwater.clock import Clock, SystemClock
from headwater.errors import HeadwaterError, PositionLost
from headwater.project.connectors import make_audit, make_source
from headwater.project.definition import Project
from headwater.project.folder import load
from headwater.redaction import Secrets
from headwater.registry.registration import OwnRegistry
from headwater.registry.store import SchemaStore
from headwater.runtime.api import make_api
from headwater.runtime.capture_job import CaptureJob, Partitions
from headwater.runtime.deliverers import Deliverers
from headwater.runtime.epoch_job import EpochJob
from headwater.runtime.identity import state_identity
from headwater.runtime.journal import Journal
from headwater.runtime.maintenance_job import MaintenanceJob
from headwater.runtime.requests import Requests
from headwater.runtime.running import Running
from headwater.runtime.source_watch import SourceWatch
from headwater.runtime.status import Status, StatusWriter, take_lock
from headwater.runtime.stream_subjects import StreamSubjects

TICK_S = 0.25
INTERRUPTED = 130


class Supervisor:
    """Runs a project until it is told to stop, or with `once` until what the sources held at first is in the tables.

    Args:
        project: what to run.
        journal: where changes of state are told.
        clock: time.
        once: stop when caught up.
        sources: by name; by default made by the project's connectors.
        watch: called with every new status (the demo's live view).
        extend: what lives in the web server besides, made of the running project (the console); with it there is a
            server also if the project asks for none. Not with `once`.
        reload: reads the project's folder again, for changed models; by default with this process's environment.

    Raises:
        UserError: the project is running already.
    """

    def __init__(
        self,
        project: Project,
        journal: Journal | None = None,
        clock: Clock | None = None,
        *,
        once: bool = False,
        sources: Mapping[str, Source] | None = None,
        watch: Callable[[Status], None] | None = None,
        extend: Callable[[Running], Sequence[Service]] | None = None,
        reload: Callable[[], Project] | None = None,
    ) -> None:
        self._project = project
        self._clock = clock or SystemClock()
        self._journal = journal or Journal(clock=self._clock)
        self._journal.secrets = secrets_of(project)
        self._watch = watch
        self._stop = threading.Event()
        self._interrupted = False
        self._lock = take_lock(project.state, self._clock)
        self._partitions = Partitions(project.state / "log", self._journal, self._clock, int(project.run.log_segment))
        made = sources if sources is not None else self._make_sources()
        for name in made:
            self._partitions.open(name)
        self._once = once
        self._captures = [self._capture(source) for source in made.values()]
        self._watches = [
            SourceWatch(job, job.source.watcher(), self._partitions, self._journal, self._clock)
            for job in self._captures
        ]
        self._deliverers = Deliverers(
            project, self._handed_over, self._journal, self._clock, OwnRegistry(lambda: self.schemas)
        )
        self._epochs = self._epoch_job(made, reload)
        self._maintenance = MaintenanceJob(
            project, self._epochs.tables, self._epochs.behind, self._journal, self._clock
        )
        self._status = StatusWriter(project.name, project.state, self._clock)
        self._running = Running(
            project, self._clock, self._journal, lambda: self._epochs.progress, self._epochs.tables, self._partitions,
            made, self._partitions.meters,
            lambda: (*self._captures, self._epochs, self._maintenance, *self._deliverers.jobs),
        )  # fmt: skip
        self._serves_console = extend is not None and not once and (project.api is None or project.api.console)
        self._api = make_api(
            project, made.values(), lambda: self._epochs.progress, self._journal, self._clock, lambda: self.schemas,
            extend(self._running) if extend is not None and not once else (),
        )  # fmt: skip

        self._status.console = self.api_url if self._serves_console else None

    def run(self) -> HeadwaterError | None:
        """Runs until stopped; returns the error that stopped it, or None after a stop that was asked for."""
        self._journal.write("project.starting", project=self._project.name, state=str(self._project.state))
        for job in (*self._captures, *self._watches, self._epochs, self._maintenance):
            job.start()
        if self._api is not None:
            self._api.start()
            self._journal.write("api.listening", url=self._api.url, console=self._serves_console or None)
        self._deliverers.start()
        try:
            while not self._clock.wait(self._stop, TICK_S) and not self._interrupted and self._epochs.is_alive():
                self._running.alive()
                self._revive()
                self._tell(running=True)
        finally:
            error = self._shut_down()
        self._journal.write("project.stopped", project=self._project.name, epoch=self._epochs.progress.epoch)
        return error

    @property
    def project(self) -> Project:
        """The project as it runs now."""
        return self._epochs.project

    @property
    def api_url(self) -> str | None:
        """Where the project's web server listens; None if it has none."""
        return self._api.url if self._api is not None else None

    def stop(self) -> None:
        """Asks for a graceful stop: the epoch under way is finished and a checkpoint written."""
        self._stop.set()

    def stop_on_signals(self) -> None:
        """SIGINT and SIGTERM stop gracefully; a second one stops at once.

        The handler runs in the main thread, which may be inside `wait` and hold the event's lock: it must not set it.
        """

        def on_signal(number: int, frame: FrameType | None) -> None:
            if self._interrupted or self._stop.is_set():
                os._exit(INTERRUPTED)
            self._interrupted = True

        signal.signal(signal.SIGINT, on_signal)
        signal.signal(signal.SIGTERM, on_signal)

    def _epoch_job(self, sources: Mapping[str, Source], reload: Callable[[], Project] | None) -> EpochJob:
        return EpochJob(
            self._project, sources, self._partitions, self._captured, self._journal, self._clock,
            self._maintenance_wait_s, self._deliverers.outboxes, self._partitions.meters,
            reload or (lambda: load(self._project.folder, environment=os.environ)),
            StreamSubjects(sources, lambda: self.schemas if self._api is not None else None).follow,
        )  # fmt: skip

    def _capture(self, source: Source) -> CaptureJob:
        requests = Requests(self._project.state, source.name)
        definition = next((known for known in self._project.sources if known.name == source.name), None)
        return CaptureJob(
            source, self._partitions, self._journal, self._clock, once=self._once, requests=requests,
            audit=make_audit(definition, source) if definition else None,
        )  # fmt: skip

    def _revive(self) -> None:
        """Begins a source or sync again that stopped for a decision which has been taken since."""
        self._deliverers.revive()
        for at, job in enumerate(self._captures):
            lost = not job.is_alive() and isinstance(job.error, PositionLost)
            if lost and Requests(self._project.state, job.source.name).decision() is not None:
                self._captures[at] = self._watches[at].capture = self._capture(job.source)
                self._captures[at].start()

    def _maintenance_wait_s(self) -> float:
        return self._maintenance.wait_s()

    def _handed_over(self) -> bool:
        """Whether no more will be handed to the syncs."""
        return not self._epochs.is_alive() and self._epochs.state in ("done", "stopped")

    def _captured(self) -> bool:
        """Whether no more records will arrive."""
        return all(not job.is_alive() and job.state in ("done", "stopped") for job in self._captures)

    def _shut_down(self) -> HeadwaterError | None:
        self._running.ending.set()
        if self._api is not None:
            self._api.stop()
        for job in (*self._captures, *self._watches):
            job.stop()
        for job in (*self._captures, *self._watches):
            job.join()
        for ending in (self._maintenance, self._epochs):
            ending.stop()
            ending.join()
        drains = self._once and not self._interrupted and not self._stop.is_set()
        stopped = self._deliverers.finish((lambda: self._interrupted) if drains else None)
        self._tell(running=False)
        self._partitions.close()
        if "schemas" in self.__dict__:
            self.schemas.close()
        os.close(self._lock)
        errors = [job.error for job in (self._epochs, *self._captures) if job.error and job.state == "stopped"]
        errors += stopped
        for error in errors:
            self._keep_traceback(error)
        return errors[0] if errors else None

    def _tell(self, *, running: bool) -> None:
        try:
            status = self._status.write(
                self._captures, self._watches, self._epochs, self._maintenance, self._deliverers, running=running
            )
        except OSError as error:
            self._journal.write("status.unwritten", "warning", error=str(error))
            return
        self._running.project = self._epochs.project
        self._running.observe(status)
        if self._watch is not None:
            self._watch(status)

    @cached_property
    def schemas(self) -> SchemaStore:
        """The schemas that the project knows."""
        return SchemaStore(self._project.state)

    def _make_sources(self) -> dict[str, Source]:
        state = self._project.state
        identity = state_identity(state)
        return {
            definition.name: make_source(
                definition, self._project.name, identity, self._clock, scratch=state, schemas=lambda: self.schemas
            )
            for definition in self._project.sources
        }

    def _keep_traceback(self, error: HeadwaterError) -> None:
        if error.domain == "internal":
            text = "".join(traceback.format_exception(error))
            (self._project.state / "traceback.txt").write_text(self._journal.secrets.mask(text), encoding="utf-8")


def secrets_of(project: Project) -> Secrets:
    """The secrets in a project's settings."""
    settings: list[BaseModel] = [source.settings for source in project.sources]
    settings += [sync.own for sync in project.syncs]
    settings += [project.api] if project.api is not None else []
    values = [value for one in (*settings, project.lake.s3, project.lake.catalog) for _, value in one]
    return Secrets(value.get_secret_value() for value in values if isinstance(value, SecretStr))
