"""Changes of grouped results have no row both added and taken away, whether the plan can tell or it is looked for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from headwater import View

SCHEMA = pa.schema([("k", pa.int64()), ("v", pa.int64()), ("ts", pa.timestamp("us"))])
QUERIES = {
    "SELECT k, sum(v) AS s FROM t GROUP BY k": True,
    "SELECT sum(v) AS s FROM t": True,
    "SELECT sum(v) AS s, k AS key, k + 1 AS next FROM t GROUP BY k HAVING sum(v) > 0": True,
    "SELECT strftime(ts, '%Y-%m-%d') AS day, count(*) AS n FROM t GROUP BY day": True,
    "SELECT DISTINCT k FROM t": True,
    "SELECT sum(v) AS s FROM t GROUP BY k": False,
    "SELECT k, sum(v) > 3 AS much FROM t GROUP BY k": False,
    "SELECT k FROM (SELECT k, count(*) AS c FROM t GROUP BY k) AS counted": False,
    "SELECT k % 2 AS odd, sum(v) AS s FROM t GROUP BY k": False,
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sql", QUERIES)
def test_no_row_comes_and_goes_in_one_change(sql: str, threads: int) -> None:
    view, rng = View(sql, {"t": SCHEMA}, threads=threads), np.random.default_rng(1)
    assert view.plan.settled == QUERIES[sql]
    for _ in range(20):
        count = int(rng.integers(1, 30))
        rows = {"k": rng.integers(0, 9, count), "v": rng.integers(-2, 3, count),
                "ts": rng.integers(0, 1 << 38, count).astype("datetime64[us]")}  # fmt: skip
        change = view.apply({"t": pa.table(rows, schema=SCHEMA)})
        ways: dict[bool, set[tuple[object, ...]]] = {True: set(), False: set()}
        for row in change.to_pylist():
            ways[row.pop("_weight") > 0].add(tuple(row.values()))
        assert not ways[True] & ways[False]
    view.close()
