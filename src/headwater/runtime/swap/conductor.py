"""Carries out what is asked of a running project about its models, a step between every two epochs.

The protocol is in `docs/decisions/2026-11-22-swap.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Event

from headwater import failpoint
from headwater.clock import Clock
from headwater.errors import HeadwaterError, ProjectError, UserError
from headwater.project.check import check
from headwater.project.definition import Project
from headwater.project.recorded import source_fingerprint
from headwater.project.versions import models_digest, texts_of
from headwater.quality.checks import gate_fingerprint
from headwater.runtime.journal import Journal
from headwater.runtime.pipeline import Pipeline
from headwater.runtime.swap.adoption import adopt, require_tables
from headwater.runtime.swap.build import Build
from headwater.runtime.swap.choice import choose
from headwater.runtime.swap.requests import Applies, ApplyRequest, ApplyStatus, State
from headwater.schema import StreamSchema

MOST_TRIES = 20
"""So often is a build begun again because its inputs changed their columns meanwhile."""


class Swaps:
    """Used by the epochs' thread.

    Args:
        project: as it runs at first.
        journal: where it is told.
        clock: time.
        reload: reads the project's folder as it is now.
        swapped: keeps what runs from now on; called before anybody is told that a swap is done, so that whoever waits
            for that finds all of it.
    """

    def __init__(
        self,
        project: Project,
        journal: Journal,
        clock: Clock,
        reload: Callable[[], Project],
        swapped: Callable[[Pipeline], None],
    ) -> None:
        self.project = project
        self._journal, self._clock, self._reload, self._swapped = journal, clock, reload, swapped
        self.texts: dict[str, str] = {}
        self._applies = Applies(project.state)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="apply")
        self._loading: Future[Project] | None = None
        self._wanted: Project | None = None
        self._build: Build | None = None
        self._status: ApplyStatus | None = None
        self._canary_until: float | None = None
        self._comparing: Event | None = None
        self._judged = False

    def begin(self) -> None:
        """Forgets what was under way for a pipeline that is no more; what was asked for is begun again."""
        self._drop()
        self._status = None

    def close(self) -> None:
        """Gives up what is under way."""
        self._drop()
        self._pool.shutdown(wait=False)

    def tend(self, pipeline: Pipeline) -> None:
        """Takes the next step, if something is asked for.

        Raises:
            HeadwaterError: the swap itself failed: the project is to be opened again.
        """
        try:
            request = self._applies.pending()
        except UserError as error:
            self._journal.write("apply.unreadable", "warning", error=str(error), hint=error.hint)
            return
        if request is None:
            if self._status is not None and not self._status.is_over:
                self._drop()
            return
        if self._status is None or self._status.id != request.id:
            self._drop()
            self._status = ApplyStatus(request.id)
            self._journal.write("apply.begun", id=request.id)
        if self._applies.answered(request.id) is False:
            self._end("cancelled")
            return
        try:
            self._step(pipeline, request)
        except _Over as over:
            self._end(over.state, str(over.error), over.error.hint)

    def _step(self, pipeline: Pipeline, request: ApplyRequest) -> None:
        if self._wanted is None:
            self._load(pipeline, request)
        elif self._build is None:
            self._choose(pipeline)
        else:
            self._go_on(pipeline, request, self._build)

    def _load(self, pipeline: Pipeline, request: ApplyRequest) -> None:
        """Reads the project's folder, in another thread."""
        if pipeline.rebuild or pipeline.swapping:
            return  # a start that found the files changed: its first epoch does it
        if self._loading is None:
            streams = [node.stream for node in pipeline.flow.streams.values()]
            self._loading = self._pool.submit(self._read, request, streams)
        if not self._loading.done():
            return
        loading, self._loading = self._loading, None
        try:
            self._wanted = loading.result()
        except HeadwaterError as error:
            raise _Over("refused", error) from error

    def _read(self, request: ApplyRequest, streams: Sequence[StreamSchema]) -> Project:
        project = self._reload()
        texts = texts_of(project.models)
        check(project, streams)
        if models_digest(project.models) != request.digest:
            raise UserError("the project's files have changed since they were planned", hint="headwater apply")
        now, then = ({s.name: source_fingerprint(s) for s in one.sources} for one in (project, self.project))
        if now != then:
            raise UserError(
                "sources changed in headwater.yml, which takes a restart", hint="stop headwater run and start it again"
            )
        gates = ({name: _gate(one, name) for name in (s.name for s in streams)} for one in (project, self.project))
        if next(gates) != next(gates):
            raise UserError(
                "a check that sets rows of a stream aside is new or another one, which takes a restart",
                hint="stop headwater run and start it again",
            )
        self.texts = texts  # now: they may be edited on before the swap is done
        return project

    def _choose(self, pipeline: Pipeline) -> None:
        """Begins to build, or swaps at once what needs none."""
        assert self._wanted is not None and self._status is not None
        choice = choose(pipeline.flow, self._wanted)
        self._status.models, self._status.leave = dict(choice.build), list(choice.leave)
        if not choice.build:
            if not choice.nothing:
                pipeline.flow.become(choice.models, {}, choice.checks)
            self._adopted(pipeline)
            self._done(pipeline)
            return
        self._build = Build(pipeline.flow, pipeline.sinks, choice, self._applies.folder / "build")
        self._build.start()
        self._tell("building")

    def _go_on(self, pipeline: Pipeline, request: ApplyRequest, build: Build) -> None:
        if build.error is not None:
            raise _Over("failed", build.error)
        if build.upset:
            self._again(build)
        elif build.phase == "ready" and pipeline.flow.tap is None:
            self._give_picture(pipeline, build)
        elif build.phase == "building":
            self._tell("building")
        elif build.is_near and self._may_swap(pipeline, request, build):
            self._swap(pipeline, build)
        elif build.phase == "following":
            self._tell(self._status.state if self._status and self._status.state != "building" else "following")

    def _give_picture(self, pipeline: Pipeline, build: Build) -> None:
        """Freezes the inputs as of the last epoch, and listens to those to come."""
        if not build.fits():
            self._again(build)
            return
        flow, began = pipeline.flow, self._clock.monotonic_s()
        frozen = {}
        for name in sorted(build.inputs):
            rows = flow.streams[name].normaliser.frozen() if name in flow.streams else flow.nodes[name].view.frozen()
            if rows is None:
                self._again(build)
                return
            frozen[name] = rows
        flow.tap = build
        build.give(frozen)
        self._paused(began)
        self._tell("building")

    def _again(self, build: Build) -> None:
        """Begins to build again: the inputs have changed in a way that deltas do not say."""
        assert self._status is not None
        upset = ", ".join(sorted(build.upset)) or "an input"
        self._drop_build()
        self._status.again += 1
        self._journal.write("apply.again", "warning", id=self._status.id, inputs=upset)
        if self._status.again > MOST_TRIES:
            raise _Over("failed", UserError(f"{upset} changed {MOST_TRIES} times while the models were built"))

    def _may_swap(self, pipeline: Pipeline, request: ApplyRequest, build: Build) -> bool:
        """Whether both versions have run beside each other for long enough, and do not differ more than they may."""
        if self._judged or (request.canary_s is None and not request.show):
            return True
        now = self._clock.monotonic_s()
        if self._canary_until is None:
            self._canary_until = now + (request.canary_s or 0.0)
        if now < self._canary_until:
            self._tell("canary")
            return False
        if self._comparing is None:
            former = {
                name: partial(pipeline.former_rows, name, pipeline.epoch)
                for name in build.nodes
                if name in pipeline.flow.nodes
            }
            self._comparing = build.compare_with(former)
        if not self._comparing.is_set():
            self._tell("canary")
            return False
        worst = max((one.share for one in build.compared), default=0.0)
        if not request.show and worst > (request.tolerance or 0.0) and not self._applies.answered(request.id):
            self._tell("differs")
            return False
        self._judged = True
        return True

    def _swap(self, pipeline: Pipeline, build: Build) -> None:
        """Puts the new versions in the place of the old ones.

        Raises:
            HeadwaterError: the pipeline is to be opened again.
        """
        assert self._status is not None
        try:
            require_tables(pipeline, build)
        except UserError as error:
            raise _Over("refused", error) from error
        self._tell("swapping")
        began = self._clock.monotonic_s()
        if not adopt(pipeline, build, lambda: self._adopted(pipeline)):
            self._again(build)
            return
        self._paused(began)
        self._done(pipeline)

    def _done(self, pipeline: Pipeline) -> None:
        self._swapped(pipeline)
        self._end("done", epoch=pipeline.epoch)
        failpoint.reach("swap.done.after")

    def _adopted(self, pipeline: Pipeline) -> None:
        """The project that runs is another one from now on."""
        assert self._wanted is not None
        wanted = self._wanted
        self.project = pipeline.project = replace(pipeline.project, models=wanted.models, checks=wanted.checks)
        pipeline.inspector.renew()

    def _paused(self, began: float) -> None:
        if self._status is not None:
            self._status.pause_ms = max(self._status.pause_ms, round((self._clock.monotonic_s() - began) * 1e3, 1))

    def _tell(self, state: State) -> None:
        """Renews the status, if something in it is another than before."""
        assert self._status is not None
        before = replace(self._status)
        self._status.state = state
        if self._build is not None:
            progress = self._build.progress
            self._status.rows, self._status.rows_total = progress.rows, progress.rows_total
            self._status.bytes_total, self._status.behind_rows = progress.bytes_total, progress.behind_rows
            self._status.compared = [one.as_dict() for one in self._build.compared]
        if self._status != before:
            self._applies.tell(self._status)

    def _end(self, state: State, error: str = "", hint: str = "", epoch: int | None = None) -> None:
        assert self._status is not None
        if self._build is not None:
            self._tell(self._status.state)
        status = self._status
        mask = self._journal.secrets.mask
        status.state, status.error, status.hint, status.epoch = state, mask(error), mask(hint), epoch
        self._drop()
        self._status = status
        self._applies.tell(status)
        self._journal.write(
            f"apply.{state}",
            "info" if state == "done" else "warning",
            id=status.id,
            models=", ".join(status.models),
            error=error,
        )

    def _drop(self) -> None:
        if self._build is not None:
            self._drop_build()
        if self._loading is not None:
            self._loading.cancel()
        self._loading = self._wanted = None

    def _drop_build(self) -> None:
        build, self._build = self._build, None
        self._canary_until, self._comparing, self._judged = None, None, False
        if build is not None:
            if build.flow.tap is build:
                build.flow.tap = None
            with suppress(OSError):
                build.close()


def _gate(project: Project, stream: str) -> str:
    return gate_fingerprint([check for check in project.checks if check.node == stream])


class _Over(Exception):
    """The apply ends, and the old versions go on."""

    def __init__(self, state: State, error: HeadwaterError) -> None:
        super().__init__(str(error))
        self.state: State = state
        self.error = _first(error)


def _first(error: HeadwaterError) -> HeadwaterError:
    """The first mistake of a project, with its place."""
    return error.mistakes[0] if isinstance(error, ProjectError) and error.mistakes else error
