"""Reads `models/*.sql` and puts them in the order of their dependencies."""

from __future__ import annotations

import graphlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from headwater.errors import Place, SqlError
from headwater.project.definition import Model, SourceDefinition, Watermark
from headwater.project.document import Document, read_yaml
from headwater.project.front_matter import ModelText, split
from headwater.project.mistakes import Mistakes
from headwater.project.setting import is_name
from headwater.project.settings import ModelSettings
from headwater.project.validation import validate
from headwater.sql.functions import Function
from headwater.sql.log_functions import functions_in
from headwater.sql.parse import tables_of

FOLDER = "models"
_NOT_MEANING = {"description", "owner", "recompute", "table", "tables", "checks"}
_NOT_CODE = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)


def model_files(folder: Path) -> list[Path]:
    """Files of the models of the project in `folder`, in order of name; hidden ones (an editor's) do not count."""
    found = [path for path in (folder / FOLDER).rglob("*.sql") if not path.name.startswith(".")]
    return sorted(found, key=lambda path: (path.stem, str(path)))


def read_models(folder: Path, mistakes: Mistakes) -> list[Model]:
    """Reads every model of the project in `folder`, in order of name; those with mistakes are left out and noted."""
    models: dict[str, Model] = {}
    for path in model_files(folder):
        if path.stem in models:
            other = models[path.stem].file
            mistakes.add(f"there are two models {path.stem!r}", place=Place(str(path)), hint=f"the other is {other}")
            continue
        model = _read(path, mistakes)
        if model is not None:
            models[model.name] = model
    return list(models.values())


def _read(path: Path, mistakes: Mistakes) -> Model | None:
    file = str(path)
    if not is_name(path.stem):
        hint = "rename the file: lower-case letters, digits and _, beginning with a letter"
        mistakes.add(f"{path.stem!r} cannot be a model's name", place=Place(file), hint=hint)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        mistakes.add(f"the model cannot be read: {reason}", place=Place(file))
        return None
    return read_model(path, text, mistakes)


def read_model(path: Path, whole: str, mistakes: Mistakes) -> Model | None:
    """A model of this text, whether or not it lies in `path`; None if it has mistakes, which have then been noted."""
    file, text = str(path), split(whole)
    document = read_yaml(text.front_matter, file=file, mistakes=mistakes)
    settings = None
    if document is not None:
        settings = validate(ModelSettings, document.data, document=document, path=(), mistakes=mistakes)
    inputs = _inputs(text, file, mistakes)
    if document is None or settings is None or inputs is None:
        return None
    return _model(path, text, settings, inputs, document)


def _model(path: Path, text: ModelText, settings: ModelSettings, inputs: tuple[str, ...], document: Document) -> Model:
    return Model(
        name=path.stem,
        sql=text.sql,
        file=str(path),
        first_line=text.first_line,
        settings=settings,
        inputs=inputs,
        fingerprint=fingerprint(text.sql, settings),
        setting_places={path: document.place(path) for path in document.places},
    )


def _inputs(text: ModelText, file: str, mistakes: Mistakes) -> tuple[str, ...] | None:
    """What the SQL reads; None when it cannot be read, which has then been noted."""
    start = Place(file, text.first_line, 1)
    if not text.sql.strip():
        mistakes.add("the model has no SELECT", place=start, hint="write one SELECT after the comment")
        return None
    try:
        return tuple(dict.fromkeys(tables_of(text.sql, file=file, first_line=text.first_line)))
    except SqlError as error:
        mistakes.add(error.message, place=error.place or start, hint=error.hint)
        return None


def place_of_name(model: Model, name: str) -> Place:
    """Where a model's SQL first says `name`, outside comments and text literals."""
    code = _NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), model.sql)
    match = re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", code, re.IGNORECASE)
    if match is None:
        return Place(model.file, model.first_line, 1)
    line_start = code.rfind("\n", 0, match.start()) + 1
    line = code.count("\n", 0, match.start())
    return Place(model.file, model.first_line + line, match.start() - line_start + 1)


def fingerprint(sql: str, settings: ModelSettings) -> str:
    """Sixteen hexadecimal digits that stand for what a model computes: its SQL and its settings; prose, permissions,
    tables and checks apart."""
    meaning = settings.model_dump(mode="json", exclude=_NOT_MEANING)
    text = json.dumps({"sql": sql.strip(), "settings": meaning}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def with_functions(models: Iterable[Model], functions: Iterable[Function]) -> list[Model]:
    """The models with the functions that they may call, the project's and ours, which are part of what a model
    computes."""
    known = tuple(functions)
    names = frozenset(one.name for one in known)
    return [
        _calling(model, (*functions_in(model.sql, names), *(one for one in known if one.called_in(model.sql))))
        for model in models
    ]


def _calling(model: Model, functions: tuple[Function, ...]) -> Model:
    if not functions:
        return model
    text = json.dumps([model.fingerprint, *(one.fingerprint for one in functions)])
    return replace(model, fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16], functions=functions)


def with_watermarks(models: Iterable[Model], sources: Iterable[SourceDefinition]) -> tuple[Model, ...]:
    """The models with fingerprints that tell the watermarks of the streams they read, which decide when windows close
    and which rows are late."""
    streams = {name: settings for source in sources for name, settings in source.streams.items()}
    marks = {name: settings.watermark for name, settings in streams.items() if settings.watermark}
    return tuple(_watermarked(model, {name: marks[name] for name in model.inputs if name in marks}) for model in models)


def _watermarked(model: Model, marks: Mapping[str, Watermark]) -> Model:
    if not marks:
        return model
    text = json.dumps([model.fingerprint, {name: str(mark) for name, mark in marks.items()}], sort_keys=True)
    return replace(model, fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16])


def times_to_live(model: Model, watermarks: Mapping[str, Watermark | None]) -> dict[str, tuple[str, timedelta]]:
    """The times to live of a model's inputs, with the columns that they go by: those of the streams' watermarks."""
    marked = {name: (watermarks.get(name), time) for name, time in model.settings.ttl.items() if name in model.inputs}
    return {name: (mark.column, time) for name, (mark, time) in marked.items() if mark is not None}


def in_order(models: Iterable[Model], mistakes: Mistakes) -> tuple[Model, ...]:
    """Models after those that they read, otherwise by name. Each cycle is a mistake."""
    left = {model.name: model for model in models}
    while True:
        graph = {name: sorted(set(model.inputs) & left.keys()) for name, model in sorted(left.items())}
        try:
            return tuple(left[name] for name in graphlib.TopologicalSorter(graph).static_order())
        except graphlib.CycleError as error:
            cycle: list[str] = error.args[1][::-1]
            _note_cycle(cycle, left, mistakes)
            left = {name: model for name, model in left.items() if name not in cycle}


def _note_cycle(cycle: list[str], models: Mapping[str, Model], mistakes: Mistakes) -> None:
    """`cycle` goes from a model to the one it reads, back to the first."""
    start = cycle.index(min(cycle))
    names = [*cycle[start:-1], *cycle[:start], min(cycle)] if len(cycle) > 2 else cycle
    first = models[names[0]]
    mistakes.add(
        f"models read each other in a circle: {' -> '.join(names)}" if len(names) > 2 else f"{names[0]!r} reads itself",
        place=place_of_name(first, names[1]),
        hint="a model may only read streams and models that do not depend on it",
    )
