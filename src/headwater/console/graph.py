"""`GET /v1/graph`: the dataflow from sources to tables and syncs, with what flows."""

from __future__ import annotations

from headwater.console import overview
from headwater.console.endpoint import Call, Endpoint
from headwater.console.shapes import graph as shapes
from headwater.console.shapes.overview import Overview
from headwater.project.definition import Project
from headwater.runtime.running import Running


def graph(call: Call) -> shapes.Graph:
    """The whole graph."""
    return call.kept.get("graph", overview.FRESH_S, lambda: compose(call.running, overview.latest(call)))


def compose(running: Running, now: Overview) -> shapes.Graph:
    """The graph of a project as it stands."""
    nodes = _nodes(now)
    known = {node.id for node in nodes}
    rates = {node.id: node.rows_per_s for node in nodes}
    rates |= {f"model:{model.name}": model.given_per_s for model in now.models}
    edges = [
        shapes.Edge.model_validate({"from": start, "to": end, "rows_per_s": rates[_measured(start, end)]})
        for start, end in _pairs(running.project, now)
        if start in known and end in known
    ]
    return shapes.Graph(nodes=nodes, edges=edges)


def _measured(start: str, end: str) -> str:
    """The node whose rate is that of the edge: of a source only a part flows into each of its streams."""
    return end if start.startswith("source:") else start


def _nodes(now: Overview) -> list[shapes.Node]:
    wrong: dict[str, str] = {}
    for trouble in now.problems:
        wrong.setdefault(f"{trouble.kind}:{trouble.name}", trouble.what)
    nodes = [
        shapes.Node(id=f"source:{source.name}", kind="source", name=source.name, state=source.state,
                    rows_per_s=source.rows_per_s)
        for source in now.sources
    ]  # fmt: skip
    nodes += [
        shapes.Node(id=f"stream:{stream.name}", kind="stream", name=stream.name, state=source.state,
                    rows_per_s=stream.rows_per_s, rows=stream.landed)
        for source in now.sources for stream in source.streams
    ]  # fmt: skip
    nodes += [
        shapes.Node(id=f"model:{model.name}", kind="model", name=model.name, state=model.state, busy=model.busy,
                    rows_per_s=model.rows_per_s, rows=model.rows, state_bytes=model.state_bytes,
                    watermark_us=model.watermark_us)
        for model in now.models
    ]  # fmt: skip
    nodes += [
        shapes.Node(id=f"table:{table.name}", kind="table", name=table.name, state="running", rows=table.rows)
        for table in now.tables
    ]  # fmt: skip
    nodes += [
        shapes.Node(id=f"sync:{sync.name}", kind="sync", name=sync.name, state=sync.state, rows=sync.delivered)
        for sync in now.syncs
    ]  # fmt: skip
    return [node.model_copy(update={"problem": wrong[node.id]}) if node.id in wrong else node for node in nodes]


def _pairs(project: Project, now: Overview) -> list[tuple[str, str]]:
    """Who is read by whom."""
    definitions = {source.name: source for source in project.sources}
    models = {model.name for model in project.models}
    found: list[tuple[str, str]] = []
    for source in now.sources:
        for stream in source.streams:
            found.append((f"source:{source.name}", f"stream:{stream.name}"))
            if source.name in definitions:
                tables = definitions[source.name].tables(stream.name)
                found += [(f"stream:{stream.name}", f"table:{table.name}") for table in tables]
    for model in project.models:
        found += [(f"{'model' if name in models else 'stream'}:{name}", f"model:{model.name}") for name in model.inputs]
        found += [(f"model:{model.name}", f"table:{table.name}") for table in model.tables]
    return found + [(f"model:{sync.model}", f"sync:{sync.name}") for sync in project.syncs]


ENDPOINTS = (Endpoint("GET", "/v1/graph", "The dataflow as a graph.", shapes.Graph, graph),)
