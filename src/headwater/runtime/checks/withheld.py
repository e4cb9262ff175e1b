"""Rows that are set aside, as the ledger keeps them: whole, with their key, and a digest to find them by."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from headwater.change import REJECT_SCHEMA, WEIGHT, key_text
from headwater.quality.checks import Check

STAGE = "quality"


def entries(rows: pa.Table, checks: Sequence[Check], key: Sequence[str]) -> pa.RecordBatch:
    """The ledger's entries (`REJECT_SCHEMA`) for rows that appear and fail, one for each copy of a row; `position` is
    the row's digest.

    Args:
        rows: a delta with positive weights.
        checks: by row, the first check that it fails.
        key: of the stream or model.
    """
    names = [name for name in rows.column_names if name != WEIGHT]
    weights, digests = rows.column(WEIGHT).to_pylist(), row_digests(rows)
    keys = [key_text(rows.column(name)) for name in key if name in names]
    known = [json.dumps(list(values)) for values in zip(*keys, strict=True)] if keys else [""] * rows.num_rows
    told: list[dict[str, str | int | bytes]] = []
    for number, (check, times) in enumerate(zip(checks, weights, strict=True)):
        row = rows.slice(number, 1)
        entry: dict[str, str | int | bytes] = {
            "stream": check.node, "stage": STAGE, "reason": check.name,
            "message": f"{check.says}: {example(row, check, key)}", "position": digests[number],
            "key": known[number], "record": _record(row), "weight": 1,
        }  # fmt: skip
        told += [entry] * times
    return pa.RecordBatch.from_pylist(told, schema=REJECT_SCHEMA)


def counted(rows: pa.Table) -> Counter[str]:
    """How often each row is there, by its digest."""
    found: Counter[str] = Counter()
    for digest, weight in zip(row_digests(rows), rows.column(WEIGHT).to_pylist(), strict=True):
        found[digest] += abs(weight)
    return found


def row_digests(rows: pa.Table) -> list[str]:
    """A digest of each row's values: equal rows have equal ones."""
    columns = [_plain(rows.column(name)).to_pylist() for name in rows.column_names if name != WEIGHT]
    return [hashlib.blake2b(repr(row).encode(), digest_size=12).hexdigest() for row in zip(*columns, strict=True)]


def example(row: pa.Table, check: Check, key: Sequence[str]) -> str:
    """One row as text: its key, and what the check names."""
    wanted = dict.fromkeys([*key, *(check.columns or row.column_names[:4])])
    shown = [(name, row.column(name)[0]) for name in wanted if name in row.column_names and name != WEIGHT]
    return ", ".join(f"{name}={_text(value)}" for name, value in shown)


def _text(value: pa.Scalar) -> str:
    if not value.is_valid:
        return "NULL"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as numbers: those beyond the year 9999 are no Python times."""
    kind = column.type
    if pa.types.is_date32(kind):
        return column.cast(pa.int32())
    if pa.types.is_timestamp(kind) or pa.types.is_time64(kind) or pa.types.is_date64(kind):
        return column.cast(pa.int64())
    return column


def _record(row: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, row.schema) as writer:
        writer.write_table(row)
    content: bytes = sink.getvalue().to_pybytes()
    return content
