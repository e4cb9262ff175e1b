"""Net weights of equal rows."""

import pyarrow as pa

from headwater.change import WEIGHT
from headwater.index.consolidate import consolidate


def test_equal_rows_are_summed_and_nothing_is_dropped() -> None:
    delta = pa.table(
        {"a": ["x", None, "x", "y", None, "x"], "f": [0.0, 1.0, -0.0, 1.0, 1.0, 1.0], WEIGHT: [1, -1, 2, 1, 1, -1]}
    )
    assert consolidate(delta).to_pylist() == [
        {"a": "x", "f": 0.0, WEIGHT: 3},
        {"a": "y", "f": 1.0, WEIGHT: 1},
        {"a": "x", "f": 1.0, WEIGHT: -1},
    ]
    assert consolidate(delta.slice(0, 0)).schema == delta.schema
