"""`headwater check`: finds the mistakes in a project, without running it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output
from headwater.errors import ProjectError

if TYPE_CHECKING:
    import pyarrow as pa

    from headwater.errors import HeadwaterError
    from headwater.project import Project
    from headwater.project.discovery import Answers
    from headwater.project.mistakes import Mistakes
    from headwater.schema import StreamSchema

    _Models = dict[str, tuple[pa.Schema, tuple[str, ...]]]
    """By model, its columns and key."""


def check(directory: Path = Path(), /, *, connect: bool = True, json: bool = False) -> int:
    """Find the mistakes in a project, without running it.

    Reads headwater.yml and models/*.sql, asks the sources for their tables, and holds every model against them. Nothing
    is made or changed anywhere. Every mistake is reported at once. When a source does not answer, what it had last is
    taken instead, and the exit code is 4.

    Args:
        directory: The project's folder.
        connect: Ask the sources; without it only what they had when last asked is known.
        json: Print one JSON object to stdout.
    """
    from headwater.project.mistakes import Mistakes

    mistakes = Mistakes()
    try:
        project = _read(directory, mistakes)
        answers = _ask(project) if connect else None
        notes: list[str] = []
        models: _Models = {}
        depth = _check(project, answers, mistakes, notes, models)
        errors = dict(answers.errors) if answers else {}
        if connect and depth == "types":
            errors |= _ask_destinations(project, models, notes)
    except ProjectError as error:
        if not json:
            raise
        output.print_json({"ok": False, "depth": "none", "mistakes": output.error_json(error), "unreachable": {}})
        return output.INVALID
    if json:
        unreachable = {name: output.error_json(error) for name, error in errors.items()}
        output.print_json({"ok": not errors, "depth": depth, "mistakes": [], "unreachable": unreachable})
    else:
        _say(project, answers, depth, notes)
    return next((output.exit_code(error) for error in errors.values()), output.OK)


def _ask(project: Project) -> Answers:
    from headwater.clock import SystemClock
    from headwater.project.discovery import ask_sources

    return ask_sources(project, SystemClock())


def _ask_destinations(project: Project, models: _Models, notes: list[str]) -> dict[str, HeadwaterError]:
    """Asks the destinations of the syncs whether they can be written to; what those say that do not answer.

    Raises:
        ProjectError: some will not do.
    """
    from headwater.deliver.destination import Sync
    from headwater.errors import DestinationStopped, DestinationUnavailable, UserError
    from headwater.project.destinations import make_destination

    away: dict[str, HeadwaterError] = {}
    wrong: list[UserError] = []
    for sync in project.syncs:
        columns, key = models[sync.model]
        told = Sync(project.name, sync.name, "", sync.model, columns, sync.settings.key or key, project.folder)
        try:
            notes += [f"{sync.name}: {said}" for said in make_destination(sync).check(told)]
        except DestinationUnavailable as error:
            away[sync.name] = error
            output.warn(f"the destination of {sync.name!r} did not answer: {error.message}", error.hint)
        except DestinationStopped as error:
            wrong.append(UserError(error.message, hint=error.hint, place=sync.place))
    if wrong:
        raise ProjectError(wrong)
    return away


def _read(directory: Path, mistakes: Mistakes) -> Project:
    """The project as far as it is sound, for its models to be held against the sources all the same.

    Raises:
        ProjectError: headwater.yml itself has mistakes, so that it is not known what to hold the models against.
    """
    from headwater.errors import InvariantBroken
    from headwater.project.folder import read

    project = read(directory, environment=os.environ, mistakes=mistakes)
    if project is None:
        mistakes.raise_any()
        raise InvariantBroken("a project file is not valid and no mistake was noted")
    return project


def _check(
    project: Project, answers: Answers | None, mistakes: Mistakes, notes: list[str], models: _Models | None = None
) -> str:
    """Checks as deep as can be: "types" when the streams are known, "syntax" when not."""
    from headwater.project.check import check as check_types

    streams = known_streams(project, answers)
    if not streams and project.sources and not (answers is not None and answers.complete):
        mistakes.raise_any()
        return "syntax"
    keys: dict[str, tuple[str, ...]] = {}
    columns = check_types(project, streams, mistakes, notes, keys)
    if models is not None:
        models |= {name: (schema, keys.get(name, ())) for name, schema in columns.items()}
    return "types"


def known_streams(project: Project, answers: Answers | None) -> tuple[StreamSchema, ...]:
    """The streams that the sources named now or, where one did not answer, those that were there last."""
    from headwater.project.discovery import load_streams

    if answers is not None and answers.complete:
        return answers.streams
    answered = answers.streams if answers else ()
    fresh = {stream.name for stream in answered}
    return (*answered, *(stream for stream in load_streams(project.state) if stream.name not in fresh))


def _say(project: Project, answers: Answers | None, depth: str, notes: list[str]) -> None:
    for name, error in (answers.errors if answers else {}).items():
        output.warn(f"the source {name!r} did not answer: {error.message}", error.hint)
    for name, intentions in (answers.intentions if answers else {}).items():
        for intention in intentions:
            output.note(f"{name}: {intention}")
    for note in notes:
        output.note(note)
    found = f"{output.counted(len(project.sources), 'source')}, {output.counted(len(project.models), 'model')}"
    output.note(f"{project.name}: no mistakes found in {found}")
    if depth != "types":
        output.warn(_unchecked(project))


def _unchecked(project: Project) -> str:
    from headwater.project.check import names_on_trust

    names = ", ".join(names_on_trust(project))
    trusted = f"; taken to be tables of the sources: {names}" if names else ""
    return f"columns and types were not checked, as it is not known which tables the sources have{trusted}"
