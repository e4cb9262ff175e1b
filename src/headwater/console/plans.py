"""`/v1/plan`, `/v1/apply` and `/v1/rollback`: what changed files will do, doing it, and going back."""

from __future__ import annotations

import os
from dataclasses import asdict

from headwater.api.problem import Problem
from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import plans as shapes
from headwater.errors import ProjectError, UserError
from headwater.project.check import check
from headwater.project.definition import Project
from headwater.project.discovery import load_streams
from headwater.project.folder import load, read
from headwater.project.mistakes import Mistakes
from headwater.project.plan import plan as make_plan
from headwater.project.recorded import load_recorded
from headwater.project.versions import Versions, models_digest
from headwater.runtime.running import Running
from headwater.runtime.swap.asking import ask, needs_restart, restore_file, version_before
from headwater.runtime.swap.needs import needs
from headwater.runtime.swap.requests import Applies, ApplyStatus

STEPS = ("building", "following", "canary", "swapping")
_AT = {"asked": -1, "building": 0, "following": 1, "canary": 2, "differs": 2, "swapping": 3}


def plan(call: Call) -> shapes.Plan:
    """What applying the files would do."""
    running = call.running
    try:
        project = _as_written(running)
    except ProjectError as error:
        return _mistaken(running, error)
    made = make_plan(project, load_recorded(project.state), load_streams(project.state))
    wanted, kept = needs(project, made)
    restart = needs_restart(project)
    versions = Versions(project.state)
    changed = any(item.kind in ("model", "table") for item in made.changes)
    return shapes.Plan(
        digest=models_digest(project.models),
        items=[shapes.PlanItem(**asdict(item)) for item in made.items],
        needs=[shapes.Need.model_validate(one.to_json()) for one in wanted],
        kept=[shapes.Kept(model=one.model, bytes=one.bytes) for one in kept],
        can_apply=changed and not restart and Applies(project.state).pending() is None,
        restart=restart,
        mistakes=[],
        versions={model.name: len(versions.of(model.name)) for model in project.models},
    )


def apply(call: Call) -> shapes.Begun:
    """Has the project take over its files as they are."""
    asked, running = call.of(shapes.AskApply), call.running
    _require_consent(asked.confirm)
    try:
        project = _as_written(running)
    except ProjectError as error:
        raise _problem(running, error) from error
    if asked.digest is not None and asked.digest != models_digest(project.models):
        raise Problem(409, "the files have changed since they were planned", hint="POST /v1/plan")
    return _begin(running, project, asked.canary_s, asked.tolerance)


def status(call: Call) -> shapes.Apply:
    """How the change under way, or the last one, stands."""
    return _shown(Applies(call.running.project.state).status())


def cancel(call: Call) -> shapes.Apply:
    """Gives the change under way up."""
    return _decided(call, go=False)


def proceed(call: Call) -> shapes.Apply:
    """Swaps although the versions differ."""
    return _decided(call, go=True)


def rollback(call: Call) -> shapes.Begun:
    """Brings back the version of a model that ran before, its file included."""
    asked, running = call.of(shapes.AskRollback), call.running
    _require_consent(asked.confirm)
    project = running.project
    if Applies(project.state).pending() is not None:
        raise Problem(409, "the project is being changed already", hint="POST /v1/apply/cancel")
    try:
        version = version_before(project, asked.model)
        found = read(project.folder, environment=os.environ, mistakes=Mistakes())
        models = found.models if found is not None else project.models
        restore_file(project.folder, project.state, asked.model, version, models, force=asked.force)
        return _begin(running, _as_written(running), None, None)
    except ProjectError as error:
        raise _problem(running, error) from error
    except UserError as error:
        raise Problem(409, running.mask(error.message), hint=running.mask(error.hint)) from error


def _require_consent(given: bool) -> None:
    if not given:
        raise Problem(422, "this changes what runs, and `confirm` is not true", hint='send "confirm": true')


def _as_written(running: Running) -> Project:
    """The project as its files are.

    Raises:
        ProjectError: they have mistakes.
    """
    project = load(running.project.folder, environment=os.environ)
    check(project, load_streams(project.state))
    return project


def _begin(running: Running, project: Project, canary_s: float | None, tolerance: float | None) -> shapes.Begun:
    restart = needs_restart(project)
    if restart:
        raise Problem(
            409, f"the settings of {', '.join(restart)} changed, which takes a restart",
            hint="stop headwater run and start it again",
        )  # fmt: skip
    try:
        return shapes.Begun(id=ask(project, running.clock.now_us(), canary_s=canary_s, tolerance=tolerance).id)
    except UserError as error:
        raise Problem(409, error.message, hint="POST /v1/apply/cancel gives it up") from error


def _decided(call: Call, *, go: bool) -> shapes.Apply:
    applies = Applies(call.running.project.state)
    pending = applies.pending()
    wanted = call.of(shapes.AskDecision).id
    if pending is None or (wanted is not None and wanted != pending.id):
        raise Problem(409, "no such change is under way", hint="GET /v1/apply")
    applies.answer(pending.id, go=go)
    return _shown(applies.status())


def _mistaken(running: Running, error: ProjectError) -> shapes.Plan:
    found = [
        shapes.Mistake(
            message=running.mask(one.message), hint=running.mask(one.hint),
            file=one.place.file if one.place else "", line=one.place.line if one.place else 0,
            column=one.place.column if one.place else 0,
        )
        for one in error.mistakes
    ]  # fmt: skip
    return shapes.Plan(digest="", items=[], needs=[], kept=[], can_apply=False, restart=[], mistakes=found, versions={})


def _problem(running: Running, error: ProjectError) -> Problem:
    first = error.mistakes[0] if error.mistakes else error
    where = f"{first.place}: " if first.place else ""
    return Problem(422, running.mask(where + first.message), hint=running.mask(first.hint))


def _shown(status: ApplyStatus | None) -> shapes.Apply:
    """A status as the API says it."""
    now = status if status is not None else ApplyStatus("")
    at = len(STEPS) if now.state == "done" else _AT.get(now.state, -1)
    words = ["done" if number < at else "now" if number == at else "waits" for number in range(len(STEPS))]
    differences = [shapes.Difference.model_validate(one) for one in now.compared]
    return shapes.Apply(
        id=now.id or None,
        state=now.state if status is not None else "none",
        over=now.is_over or status is None,
        models=now.models,
        leave=now.leave,
        steps=[shapes.Step(name=name, state=state) for name, state in zip(STEPS, words, strict=True)],
        progress=shapes.Progress(
            rows=now.rows, rows_total=now.rows_total, bytes_total=now.bytes_total, behind_rows=now.behind_rows
        ),
        epoch=now.epoch,
        compared=differences,
        pause_ms=now.pause_ms,
        error=now.error,
        hint=now.hint,
    )


ENDPOINTS = (
    Endpoint("POST", "/v1/plan", "What applying the project's files would do.", shapes.Plan, plan, shapes.AskPlan),
    Endpoint("POST", "/v1/apply", "Apply the project's files while it runs.", shapes.Begun, apply, shapes.AskApply),
    Endpoint("GET", "/v1/apply", "How the change under way, or the last one, stands.", shapes.Apply, status),
    Endpoint("POST", "/v1/apply/cancel", "Give the change under way up.", shapes.Apply, cancel, shapes.AskDecision),
    Endpoint("POST", "/v1/apply/proceed", "Swap although the versions differ.", shapes.Apply, proceed,
             shapes.AskDecision),
    Endpoint("POST", "/v1/rollback", "Bring back the version of a model that ran before.", shapes.Begun, rollback,
             shapes.AskRollback),
)  # fmt: skip
