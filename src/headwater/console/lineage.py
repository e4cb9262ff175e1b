"""`GET /v1/lineage`: where the columns of models come from, read off their SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import lineage as shapes
from headwater.console.shapes.graph import ColumnLineage
from headwater.console.shapes.graph import Origin as OriginShape
from headwater.govern.lineage import Origin, ProjectLineage, lineage_of
from headwater.project.discovery import load_streams

KEPT_S = 3600.0


def known(call: Call) -> ProjectLineage:
    """The project's lineage, worked out anew when a model or a stream's columns have changed."""
    project = call.running.project
    streams = load_streams(project.state)
    mark = (tuple(model.fingerprint for model in project.models), tuple(str(one.columns) for one in streams))
    return call.kept.get("lineage", KEPT_S, lambda: lineage_of(project, streams), mark)


def columns_from(columns: Mapping[str, Sequence[Origin]]) -> list[ColumnLineage]:
    """Columns with their origins."""
    return [
        ColumnLineage.model_validate({"column": name, "from": origins_of(origins)}) for name, origins in columns.items()
    ]


def origins_of(origins: Sequence[Origin]) -> list[OriginShape]:
    """Origins in the shape of an answer."""
    return [OriginShape(node=one.node, column=one.column, how=one.how) for one in origins]


def lineage(call: Call) -> shapes.Lineage:
    """The lineage of all models."""
    found = known(call)
    models = [
        shapes.ModelLineage(
            model=name, columns=columns_from(one.columns), rows=origins_of(one.rows), reads=list(one.reads)
        )
        for name, one in found.models.items()
    ]
    streams = {name: list(columns.names) for name, columns in found.streams.items()}
    return shapes.Lineage(models=models, streams=streams, unknown=dict(found.unknown))


ENDPOINTS = (Endpoint("GET", "/v1/lineage", "Where the columns of models come from.", shapes.Lineage, lineage),)
