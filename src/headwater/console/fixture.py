"""A part of a stream as the rows that a model test is given: YAML to be pasted into tests/NAME.yml."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa

from headwater.change import Op
from headwater.console.values import plain
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
    lines = [*head, f"model: {readers[0] if readers else '...'}", "given:", f"  {_key(stream)}:"]
    lines += [f"    - {row}" for _, row in rows if row]
    return "\n".join([*lines, "expect:", "  - {}", ""])


def _rows(batch: pa.RecordBatch, schema: StreamSchema) -> list[str]:
    names = [name for name in batch.schema.names if name in schema.columns.names]
    shown = printable(pa.Table.from_batches([batch]).select(names)).to_pylist()
    ops, weights = batch.column("_op").to_pylist(), batch.column("_weight").to_pylist()
    return [
        "" if op in _LEFT_OUT else _row(row if weight > 0 or schema.changelog == "full" else _only(row, schema), weight)
        for row, op, weight in zip(shown, ops, weights, strict=True)
    ]


def _only(row: dict[str, object], schema: StreamSchema) -> dict[str, object]:
    """A delete of which only the key is known."""
    return {name: row[name] for name in schema.key if name in row}


def _row(row: dict[str, object], weight: int) -> str:
    values = {**row, **({"_weight": weight} if weight < 0 else {})}
    return "{" + ", ".join(f"{_key(name)}: {json.dumps(plain(value), ensure_ascii=False)}"
                           for name, value in values.items()) + "}"  # fmt: skip


def _key(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)
