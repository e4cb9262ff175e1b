"""Rows of several batches in one: what Arrow's take gives, whatever the types, the NULLs and the offsets."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.gather import Block, gathered, pieces_of
from headwater.index.kernels import Longs

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


Rows = tuple[list[pa.RecordBatch], Longs, Longs]


@st.composite
def _rows(draw: st.DrawFn) -> Rows:
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    batches = [_batch(draw, size) for size in sizes]
    which = draw(st.lists(st.integers(0, len(batches) - 1), max_size=30))
    rows = [draw(st.integers(0, sizes[at] - 1)) for at in which]
    return batches, np.array(rows, np.int64), np.array(which, np.int64)


@given(_rows())
def test_rows_of_several_batches_are_as_arrow_takes_them(given_: Rows) -> None:
    batches, rows, which = given_
    made = gathered(SCHEMA, [Block(batch) for batch in batches], rows, which)
    made.validate(full=True)
    expected = [batches[at].slice(row, 1).to_pylist()[0] for row, at in zip(rows, which, strict=True)]
    assert made.to_pylist() == expected
    assert made.schema == SCHEMA


@pytest.mark.parametrize("count", [200, 5_000])
def test_many_rows_of_one_batch_in_any_order(count: int) -> None:
    generator = np.random.default_rng(count)
    batch = pa.record_batch({"n": np.arange(1_000), "t": [f"text {n}" if n % 7 else None for n in range(1_000)]})
    rows = generator.integers(0, 1_000, count)
    assert gathered(batch.schema, [Block(batch)], rows).equals(batch.take(pa.array(rows)))


def test_pieces_of_rows_block_by_block() -> None:
    found = pieces_of(np.array([5, 6, 7, 8]), np.array([2, 0, 2, 0]), 3)
    assert [(number, rows.tolist(), at.tolist()) for number, rows, at in found] == [
        (0, [6, 8], [1, 3]),
        (2, [5, 7], [0, 2]),
    ]
