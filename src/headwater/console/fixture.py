"""A part of a stream as the rows that a model test is given: YAML to be pasted into tests/NAME.yml."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from headwater.change import Op
from headwater.console.values import columns_of, plain
from headwater.schema import StreamSchema
from headwater.serve.moments import printable

_LEFT_OUT = (Op.TRUNCATE, Op.SNAPSHOT_BEGIN, Op.SNAPSHOT_END)


def fixture_of(
    stream: str, found: Sequence[tuple[list[int], pa.RecordBatch]], readers: Sequence[str], schema: StreamSchema
) -> str:
    """The rows of records as YAML, oldest first.

    Args:
        stream: its name.
        found: record batches as the log has them, with the offsets of their rows.
        readers: models that read the stream.
        schema: of the stream.
    """
    rows = sorted((pair for offsets, batch in found for pair in zip(offsets, _rows(batch, schema), strict=True)),
                  key=lambda pair: pair[0])  # fmt: skip
    head = [f"# from the stream {stream}, log offsets {rows[0][0]} to {rows[-1][0]}"] if rows else []
    columns = ", ".join(f"{_key(one.name)}: {json.dumps(one.type)}" for one in columns_of(schema.columns))
    key = f", key: [{', '.join(map(_key, schema.key))}]" if schema.key else ""
    lines = [*head, f"name: from_{stream}", "streams:"]
    lines += [f"  {_key(stream)}: {{columns: {{{columns}}}{key}}}", "given:", f"  {_key(stream)}:"]
    lines += [f"    - {row}" for _, row in rows if row]
    expected = [f"  {_key(reader)}: []" for reader in readers]
    return "\n".join([*lines, "expect:", *expected, ""] if expected else [*lines, "expect: {}", ""])


def _rows(batch: pa.RecordBatch, schema: StreamSchema) -> list[str]:
    names = [name for name in batch.schema.names if name in schema.columns.names]
    shown = printable(pa.Table.from_batches([batch]).select(names)).to_pylist()
    ops, weights = batch.column("_op").to_pylist(), batch.column("_weight").to_pylist()
    return [_row(row, Op(op), weight, schema) for row, op, weight in zip(shown, ops, weights, strict=True)]


def _row(row: dict[str, object], op: Op, weight: int, schema: StreamSchema) -> str:
    """A change as a test is given it; "" for what is no change of a row."""
    if op in _LEFT_OUT:
        return ""
    values = {**row}
    if weight < 0 and schema.changelog == "upsert":  # of which only the key is known
        values = {**{name: row[name] for name in schema.key if name in row}, "_op": "delete"}
    elif weight < 0:
        values["_weight"] = weight
    elif op is Op.UPDATE and schema.changelog == "upsert":
        values["_op"] = "update"
    told = (f"{_key(name)}: {json.dumps(plain(value), ensure_ascii=False)}" for name, value in values.items())
    return "{" + ", ".join(told) + "}"


def _key(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)
