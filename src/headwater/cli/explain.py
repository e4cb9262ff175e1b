"""`headwater explain`: how a model is kept up to date."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.cli import output
from headwater.cli.as_json import as_json

if TYPE_CHECKING:
    import pyarrow as pa

    from headwater.project import Model, Project


@as_json
def explain(model: str, folder: Path = Path(), /, *, connect: bool = True) -> int:
    """Show how a model is kept up to date: one line for each operator, readers above what they read.

    "recompute by key" does the rows of each key that changed again, "recompute the whole" all rows at every change.
    Nothing is run: what the operators keep is shown as it is before the first row.

    Args:
        model: The model.
        folder: The project's folder.
        connect: Ask the sources for their tables; without it those that they had when last asked are taken.
    """
    from headwater.errors import UserError
    from headwater.project import load
    from headwater.project.mistakes import did_you_mean

    project = load(folder, environment=os.environ)
    found = next((one for one in project.models if one.name == model), None)
    if found is None:
        hint = did_you_mean(model, [one.name for one in project.models])
        raise UserError(f"there is no model {model!r}", hint=hint or "the project has no models")
    output.print_data(_explained(project, found, *_inputs(project, connect)))
    return output.OK


def _inputs(project: Project, connect: bool) -> tuple[Mapping[str, pa.Schema], set[str]]:
    """Columns of every stream and model, and the streams of which no row ever goes.

    Raises:
        ProjectError: there are mistakes in the project, or it is not known which tables the sources have.
        SourceUnavailable, SourceStopped: a source did not answer, and never has.
    """
    from headwater.cli.check import known_streams
    from headwater.clock import SystemClock
    from headwater.project.check import check
    from headwater.project.discovery import ask_sources

    answers = ask_sources(project, SystemClock()) if connect else None
    streams = known_streams(project, answers)
    for error in answers.errors.values() if answers and not streams else ():
        raise error
    appending = {stream.name for stream in streams if stream.changelog == "append"}
    return {stream.name: stream.columns for stream in streams} | check(project, streams), appending


def _explained(project: Project, model: Model, schemas: Mapping[str, pa.Schema], appending: set[str]) -> str:
    from headwater.project.models import times_to_live
    from headwater.runtime.dataflow import view_of

    only = appending.intersection(model.inputs)
    marks = {name: stream.watermark for source in project.sources for name, stream in source.streams.items()}
    ttl = times_to_live(model, marks)
    view = view_of(model, {name: schemas[name] for name in model.inputs}, append_only=only, ttl=ttl)
    key = f"key: {', '.join(view.key)}" if view.key else "no key: equal rows are kept as often as they occur"
    text = f"{key}\n{view.explain()}"
    view.close()
    return text
