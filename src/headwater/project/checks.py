"""Reads the checks of a project: those in the front matter of models, and `checks/*.yml` for streams and models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from headwater.errors import Place
from headwater.project.check_settings import CheckEntry, ChecksFile, Range
from headwater.project.definition import Model
from headwater.project.document import Document, NodePath, read_yaml
from headwater.project.mistakes import Mistakes
from headwater.project.schema import DIALECT, Schema, schema_of
from headwater.project.validation import validate
from headwater.quality.checks import Check, gate_fingerprint, gates, literal, none_of
from headwater.sql.bind import quote

FOLDER = "checks"
_MICROSECOND = timedelta(microseconds=1)


def check_files(folder: Path) -> list[Path]:
    """Files of checks of the project in `folder`, in order of name; hidden ones (an editor's) do not count."""
    found = [path for path in (folder / FOLDER).rglob("*.yml") if not path.name.startswith(".")]
    return sorted(found)


def read_checks(folder: Path, models: Iterable[Model], mistakes: Mistakes) -> tuple[Check, ...]:
    """All checks of a project, in the order of the files; those with mistakes are left out and noted."""
    found: list[Check] = []
    for model in models:
        for number, entry in enumerate(model.settings.checks):
            place = model.setting_places.get(("checks", number), Place(model.file))
            found += _checks(model.name, entry, place)
    for path in check_files(folder):
        found += _read(path, mistakes)
    return _of_different_names(found, mistakes)


def _read(path: Path, mistakes: Mistakes) -> list[Check]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        mistakes.add(f"the checks cannot be read: {reason}", place=Place(str(path)))
        return []
    document = read_yaml(text, file=str(path), mistakes=mistakes)
    found: list[Check] = []
    for node, entries in (document.data if document is not None else {}).items():
        assert document is not None
        if not isinstance(entries, list):
            place = document.place((node,), key=True)
            mistakes.add(f"expected a list of checks under {node!r}", place=place, hint="- not_null: amount")
            continue
        for number, entry in enumerate(entries):
            found += _entry(node, entry, (node, number), document, mistakes)
    return found


def _entry(node: str, entry: object, path: NodePath, document: Document, mistakes: Mistakes) -> list[Check]:
    place = document.place(path)
    if not isinstance(entry, dict):
        mistakes.add("expected `kind: ...` lines", place=place, hint="- not_null: amount")
        return []
    settings = validate(CheckEntry, entry, document=document, path=path, mistakes=mistakes)
    return [] if settings is None else _checks(node, settings, place)


def _checks(node: str, entry: CheckEntry, place: Place) -> list[Check]:
    """The checks that an entry means: `not_null` of several columns is one for each."""
    made = [_not_null(node, column) for column in entry.not_null or ()] or [_one(node, entry)]
    names = [check.name for check in made]
    if entry.name is not None:
        names = [entry.name] if len(made) == 1 else [_name(entry.name, *check.columns) for check in made]
    return [
        replace(check, name=name, severity=entry.severity, place=place, description=entry.description)
        for name, check in zip(names, made, strict=True)
    ]


def _not_null(node: str, column: str) -> Check:
    fails = f"{quote(column)} IS NULL"
    return Check(node, _name("not_null", column), "not_null", columns=(column,), fails=fails, says=f"{column} is there")


def _one(node: str, entry: CheckEntry) -> Check:
    if entry.accepted is not None:
        column, values = entry.accepted.column, entry.accepted.values
        fails = none_of(column, values)
        says = f"{column} is one of {', '.join(map(str, values))}"
        return Check(node, _name("accepted", column), "accepted", columns=(column,), fails=fails, says=says)
    if entry.range is not None:
        return _range(node, entry.range)
    if entry.expression is not None:
        fails = f"NOT coalesce((\n{entry.expression}\n), true)"
        digest = hashlib.sha256(entry.expression.encode()).hexdigest()[:6]
        return Check(node, f"expression_{digest}", "expression", fails=fails, says=" ".join(entry.expression.split()))
    return _of_many(node, entry)


def _range(node: str, bounds: Range) -> Check:
    column = quote(bounds.column)
    limits = [
        ("<", bounds.min, "at least"), (">", bounds.max, "at most"),
        ("<=", bounds.above, "above"), (">=", bounds.below, "below"),
    ]  # fmt: skip
    given = [(word, value, said) for word, value, said in limits if value is not None]
    fails = " OR ".join(f"{column} {word} {literal(value)}" for word, value, _ in given)
    says = f"{bounds.column} is {' and '.join(f'{said} {value}' for _, value, said in given)}"
    name = _name("range", bounds.column)
    return Check(node, name, "range", columns=(bounds.column,), fails=fails, says=says)


def _of_many(node: str, entry: CheckEntry) -> Check:
    """A check that judges rows together."""
    if entry.unique is not None:
        says = f"no two rows agree in {', '.join(entry.unique)}"
        return Check(node, _name("unique", *entry.unique), "unique", columns=entry.unique, says=says)
    if entry.referential is not None:
        told = entry.referential
        says = f"{', '.join(told.columns)} is in {told.to}"
        name = _name("referential", *told.columns, told.to)
        return Check(
            node, name, "referential", columns=told.columns, to=told.to, to_columns=told.key or told.columns, says=says
        )
    if entry.row_count is not None:
        least, most = entry.row_count.min, entry.row_count.max
        limits = [f"at least {least}"] if least is not None else []
        limits += [f"at most {most}"] if most is not None else []
        return Check(
            node, "row_count", "row_count", least=least, most=most, says=f"there are {' and '.join(limits)} rows"
        )
    if entry.freshness is not None:
        column, within = entry.freshness.column, entry.freshness.within
        says = f"the newest {column} is at most {within.total_seconds():g} s old"
        name = _name("freshness", column)
        return Check(node, name, "freshness", columns=(column,), within_us=within // _MICROSECOND, says=says)
    assert entry.volume is not None
    volume = entry.volume
    says = f"about as many rows appear in {volume.every.total_seconds():g} s as usual"
    every = volume.every // _MICROSECOND
    return Check(node, "volume", "volume", every_us=every, z=volume.z, history=volume.history, says=says)


def _name(kind: str, *columns: str) -> str:
    return "_".join((kind, *columns))


def _of_different_names(checks: Sequence[Check], mistakes: Mistakes) -> tuple[Check, ...]:
    """The checks, each of another name."""
    taken: dict[str, Check] = {}
    for check in checks:
        other = taken.setdefault(check.id, check)
        if other is not check:
            hint = f"the other is at {other.place}; give this one a `name`"
            mistakes.add(f"two checks of {check.node!r} are called {check.name!r}", place=check.place, hint=hint)
    return tuple(taken.values())


def with_gates(models: Iterable[Model], checks: Sequence[Check]) -> list[Model]:
    """The models with fingerprints that tell which of their rows, and of those of the streams that they read, are set
    aside: they are built anew when that changes."""
    marks = {node: gate_fingerprint(of) for node, of in gates(checks).items()}
    return [
        _gated(model, {name: marks[name] for name in (model.name, *model.inputs) if name in marks}) for model in models
    ]


def _gated(model: Model, marks: Mapping[str, str]) -> Model:
    if not marks:
        return model
    text = json.dumps([model.fingerprint, marks], sort_keys=True)
    return replace(model, fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16])


def checks_schema() -> Schema:
    """JSON Schema of `checks/*.yml`, for editors."""
    return {"$schema": DIALECT, **schema_of(ChecksFile), "title": "checks/*.yml"}
