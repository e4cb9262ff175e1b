"""Column lineage of a project: from each model's columns through the models below it to the streams of its sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from headwater.errors import SqlError
from headwater.project.definition import Model, Project
from headwater.project.discovery import load_streams
from headwater.schema import StreamSchema
from headwater.sql.lineage import DIRECT, How, Origins, lineage

__all__ = ["DIRECT", "How", "ModelLineage", "Origin", "ProjectLineage", "lineage_of"]


@dataclass(frozen=True, order=True)
class Origin:
    """A column that has a part in another.

    Attributes:
        node: "stream:NAME" or "model:NAME", as in the console's graph.
        column: its name there.
        how: its part; one of `DIRECT` makes the value, the others decide which rows there are.
    """

    node: str
    column: str
    how: How


@dataclass(frozen=True)
class ModelLineage:
    """Where a model's columns come from.

    Attributes:
        model: its name.
        columns: for each column what its values come of, directly: columns of the streams and models that it reads.
        rows: what decides which rows there are: conditions, joins, groups and limits.
        types: its columns as Arrow has them.
        reads: the nodes that it reads.
    """

    model: str
    columns: Mapping[str, tuple[Origin, ...]]
    rows: tuple[Origin, ...]
    types: pa.Schema
    reads: tuple[str, ...]


@dataclass(frozen=True)
class ProjectLineage:
    """Where everything in a project comes from.

    Attributes:
        models: by name, in the project's order; those whose streams nobody knows yet are not there.
        streams: the streams' columns as Arrow has them, by stream.
        unknown: models that are not there, with the reason.
    """

    models: Mapping[str, ModelLineage]
    streams: Mapping[str, pa.Schema]
    unknown: Mapping[str, str] = field(default_factory=dict)

    def sources_of(self, model: str, column: str) -> tuple[Origin, ...]:
        """The columns of streams that a model's column comes of in the end, through all models between, with the
        strongest part that each has.

        Raises:
            KeyError: there is no such model or column.
        """
        return tuple(sorted(_strongest(self._at_the_end(self.models[model].columns[column])).values()))

    def uses_of(self, node: str, column: str) -> tuple[Origin, ...]:
        """What would change with a column: columns of models whose values it makes, and models ("*" for the column)
        of which it decides the rows, and so anything; through all models between."""
        found: dict[tuple[str, str], Origin] = {}
        waiting = [(node, column)]
        while waiting:
            at = waiting.pop()
            for use in self._readers(*at):
                if (use.node, use.column) not in found:
                    found[use.node, use.column] = use
                    waiting.append((use.node, use.column))
        return tuple(sorted(found.values()))

    def _readers(self, node: str, column: str) -> Iterator[Origin]:
        for model in self.models.values():
            name = f"model:{model.model}"
            if column == "*":
                yield from [Origin(name, "*", "filter")] if node in model.reads else []
                continue
            for made, origins in model.columns.items():
                yield from (Origin(name, made, one.how) for one in origins if (one.node, one.column) == (node, column))
            yield from (Origin(name, "*", one.how) for one in model.rows if (one.node, one.column) == (node, column))

    def _at_the_end(self, origins: Sequence[Origin]) -> Iterator[Origin]:
        for origin in origins:
            kind, _, name = origin.node.partition(":")
            if kind == "stream" or name not in self.models:
                yield origin
                continue
            for further in self._at_the_end(self.models[name].columns[origin.column]):
                yield Origin(further.node, further.column, _composed(origin.how, further.how))


def lineage_of(project: Project, streams: Sequence[StreamSchema] | None = None) -> ProjectLineage:
    """The lineage of a project's models.

    It takes some milliseconds a model: callers that ask often keep the answer while the project is the same.

    Args:
        project: the project.
        streams: what its sources feed; None takes what was last discovered.

    Raises:
        UserError: what was last discovered cannot be understood.
    """
    known = {one.name: one.columns for one in (load_streams(project.state) if streams is None else streams)}
    models: dict[str, ModelLineage] = {}
    unknown: dict[str, str] = {}
    for model in project.models:
        schemas = {name: columns for name in model.inputs if (columns := _columns(name, models, known)) is not None}
        missing = [name for name in model.inputs if name not in schemas]
        if missing:
            unknown[model.name] = f"the columns of {missing[0]!r} are not known yet"
            continue
        try:
            models[model.name] = _of(model, schemas, frozenset(models))
        except SqlError as error:
            unknown[model.name] = error.message
    return ProjectLineage(models, known, unknown)


def _columns(name: str, models: Mapping[str, ModelLineage], streams: Mapping[str, pa.Schema]) -> pa.Schema | None:
    return models[name].types if name in models else streams.get(name)


def _of(model: Model, schemas: Mapping[str, pa.Schema], models: frozenset[str]) -> ModelLineage:
    found = lineage(model.sql, schemas, functions=model.functions)
    columns = {name: _origins(origins, models) for name, origins in found.columns.items()}
    reads = tuple(_node(name, models) for name in model.inputs)
    return ModelLineage(model.name, columns, _origins(found.rows, models), found.types, reads)


def _origins(origins: Origins, models: frozenset[str]) -> tuple[Origin, ...]:
    return tuple(sorted(Origin(_node(name, models), column, how) for (name, column), how in origins.items()))


def _node(name: str, models: frozenset[str]) -> str:
    return f"model:{name}" if name in models else f"stream:{name}"


_WEAKER: tuple[How, ...] = ("sort", "window", "filter", "group", "join", "identity", "transformation", "aggregation")


def _composed(nearer: How, further: How) -> How:
    """The part of a column of which another is made that has a part itself."""
    for how in (nearer, further):
        if how not in DIRECT:
            return how
    return max(nearer, further, key=_WEAKER.index)


def _strongest(origins: Iterator[Origin]) -> dict[tuple[str, str], Origin]:
    found: dict[tuple[str, str], Origin] = {}
    for origin in origins:
        known = found.get((origin.node, origin.column))
        if known is None or _WEAKER.index(origin.how) > _WEAKER.index(known.how):
            found[origin.node, origin.column] = origin
    return found
