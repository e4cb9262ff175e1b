"""Holds a project's models against the streams that there are: names, columns, types, maintainability."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from headwater.engine.view import View
from headwater.errors import Place, ProjectError, UserError
from headwater.project.definition import Model, Project, SourceDefinition
from headwater.project.mistakes import Mistakes, did_you_mean
from headwater.project.models import place_of_name
from headwater.schema import StreamSchema


def check(project: Project, streams: Sequence[StreamSchema]) -> dict[str, pa.Schema]:
    """Checks all models and stream settings against `streams`, which are all that the sources feed.

    Returns:
        The columns of every model.

    Raises:
        ProjectError: with every mistake found, each with its place.
    """
    mistakes = Mistakes()
    known = {stream.name: stream.columns for stream in streams}
    _check_clashes(project, streams, mistakes)
    for source in project.sources:
        _check_stream_settings(project, source, known, mistakes)
    names = {*known, *(model.name for model in project.models)}
    schemas: dict[str, pa.Schema] = {}
    for model in project.models:
        if _check_inputs(model, names, mistakes):
            _check_sql(model, {**known, **schemas}, schemas, mistakes)
    mistakes.raise_any()
    return schemas


def check_names(project: Project, streams: Iterable[str]) -> None:
    """Checks the names that models read when the streams' names are known and their types are not.

    Raises:
        ProjectError: with every mistake found, each with its place.
    """
    mistakes = Mistakes()
    names = {*streams, *(model.name for model in project.models)}
    for model in project.models:
        _check_inputs(model, names, mistakes)
    mistakes.raise_any()


def _check_clashes(project: Project, streams: Sequence[StreamSchema], mistakes: Mistakes) -> None:
    taken: dict[str, str] = {}
    for stream in streams:
        other = taken.setdefault(stream.name.casefold(), stream.name)
        if other is not stream.name:
            place = Place(str(project.folder / "headwater.yml"))
            hint = "capture one of the two: see `tables` of the sources"
            mistakes.add(f"two streams are called {stream.name!r}", place=place, hint=hint)
    for model in project.models:
        if model.name.casefold() in taken:
            mistakes.add(
                f"the model {model.name!r} has the name of a stream",
                place=Place(model.file),
                hint="rename the model's file, or leave the table out of its source's `tables`",
            )


def _check_stream_settings(
    project: Project, source: SourceDefinition, known: Mapping[str, pa.Schema], mistakes: Mistakes
) -> None:
    for name, settings in source.streams.items():
        path = ("sources", source.name, "streams", name)
        if name not in known:
            hint = did_you_mean(name, known)
            mistakes.add(f"the source has no stream {name!r}", place=project.place(*path), hint=hint)
        elif settings.watermark is not None:
            place = project.place(*path, "watermark", "column")
            _check_watermark(settings.watermark.column, known[name], place, mistakes)


def _check_watermark(column: str, columns: pa.Schema, place: Place, mistakes: Mistakes) -> None:
    if column not in columns.names:
        mistakes.add(f"the stream has no column {column!r}", place=place, hint=did_you_mean(column, columns.names))
    elif not pa.types.is_temporal(kind := columns.field(column).type):
        hint = "a watermark needs a column of timestamps or dates"
        mistakes.add(f"the column {column!r} is {kind}, not a time", place=place, hint=hint)


def _check_inputs(model: Model, names: set[str], mistakes: Mistakes) -> bool:
    unknown = [name for name in model.inputs if name not in names]
    for name in unknown:
        mistakes.add(
            f"there is no stream or model {name!r}",
            place=place_of_name(model, name),
            hint=did_you_mean(name, names - {model.name}),
        )
    return not unknown


def _check_sql(model: Model, known: Mapping[str, pa.Schema], schemas: dict[str, pa.Schema], mistakes: Mistakes) -> None:
    """Compiles the model, and notes its columns for those that read it. One that reads a broken model is skipped."""
    if any(name not in known for name in model.inputs):
        return
    try:
        schemas[model.name] = model_schema(model, known)
    except ProjectError as error:
        for mistake in error.mistakes:
            _note(model, mistake, mistakes)
    except UserError as error:
        _note(model, error, mistakes)


def model_schema(model: Model, inputs: Mapping[str, pa.Schema]) -> pa.Schema:
    """The columns of a model over inputs of these columns.

    Raises:
        SqlError: the SELECT is not valid over them, or cannot be maintained.
    """
    view = View(
        model.sql,
        {name: inputs[name] for name in model.inputs},
        key=model.settings.key,
        emit=model.settings.emit,
        lateness=model.settings.lateness,
        late=model.settings.late,
        name=model.name,
        file=model.file,
        first_line=model.first_line,
    )
    return view.schema


def _note(model: Model, error: UserError, mistakes: Mistakes) -> None:
    place = error.place or Place(model.file, model.first_line, 1)
    mistakes.add(error.message, place=place, hint=error.hint)
