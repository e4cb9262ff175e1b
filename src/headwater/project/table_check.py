"""Holds the tables that settings ask for against what they are of: names, kinds, keys, columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from headwater.errors import Place, UserError
from headwater.lake.layout import misfits
from headwater.project.definition import Model, Project, TableDefinition
from headwater.project.mistakes import Mistakes
from headwater.project.table_shape import added_columns
from headwater.schema import Changelog, StreamSchema

PlaceOf = Callable[..., Place]


def check_tables(
    project: Project,
    streams: Sequence[StreamSchema],
    models: Mapping[str, pa.Schema],
    mistakes: Mistakes,
) -> None:
    """Checks every table of the streams and of the models whose columns are known."""
    taken = {stream.name.casefold(): f"the stream {stream.name!r}" for stream in streams}
    taken |= {model.name.casefold(): f"the model {model.name!r}" for model in project.models}
    for source in project.sources:
        for stream in (stream for stream in streams if stream.name in source.streams):
            path = ("sources", source.name, "streams", stream.name)
            for table in source.tables(stream.name):
                own = table.name == stream.name
                where = (*path, "table") if own else (*path, "tables", table.name)
                _check_name(table.name, own, taken, f"a table of {stream.name!r}", project.place(*where), mistakes)
                _check_format(table, project.lake.type, lambda *on, w=where: project.place(*w, *on), mistakes)
                _check(table, stream.columns, stream.key, stream.changelog, lambda *on, w=where: project.place(*w, *on),
                       mistakes)  # fmt: skip
    for model in project.models:
        for table in model.tables:
            at = _model_place(model, ("table",) if table.name == model.name else ("tables", table.name))
            own = table.name == model.name
            _check_name(table.name, own, taken, f"a table of {model.name!r}", at(), mistakes)
            _check_format(table, project.lake.type, at, mistakes)
            if model.name in models:
                _check(table, models[model.name], None, None, at, mistakes)


def _model_place(model: Model, path: tuple[str, ...]) -> PlaceOf:
    def at(*on: str | int) -> Place:
        whole = (*path, *on)
        while whole and whole not in model.setting_places:
            whole = whole[:-1]
        return model.setting_places.get(whole, Place(model.file))

    return at


def _check_name(name: str, own: bool, taken: dict[str, str], what: str, place: Place, mistakes: Mistakes) -> None:
    other = None if own else taken.get(name.casefold())
    if other is not None:
        hint = "give it a name that no stream, model or other table has"
        mistakes.add(f"the table {name!r} has the name of {other}", place=place, hint=hint)
    taken.setdefault(name.casefold(), what)


def _check_format(table: TableDefinition, format: str, at: PlaceOf, mistakes: Mistakes) -> None:
    if format == "iceberg":
        return
    for part in ("partition", "sort", "bloom"):
        if getattr(table.layout, part):
            told = f"`{part}` is for Iceberg tables: those of type {format!r} lie as their rows come"
            mistakes.add(told, place=at(part), hint="leave it out, or set `lake: {type: iceberg}`")


def _check(
    table: TableDefinition,
    columns: pa.Schema,
    key: tuple[str, ...] | None,
    changelog: Changelog | None,
    at: PlaceOf,
    mistakes: Mistakes,
) -> None:
    """`key` and `changelog` are None where only running will tell (a model's)."""
    if table.soft and table.kind != "mirror":
        hint = "leave `deletes` out: a changelog, a history and an append table keep what is deleted as it is"
        mistakes.add(f"deletes: soft is for mirrors, and this is to be {table.kind}", place=at("deletes"), hint=hint)
        return
    if table.remove and (table.kind != "mirror" or table.soft):
        hint = "leave `dropped` out: what the column held then stays with the rows of then"
        mistakes.add(
            f"dropped: remove is for mirrors, and a {table.kind_text} keeps the past", place=at("dropped"), hint=hint
        )
    if key is not None and not key and (table.kind == "history" or table.soft):
        hint = "give the table a key at its source (a primary key, or an identity index), or take kind: changelog"
        mistakes.add(f"a {table.kind_text} needs a key, and the stream has none", place=at("kind"), hint=hint)
    if table.kind == "append" and changelog not in (None, "append"):
        hint = "take kind: changelog for every change as a row, or mirror for what is there"
        mistakes.add("the rows of this stream are updated and deleted, and an append table would not say so",
                     place=at("kind"), hint=hint)  # fmt: skip
    more = added_columns(table)
    for name in more.names:
        if name in columns.names:
            hint = "rename the column at its source or in a model, or take another kind"
            mistakes.add(f"a {table.kind_text} needs the name {name!r} for itself", place=at("kind"), hint=hint)
            return
    try:
        for one in misfits(table.layout, pa.schema([*columns, *more])):
            mistakes.add(one.message, place=at(one.part, one.number), hint=one.expected)
    except UserError as error:
        mistakes.add(error.message, place=at(), hint=error.hint)
