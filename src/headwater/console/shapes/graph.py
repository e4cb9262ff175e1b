"""The dataflow as a graph, and one node of it closely."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from headwater.console.shapes.shape import Column, Json, Rows, Shape

Kind = Literal["source", "stream", "model", "table", "sync"]


class Node(Shape):
    """One node; `id` is "kind:name". `busy` is the share of the time in which it worked, 0 to 1; null where that is not
    measured. `problem` is the sentence of the worst that is wrong with it."""

    id: str
    kind: Kind
    name: str
    state: str
    busy: float | None = None
    rows_per_s: float | None = None
    rows: int | None = None
    state_bytes: int | None = None
    watermark_us: int | None = None
    problem: str | None = None


class Edge(Shape):
    """From one node to the one that reads it; `rows_per_s` is what its beginning gives."""

    model_config = ConfigDict(populate_by_name=True)

    start: str = Field(alias="from")
    end: str = Field(alias="to")
    rows_per_s: float | None = None


class Graph(Shape):
    """The dataflow from sources to tables and syncs."""

    nodes: list[Node]
    edges: list[Edge]


class Origin(Shape):
    """Where a column's values come from. `how`: as it is, computed, aggregated, or only filtered or joined by."""

    node: str
    column: str
    how: str


class ColumnLineage(Shape):
    """A column and where it comes from."""

    model_config = ConfigDict(populate_by_name=True)

    column: str
    origins: list[Origin] = Field(alias="from")


class Operator(Shape):
    """One operator of a model. `reads` are ids of others; `keeps` says what state it has."""

    id: str
    title: str
    detail: str
    keeps: str
    reads: list[str]


class NodeDetail(Shape):
    """One node closely. What a node of its kind has not is empty."""

    id: str
    kind: Kind
    name: str
    state: str
    error: str | None
    columns: list[Column]
    key: list[str]
    sql: str
    settings: dict[str, Json]
    operators: list[Operator]
    explain: str
    lineage: list[ColumnLineage]
    sample: Rows
    metrics: dict[str, float | None]
    upstream: list[str]
    downstream: list[str]
