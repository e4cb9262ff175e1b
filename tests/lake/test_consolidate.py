"""The net effect of a delta."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import InvariantBroken
from headwater.lake.consolidate import check_one_row_per_key, net_change, weights_of

ROWS = st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0.0, -0.0, 1.5, None]))


def table(rows: list[tuple[str | None, float | None]]) -> pa.Table:
    return pa.table(
        {"k": pa.array([k for k, _ in rows], pa.string()), "v": pa.array([v for _, v in rows], pa.float64())}
    )


@given(st.lists(st.tuples(ROWS, st.integers(-3, 3)), max_size=20))
def test_net_change_is_the_sum_of_weights(delta: list[tuple[tuple[str | None, float | None], int]]) -> None:
    net = net_change(table([row for row, _ in delta]), np.array([weight for _, weight in delta], np.int64))
    expected: Counter[tuple[object, ...]] = Counter()
    for row, weight in delta:
        expected[row] += weight
    found = Counter(tuple(row.values()) for row in net.added.to_pylist())
    for row, count in zip(net.removed.to_pylist(), net.counts.tolist(), strict=True):
        assert found[tuple(row.values())] == 0
        found[tuple(row.values())] = -count
    assert {row: n for row, n in found.items() if n} == {row: n for row, n in expected.items() if n}


def test_more_than_one_row_per_key_is_refused() -> None:
    key = pa.schema([("k", pa.string())])
    check_one_row_per_key(net_change(table([("a", 1.0), ("b", 1.0)]), np.array([1, -1])), key, "t")
    for weights in ([1, 1], [-1, -1]):
        with pytest.raises(InvariantBroken, match=r"'t'.*{'k': 'a'}"):
            check_one_row_per_key(net_change(table([("a", 1.0), ("a", 2.0)]), np.array(weights)), key, "t")


@pytest.mark.parametrize("delta", [pa.table({"k": ["a"]}), pa.table({"_weight": pa.array([None], pa.int64())})])
def test_a_delta_without_weights_is_refused(delta: pa.Table) -> None:
    with pytest.raises(InvariantBroken, match="_weight"):
        weights_of(delta)
