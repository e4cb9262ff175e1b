"""A model before it runs: what is wrong with it, what it reads, how it would be kept up to date, its first rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from headwater.engine.explain import steps
from headwater.errors import HeadwaterError, ProjectError, SqlError, UserError
from headwater.project.check import check
from headwater.project.definition import Model, Project
from headwater.project.discovery import load_streams
from headwater.project.functions import read_functions
from headwater.project.mistakes import Mistakes
from headwater.project.models import FOLDER, in_order, read_model, with_functions, with_watermarks
from headwater.project.sync_check import key_of
from headwater.serve.query import open_lake
from headwater.serve.sandbox.given import Given
from headwater.serve.sandbox.selecting import prepared, rows_of
from headwater.serve.sandbox.wire import Header
from headwater.sql import check as sql_check
from headwater.sql.fast_paths import Options
from headwater.sql.read_only import MOST_CHARACTERS, require_read_only

UNNAMED = "preview"
"""What a model is called that has no name yet."""


@dataclass(frozen=True)
class _Checked:
    """A model that has no mistakes, in its project."""

    model: Model
    project: Project
    columns: pa.Schema | None
    known: dict[str, pa.Schema]
    notes: list[str]


def verdict(given: Given, asked: Header, payload: bytes) -> str:
    """Whether the model `name` may have the text `sql`, as `headwater check` sees it.

    Raises:
        ProjectError: with every mistake.
    """
    checked = _check(given, asked["name"], asked["sql"])
    return json.dumps({"reads": checked.model.inputs, "notes": checked.notes})


def answer(given: Given, asked: Header, payload: bytes) -> str:
    """All that is known of a model with the text `sql`, as JSON; mistakes are part of the answer."""
    try:
        checked = _check(given, asked.get("name") or UNNAMED, asked["sql"])
    except ProjectError as error:
        empty: dict[str, object] = {"columns": [], "rows": [], "reads": [], "key": [], "incremental": [], "notes": []}
        return json.dumps(empty | {"note": "", "truncated": False, "problems": problems(error)})
    model, inputs = checked.model, {name: checked.known[name] for name in checked.model.inputs if name in checked.known}
    options = Options(model.settings.emit, recompute=model.settings.recompute)
    analysis = sql_check.check(model.sql, inputs, options=options, functions=model.functions)
    plan = steps(analysis.plan) if analysis.plan is not None else []
    said = {
        "reads": list(model.inputs),
        "key": list(key_of(model, analysis)) if analysis.plan is not None else [],
        "incremental": [
            {"operator": step.operator, "way": step.way, "detail": step.detail, "reads": step.reads}
            | ({"last_resort": step.last_resort} if step.last_resort else {})
            for step in plan
        ],
        "notes": checked.notes,
    }
    return f"{json.dumps(said)[:-1]}, {_rows(given, checked, asked)[1:]}"


def _rows(given: Given, checked: _Checked, asked: Header) -> str:
    """The members of the answer that tell the first rows, and why there are none."""
    try:
        wanted = require_read_only(checked.model.sql)
        without = _without_table(given, wanted)
        if without:
            raise UserError(f"{without[0]!r} has no table, so there are no rows to show", hint="the model can be saved")
        with prepared(given, wanted, asked) as (connection, note):
            for function in checked.model.functions:
                function.register(connection)
            return f'{{"problems": [], {rows_of(connection, checked.model.sql, note, given, asked)[1:]}'
    except HeadwaterError as error:
        columns = [{"name": one.name, "type": str(one.type)} for one in checked.columns or ()]
        found = {"level": "warn", "message": error.message, "hint": error.hint} | _place(error)
        empty = {"columns": columns, "rows": [], "note": "", "truncated": False}
        return json.dumps({"problems": [found], **empty})


def _without_table(given: Given, wanted: Sequence[str]) -> list[str]:
    lake = open_lake(given.project)
    try:
        there = set(lake.names())
    finally:
        lake.close()
    return [name for name in wanted if name not in there]


def _check(given: Given, name: str, text: str) -> _Checked:
    """Reads and checks a model among those that it reads.

    Raises:
        ProjectError: with every mistake.
    """
    mistakes, project = Mistakes(), given.project
    if len(text) > MOST_CHARACTERS:
        raise ProjectError([SqlError(f"a model may have {MOST_CHARACTERS:,} characters; this one has {len(text):,}")])
    read = read_model(Path(FOLDER) / f"{name}.sql", text, mistakes)
    mistakes.raise_any()
    assert read is not None
    others = [model for model in project.models if model.name != name]
    (model,) = with_watermarks(with_functions([read], read_functions(project.folder, mistakes)), project.sources)
    near = in_order([*_behind(others, model), model, *_readers(others, name)], mistakes)
    streams = load_streams(project.state)
    notes: list[str] = []
    here = {stream.name for stream in streams} | {one.name for one in near}
    checks = tuple(one for one in project.checks if here.issuperset(one.reads))  # those of models left out say nothing
    columns = check(replace(project, models=near, syncs=(), checks=checks), streams, mistakes, notes)
    known = {stream.name: stream.columns for stream in streams} | columns
    return _Checked(model, project, columns.get(name), known, notes)


def _behind(models: Sequence[Model], model: Model) -> list[Model]:
    """The models that a model reads, and those that they read."""
    by_name, found, waiting = {one.name: one for one in models}, dict[str, Model](), list(model.inputs)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in found:
            found[name] = by_name[name]
            waiting += by_name[name].inputs
    return list(found.values())


def _readers(models: Sequence[Model], name: str) -> list[Model]:
    """The models that read a model themselves, and must still be able to, with what they read besides."""
    found: dict[str, Model] = {}
    for model in models:
        if name in model.inputs:
            found |= {one.name: one for one in (*_behind(models, model), model)}
    return list(found.values())


def problems(error: ProjectError) -> list[dict[str, Any]]:
    """Mistakes as JSON has them."""
    return [{"level": "fail", "message": one.message, "hint": one.hint} | _place(one) for one in error.mistakes]


def _place(error: HeadwaterError) -> dict[str, Any]:
    place = error.place
    return {"file": place.file, "line": place.line, "column": place.column} if place is not None else {}
