"""The test of a new project's model."""

from __future__ import annotations

import json

import duckdb
import pyarrow as pa

from headwater.schema import StreamSchema


def starter_test(model: str, stream: StreamSchema, counted: pa.Field | None) -> dict[str, str]:
    """The text of a test, by its path: three rows come, and one goes. None if the stream's key is of types that no
    values are known of.

    Args:
        model: its name.
        stream: what it reads.
        counted: the column by which it counts; None if it is the stream as it is.
    """
    columns = [stream.columns.field(name) for name in stream.key]
    columns += [counted] if counted is not None else []
    values = [_values(field.type) for field in columns]
    if not stream.key or not all(values):
        return {}
    names = [field.name for field in columns]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    if counted is not None:
        rows[1][counted.name] = rows[0][counted.name]
        count = "row_count" if counted.name == "rows" else "rows"
        first = [{counted.name: rows[0][counted.name], count: 2}, {counted.name: rows[2][counted.name], count: 1}]
        then = [{**first[0], count: 1}, first[1]]
    else:
        first, then = rows, rows[1:]
    gone = {"_op": "delete", **{name: rows[0][name] for name in stream.key}}
    types = dict(zip(names, _types(pa.schema(columns)), strict=True))
    lines = [
        "# headwater test runs this: no database, no state. docs/model-tests.md says what may stand here.",
        "streams:",
        f"  {_key(stream.name)}: {{columns: {_row(types)}, key: [{', '.join(map(_key, stream.key))}]}}",
        "name: rows come and go",
        "steps:",
        *_step(stream.name, model, rows, first),
        *_step(stream.name, model, [gone], then),
    ]
    return {f"tests/{model}.yml": "\n".join(lines) + "\n"}


def _step(stream: str, model: str, given: list[dict[str, object]], expected: list[dict[str, object]]) -> list[str]:
    rows = [f"        - {_row(row)}" for row in given]
    wanted = [f"        - {_row(row)}" for row in expected]
    return ["  - given:", f"      {_key(stream)}:", *rows, "    expect:", f"      {_key(model)}:", *wanted]


def _values(kind: pa.DataType) -> list[object]:
    """Three values of a type; none if it is not known how they are written."""
    if pa.types.is_boolean(kind):
        return [True, False, False]
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return [1, 2, 3]
    return ["a", "b", "c"] if pa.types.is_string(kind) else []


def _types(columns: pa.Schema) -> list[str]:
    """What DuckDB calls the types."""
    with duckdb.connect() as connection:
        connection.register("typed", columns.empty_table())
        return [row[1] for row in connection.execute("DESCRIBE typed").fetchall()]


def _row(row: dict[str, object]) -> str:
    return "{" + ", ".join(f"{_key(name)}: {json.dumps(value)}" for name, value in row.items()) + "}"


def _key(name: str) -> str:
    return name if name.isidentifier() and name.lower() not in ("null", "true", "false") else json.dumps(name)
