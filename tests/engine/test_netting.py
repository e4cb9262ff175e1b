"""Rows that are there before and after are paired one to one, also where hashes collide."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.engine.netting import Netting

COLUMNS = pa.schema([("k", pa.int64()), ("text", pa.string()), ("x", pa.float64())])
Row = tuple[object, ...]
VALUES = st.tuples(st.integers(0, 2) | st.none(), st.sampled_from(["", "ab", None]), st.sampled_from([1.5, math.nan]))


@pytest.mark.parametrize("hash_bits", [64, 0])
@given(st.lists(VALUES, max_size=12), st.lists(VALUES, max_size=12))
def test_pairs_are_what_two_multisets_have_in_common(hash_bits: int, before: list[Row], after: list[Row]) -> None:
    rows = pa.table([[r[i] for r in [*before, *after]] for i in range(3)], schema=COLUMNS)
    netting, split = Netting(COLUMNS, hash_bits=hash_bits), len(before)
    paired = netting.paired(netting.hashed(rows), split)
    told = np.array([repr(row) for row in [*before, *after]], object)
    common = Counter(map(repr, before)) & Counter(map(repr, after))
    assert Counter(told[:split][paired[:split]]) == Counter(told[split:][paired[split:]]) == common
