"""What is asked and answered about SQL."""

from __future__ import annotations

from pydantic import Field

from headwater.console.shapes.shape import Asked, Column, Rows, Shape
from headwater.sql.read_only import MOST_CHARACTERS


class Statement(Asked):
    """A SELECT. Without `fresh` mirrors alone are read to the last durable change, and all else as of the last epoch;
    `at` is a moment ("2 hours ago", "epoch 17")."""

    sql: str = Field(min_length=1, max_length=MOST_CHARACTERS)
    at: str | None = Field(None, max_length=100)
    fresh: bool | None = None
    limit: int | None = Field(None, ge=0, le=1_000_000)


class Explained(Asked):
    """A SELECT that is not to be run."""

    sql: str = Field(min_length=1, max_length=MOST_CHARACTERS)


class SqlAnswer(Rows):
    """Rows; `note` says which moment they are of, `truncated` that there are more."""

    note: str
    elapsed_ms: float


class PlanNode(Shape):
    """A step of DuckDB's plan. `rows` is its estimate."""

    id: str
    name: str
    detail: str
    rows: int | None = None


class PlanEdge(Shape):
    """From what is read to what reads it."""

    source: str = Field(serialization_alias="from")
    to: str


class SqlPlan(Shape):
    """How a SELECT would be answered."""

    nodes: list[PlanNode]
    edges: list[PlanEdge]
    text: str
    note: str
    elapsed_ms: float


class Names(Shape):
    """What can be written: tables with their columns, streams that have no table, functions, keywords."""

    tables: dict[str, list[Column]]
    streams: dict[str, list[Column]]
    functions: list[str]
    keywords: list[str]
    elapsed_ms: float
