"""Holds a project's models against the streams that there are: names, columns, types, maintainability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pyarrow as pa

from headwater.errors import Place
from headwater.project.definition import Model, Project, SourceDefinition
from headwater.project.mistakes import Mistakes, did_you_mean
from headwater.project.models import model_files, place_of_name, times_to_live
from headwater.project.quality_check import check_checks
from headwater.project.sync_check import check_syncs, key_of
from headwater.project.table_check import check_tables
from headwater.schema import StreamSchema
from headwater.sql import check as sql_check
from headwater.sql.fast_paths import Options, TimeToLive
from headwater.sql.last_resort import last_resorts


def check(
    project: Project, streams: Sequence[StreamSchema], before: Mistakes | None = None, notes: list[str] | None = None,
    keys: dict[str, tuple[str, ...]] | None = None,
) -> dict[str, pa.Schema]:  # fmt: skip
    """Checks all models and stream settings against `streams`, which are all that the sources feed.

    Args:
        project: the project, perhaps without the models that have mistakes already.
        streams: what the sources feed.
        before: mistakes found already, to be reported with those found here.
        notes: takes a sentence for each part of a query that has no key to work by, as its model
            allows, and for each model that waits for the first messages of a stream.
        keys: takes the key of each model.

    Returns:
        The columns of every model.

    Raises:
        ProjectError: with every mistake found, each with its place.
    """
    mistakes = before or Mistakes()
    known = {stream.name: stream.columns for stream in streams}
    _check_clashes(project, streams, mistakes)
    for source in project.sources:
        _check_stream_settings(project, source, known, mistakes)
    models = {model.name for model in project.models}
    left_out = {path.stem for path in model_files(project.folder)} - models
    names = {*known, *models, *left_out}
    schemas: dict[str, pa.Schema] = {}
    analyses: dict[str, sql_check.Analysis] = {}
    said = [] if notes is None else notes
    for model in project.models:
        if _check_inputs(model, names, mistakes):
            ttl = _times_to_live(project, model, mistakes)
            found = Mistakes()
            analysis = _check_sql(model, {**known, **schemas}, schemas, found, said, ttl)
            if _waits(model, known, found, said):
                continue
            mistakes.found += found.found
            if analysis is not None:
                analyses[model.name] = analysis
                if keys is not None:
                    keys[model.name] = key_of(model, analysis)
    _check_final(project, left_out, mistakes)
    check_tables(project, streams, schemas, mistakes)
    learnt = {name: columns for name, columns in {**known, **schemas}.items() if not is_unlearnt(columns)}
    check_checks(project.checks, learnt, names - learnt.keys(), mistakes)
    check_syncs(project, streams, analyses, mistakes)
    mistakes.raise_any()
    return schemas


def is_unlearnt(columns: pa.Schema) -> bool:
    """Whether of a stream of messages only what all messages have is known: its columns come with the first ones."""
    return all(name.startswith("_") for name in columns.names)


def _waits(model: Model, known: Mapping[str, pa.Schema], found: Mistakes, notes: list[str]) -> bool:
    """Whether what is wrong with a model may only be that a stream's columns are not known yet."""
    awaited = [name for name in model.inputs if name in known and is_unlearnt(known[name])]
    if not awaited or not found.found:
        return False
    notes.append(
        f"{model.name}: waits for the first messages of {awaited[0]!r}, whose columns nobody knows yet; declare them"
        " (`columns:`) to have the model checked"
    )
    return True


def names_on_trust(project: Project) -> tuple[str, ...]:
    """Names that models read and that are neither models nor streams with settings: tables, it is hoped."""
    known = {name for source in project.sources for name in source.streams} | {model.name for model in project.models}
    return tuple(sorted({name for model in project.models for name in model.inputs} - known))


def _check_clashes(project: Project, streams: Sequence[StreamSchema], mistakes: Mistakes) -> None:
    taken: set[str] = set()
    for stream in streams:
        if stream.name.casefold() in taken:
            place = Place(str(project.folder / "headwater.yml"))
            hint = "capture one of the two: see `tables` of the sources"
            mistakes.add(f"two streams are called {stream.name!r}", place=place, hint=hint)
        taken.add(stream.name.casefold())
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
            if not hint.startswith("did"):
                hint = f"{hint or 'it has none'}; if its table was dropped or is left out, take this entry out"
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


def _times_to_live(project: Project, model: Model, mistakes: Mistakes) -> tuple[TimeToLive, ...]:
    """The model's times to live."""
    marks = {name: one.watermark for source in project.sources for name, one in source.streams.items()}
    found = times_to_live(model, marks)
    for name in model.settings.ttl:
        place = model.setting_places.get(("ttl", name)) or model.setting_places.get(("ttl",), Place(model.file))
        if name not in model.inputs:
            hint = did_you_mean(name, model.inputs)
            mistakes.add(f"the model does not read {name!r}, for which it has a ttl", place=place, hint=hint)
        elif name not in found:
            hint = "in headwater.yml, under its source: streams: {NAME: {watermark: {column: ..., delay: 5 s}}}"
            mistakes.add(f"{name!r} has a ttl, but no watermark to go by", place=place, hint=hint)
    return tuple((name, column, time // timedelta(microseconds=1)) for name, (column, time) in found.items())


def _check_sql(
    model: Model,
    known: Mapping[str, pa.Schema],
    schemas: dict[str, pa.Schema],
    mistakes: Mistakes,
    notes: list[str],
    ttl: tuple[TimeToLive, ...],
) -> sql_check.Analysis | None:
    """Compiles the model, and notes its columns for those that read it. One that reads a broken model is skipped."""
    if any(name not in known for name in model.inputs):
        return None
    analysis = sql_check.check(
        model.sql,
        {name: known[name] for name in model.inputs},
        options=Options(model.settings.emit, recompute=model.settings.recompute, ttl=ttl),
        functions=model.functions,
        file=model.file,
        first_line=model.first_line,
    )
    for mistake in analysis.mistakes:
        mistakes.add(mistake.message, place=mistake.place or Place(model.file, model.first_line, 1), hint=mistake.hint)
    for found in last_resorts(analysis.plan) if analysis.plan is not None else ():
        notes.append(f"{model.name}: {found.why}: each change {found.cost}")
    if analysis.columns is not None:
        schemas[model.name] = analysis.columns
        _check_key(model, analysis.columns.names, mistakes)
    return analysis


def _check_key(model: Model, columns: Sequence[str], mistakes: Mistakes) -> None:
    for number, name in enumerate(model.settings.key):
        if name not in columns:
            place = model.setting_places.get(("key", number)) or model.setting_places[("key",)]
            mistakes.add(f"the model has no column {name!r}", place=place, hint=did_you_mean(name, columns))


def _check_final(project: Project, left_out: set[str], mistakes: Mistakes) -> None:
    """A model that speaks only when a window is over must have a stream that says so somewhere above it. What reads a
    model that was left out for its mistakes cannot be judged and passes."""
    marked = left_out | {
        name
        for source in project.sources
        for name, settings in source.streams.items()
        if settings.watermark is not None
    }
    for model in project.models:
        if not marked.isdisjoint(model.inputs):
            marked.add(model.name)
        elif model.settings.emit == "final":
            names = ", ".join(model.inputs)
            mistakes.add(
                f"the model would never say anything: nothing that it reads ({names}) has a watermark",
                place=model.setting_places.get(("emit",), Place(model.file)),
                hint="in headwater.yml, under its source: streams: {NAME: {watermark: {column: ..., delay: 5 s}}}",
            )
