"""What all answers have in common.

Times are integers, microseconds since 1970 UTC, in fields that end in `_us`; sizes are bytes (`_bytes`), rates are per
second (`_per_s`).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

Json = object
"""A value that JSON can hold: numbers within 2^53, text, true, false, null, lists and objects of them. Integers beyond
that, decimals, times, dates, intervals and UUIDs are text; binary is base64."""


class Shape(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


class Asked(BaseModel):
    """What a request says: its query, or its JSON body. What is not known is refused, so that a misspelt name is no
    silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Nothing(Asked):
    """A request that says nothing."""


class Column(Shape):
    """A column: its name, and its type as DuckDB writes it."""

    name: str
    type: str


class Rows(Shape):
    """Rows as a table."""

    columns: list[Column]
    rows: list[list[Json]]
    truncated: bool = False
