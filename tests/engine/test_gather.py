"""Rows of several batches in one: what Arrow's take gives, whatever the types, the NULLs and the offsets."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.gather import Piece, gathered, rows_of

VALUES: dict[pa.DataType, list[object]] = {
    pa.int8(): [1, -2, None, 127],
    pa.uint16(): [1, None, 65_535],
    pa.int32(): [7, None, -(2**31)],
    pa.int64(): [1, None, 2**63 - 1],
    pa.float64(): [0.5, None, float("inf")],
    pa.bool_(): [True, False, None],
    pa.string(): ["", "a", None, "Grüße", "x" * 300],
    pa.large_string(): ["", None, "yes"],
    pa.binary(): [b"", b"\x00\xff", None],
    pa.binary(3): [b"abc", None],
    pa.binary(16): [b"0123456789abcdef", None],
    pa.decimal128(20, 2): [Decimal("1.50"), None, Decimal("-3.25")],
    pa.timestamp("us"): [datetime(2020, 1, 1), None],
    pa.date32(): [date(2020, 1, 1), None],
    pa.duration("us"): [timedelta(seconds=1), None],
    pa.list_(pa.string()): [["a", None], [], None],
    pa.struct([("a", pa.int32())]): [{"a": 1}, {"a": None}, None],
    pa.null(): [None],
    pa.dictionary(pa.int32(), pa.string()): ["a", None, "b"],
}
SCHEMA = pa.schema([(f"c{at}", kind) for at, kind in enumerate(VALUES)])


def _batch(draw: st.DrawFn, size: int) -> pa.RecordBatch:
    """Rows that begin anywhere in longer buffers."""
    skipped = draw(st.integers(0, 9))
    columns = []
    for kind, values in VALUES.items():
        some = draw(st.lists(st.sampled_from(values), min_size=skipped + size, max_size=skipped + size))
        columns.append(pa.array(some, kind).slice(skipped))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


@st.composite
def _pieces(draw: st.DrawFn) -> list[Piece]:
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    batches = [_batch(draw, size) for size in sizes]
    chosen = draw(st.lists(st.integers(0, len(batches) - 1), max_size=30))
    rows = [draw(st.integers(0, sizes[at] - 1)) for at in chosen]
    owner, number = np.array(chosen, np.int64), np.array(rows, np.int64)
    return [Piece(batch, number[owner == at], np.flatnonzero(owner == at)) for at, batch in enumerate(batches)]


@given(_pieces(), st.booleans())
def test_rows_of_several_batches_are_as_arrow_takes_them(pieces: list[Piece], several: bool) -> None:
    pieces = pieces if several else [Piece(pieces[0].batch, pieces[0].rows, np.arange(len(pieces[0].rows)))]
    count = sum(len(piece.rows) for piece in pieces)
    made = gathered(SCHEMA, pieces, count)
    made.validate(full=True)
    rows: list[dict[str, object]] = [{}] * count
    for piece in pieces:
        for row, at in zip(piece.rows.tolist(), piece.at.tolist(), strict=True):
            rows[at] = piece.batch.slice(row, 1).to_pylist()[0]
    assert made.to_pylist() == rows
    assert made.schema == SCHEMA


@pytest.mark.parametrize("count", [200, 5_000])
def test_many_rows_of_one_batch_in_any_order(count: int) -> None:
    generator = np.random.default_rng(count)
    batch = pa.record_batch({"n": np.arange(1_000), "t": [f"text {n}" if n % 7 else None for n in range(1_000)]})
    rows, at = generator.integers(0, 1_000, count), generator.permutation(count)
    made = gathered(batch.schema, [Piece(batch, rows, at)], count)
    assert made.equals(batch.take(pa.array(rows[np.argsort(at)])))


def test_rows_of_a_table_in_chunks() -> None:
    parts = [
        pa.record_batch({"n": pa.array(range(start, start + size), pa.int64())})
        for start, size in ((0, 3), (3, 0), (3, 5))
    ]
    table, rows = pa.Table.from_batches(parts), np.array([0, 2, 3, 7])
    made = gathered(table.schema, [*rows_of(table, rows), *rows_of(table, rows, first=4)], 8)
    assert made.column("n").to_pylist() == [0, 2, 3, 7, 0, 2, 3, 7]
