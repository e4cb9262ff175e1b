"""A record on its own: its key as text, and the whole of it as bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from headwater.change import WEIGHT, key_text
from headwater.deliver.destination import Batch, Op

BEFORE = "_before"


def key_texts(rows: pa.Table, key: tuple[str, ...]) -> list[str]:
    """By row, the key as a JSON array, as the ledger of rejects has it; "" without a key."""
    if not key:
        return [""] * rows.num_rows
    columns = [key_text(_text_of(rows.column(name).combine_chunks())) for name in key]
    return [json.dumps(list(values), ensure_ascii=False) for values in zip(*columns, strict=True)]


def record_bytes(batch: Batch, at: int) -> bytes:
    """One record as an Arrow IPC stream of one delta row: the columns, `_weight`, and `_before` if it is known."""
    row = batch.rows.slice(at, 1)
    weight = -1 if batch.op[at] == Op.DELETE else 1
    row = row.append_column(pa.field(WEIGHT, pa.int64(), nullable=False), pa.array([weight], pa.int64()))
    if batch.before is not None and batch.before[at].is_valid:
        row = row.append_column(BEFORE, batch.before.slice(at, 1))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_table(row)
    return bytes(sink.getvalue().to_pybytes())


def batch_of(
    call: int, records: Sequence[bytes], op: Sequence[int], seq: Sequence[int], epoch: Sequence[int], *, before: bool
) -> tuple[Batch, int]:
    """A batch of records that were kept, and how many of them went in: those from the first on that are of the same
    columns."""
    rows: list[pa.Table] = []
    befores: list[pa.Array | None] = []
    for record in records:
        row = pa.ipc.open_stream(record).read_all()
        known = row.column(BEFORE).combine_chunks() if BEFORE in row.column_names else None
        row = row.select([name for name in row.column_names if name not in (WEIGHT, BEFORE)])
        if rows and not row.schema.equals(rows[0].schema):
            break
        rows.append(row)
        befores.append(known)
    count = len(rows)
    whole = pa.concat_tables(rows)
    kind = pa.struct([field.with_nullable(True) for field in whole.schema])
    formers = None
    if before:
        formers = pa.concat_arrays([one.cast(kind) if one is not None else pa.nulls(1, kind) for one in befores])
    seqs, epochs = np.asarray(seq[:count], np.int64), np.asarray(epoch[:count], np.int64)
    return Batch(call, whole, np.asarray(op[:count], np.uint8), seqs, epochs, formers), count


def _text_of(column: pa.Array) -> pa.Array:
    """Nested values have no text of their own in Arrow: their JSON-like form is as good for a key."""
    if pa.types.is_nested(column.type):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    return column
