"""`GET /v1/graph/{kind}/{name}`: one node of the dataflow closely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from headwater.console import graph as whole
from headwater.console import lineage
from headwater.console.endpoint import Call, Endpoint, missing
from headwater.console.log_scan import RowFilter, Scan
from headwater.console.shapes import graph as shapes
from headwater.console.shapes.shape import Json, Rows
from headwater.console.values import columns_of, plain, rows_of
from headwater.errors import HeadwaterError
from headwater.govern.lineage import ProjectLineage
from headwater.project.definition import Model
from headwater.project.discovery import load_streams
from headwater.project.models import times_to_live
from headwater.runtime.dataflow import view_of
from headwater.schema import StreamSchema
from headwater.serve.query import open_lake

SAMPLE = 10
PLANNED_S = 3600.0
SAMPLE_S = 2.0


def node(call: Call) -> shapes.NodeDetail:
    """One node."""
    kind, name = call.path["kind"], call.path["name"]
    found = whole.graph(call)
    identity = f"{kind}:{name}"
    glance = next((one for one in found.nodes if one.id == identity), None)
    if glance is None:
        raise missing("node", identity)
    told: dict[str, Any] = {
        "columns": [], "key": [], "sql": "", "settings": {}, "operators": [], "explain": "", "lineage": [],
        "sample": Rows(columns=[], rows=[]),
    } | _KINDS[glance.kind](call, name)  # fmt: skip
    return shapes.NodeDetail(
        id=identity,
        kind=glance.kind,
        name=name,
        state=glance.state,
        error=glance.problem,
        metrics=_metrics(glance),
        upstream=[edge.start for edge in found.edges if edge.end == identity],
        downstream=[edge.end for edge in found.edges if edge.start == identity],
        **told,
    )


def _metrics(glance: shapes.Node) -> dict[str, float | None]:
    names = ("rows_per_s", "rows", "busy", "state_bytes", "watermark_us")
    return {name: value for name in names if (value := getattr(glance, name)) is not None}


def _source(call: Call, name: str) -> dict[str, Any]:
    """The settings of a source, what is secret left out."""
    definition = next((one for one in call.running.project.sources if one.name == name), None)
    if definition is None:
        return {}
    return {"settings": {"type": definition.type, **_open_settings(call, definition.settings.model_dump(mode="json"))}}


def _sync(call: Call, name: str) -> dict[str, Any]:
    definition = next((one for one in call.running.project.syncs if one.name == name), None)
    if definition is None:
        return {}
    own = {"type": definition.type, "model": definition.model, **definition.own.model_dump(mode="json")}
    return {"settings": _open_settings(call, own)}


def _open_settings(call: Call, dumped: Mapping[str, Any]) -> dict[str, Json]:
    """Settings for people: Pydantic has put stars in the place of secrets; what else looks like one is masked."""
    return {
        name: call.running.mask(value) if isinstance(value, str) else plain(value)
        for name, value in dumped.items()
        if value not in (None, "", [], {})
    }


def _stream(call: Call, name: str) -> dict[str, Any]:
    schema = next((one for one in load_streams(call.running.project.state) if one.name == name), None)
    if schema is None:
        return {}
    sample = call.kept.get(f"sample:stream:{name}", SAMPLE_S, lambda: _newest(call, schema))
    return {"columns": columns_of(schema.columns), "key": list(schema.key),
            "settings": {"changelog": schema.changelog}, "sample": sample}  # fmt: skip


def _newest(call: Call, schema: StreamSchema) -> Rows:
    """The newest records of a stream."""
    running = call.running
    partition = running.partitions[running.progress().stream_sources[schema.name]]
    with RowFilter("") as every:
        scan = Scan(partition, schema.name, every, running.clock, SAMPLE)
        scan.backward(partition.head, partition.base)
    columns = scan.columns() if scan.found else schema.columns
    rows: list[list[Json]] = [[record.op, *record.row] for record in scan.records(columns)]
    with_op = pa.schema([pa.field("_op", pa.string()), *columns])
    return Rows(columns=columns_of(with_op), rows=rows, truncated=not scan.reached <= partition.base)


def _model(call: Call, name: str) -> dict[str, Any]:
    model = next(one for one in call.running.project.models if one.name == name)
    found = lineage.known(call)
    own = found.models.get(name)
    settings = {
        key: plain(value) for key, value in model.settings.model_dump(mode="json", exclude_defaults=True).items()
    }
    told: dict[str, Any] = {"sql": model.sql.strip(), "settings": settings}
    if own is None:
        return {**told, "explain": found.unknown.get(name, "")}
    mark = (model.fingerprint, *(str(_schema(found, one)) for one in model.inputs))
    planned = call.kept.get(f"plan:{name}", PLANNED_S, lambda: _planned(call, model, found), mark)
    return {**told, **planned, "columns": columns_of(own.types), "lineage": lineage.columns_from(own.columns),
            "sample": _rows_of_table(call, name)}  # fmt: skip


def _planned(call: Call, model: Model, found: ProjectLineage) -> dict[str, Any]:
    """The operators of a model, as the engine plans it."""
    project = call.running.project
    appending = {one.name for one in load_streams(project.state) if one.changelog == "append"}
    marks = {name: stream.watermark for source in project.sources for name, stream in source.streams.items()}
    schemas = {one: schema for one in model.inputs if (schema := _schema(found, one)) is not None}
    try:
        view = view_of(
            model, schemas, append_only=appending.intersection(model.inputs), ttl=times_to_live(model, marks)
        )
    except HeadwaterError as error:
        return {"explain": call.running.mask(str(error))}
    try:
        operators = [
            shapes.Operator(
                id=one.name, title=one.title, detail=one.fast, keeps="", reads=[of.name for of in one.inputs]
            )
            for one in view.plan.nodes()
        ]
        return {"operators": operators, "explain": view.explain(), "key": list(view.key)}
    finally:
        view.close()


def _schema(found: ProjectLineage, name: str) -> pa.Schema | None:
    return found.models[name].types if name in found.models else found.streams.get(name)


def _table(call: Call, name: str) -> dict[str, Any]:
    lake = open_lake(call.running.project)
    try:
        spec = lake.open_table(name).spec
    finally:
        lake.close()
    return {"columns": columns_of(spec.columns), "key": list(spec.key), "sample": _rows_of_table(call, name)}


def _rows_of_table(call: Call, name: str) -> Rows:
    return call.kept.get(f"sample:table:{name}", SAMPLE_S, lambda: _first_rows(call, name))


def _first_rows(call: Call, name: str) -> Rows:
    lake = open_lake(call.running.project)
    try:
        if name not in lake.names():
            return Rows(columns=[], rows=[])
        dataset = lake.open_table(name).dataset()
        found = []
        for batch in dataset.scanner(batch_size=SAMPLE + 1).to_reader():
            found.append(batch)
            if sum(one.num_rows for one in found) > SAMPLE:
                break
        rows = pa.Table.from_batches(found, found[0].schema if found else dataset.schema)
    finally:
        lake.close()
    return rows_of(rows.slice(0, SAMPLE), truncated=rows.num_rows > SAMPLE)


_KINDS = {"source": _source, "stream": _stream, "model": _model, "table": _table, "sync": _sync}

ENDPOINTS = (Endpoint("GET", "/v1/graph/{kind}/{name}", "One node of the dataflow closely.", shapes.NodeDetail, node),)
