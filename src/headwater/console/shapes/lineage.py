"""Where columns come from, for the whole project."""

from __future__ import annotations

from headwater.console.shapes.graph import ColumnLineage, Origin
from headwater.console.shapes.shape import Shape


class ModelLineage(Shape):
    """A model's columns with what they are made of, and what decides which rows there are."""

    model: str
    columns: list[ColumnLineage]
    rows: list[Origin]
    reads: list[str]


class Lineage(Shape):
    """The lineage of all models; `unknown` says why some are not there."""

    models: list[ModelLineage]
    streams: dict[str, list[str]]
    unknown: dict[str, str]
