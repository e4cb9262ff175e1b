"""HOP with one look per key and window gives what one per row and window gives, late rows and their accounting too."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import pyarrow as pa
import pytest
from oracle import BASE, Row, multiset

from headwater.engine.view import View

SCHEMA = pa.schema([("k", pa.int64()), ("v", pa.int64()), ("ts", pa.timestamp("us"))])
SQL = (
    "SELECT k, window_start, window_end, count(*) AS n, sum(v) AS s, count(DISTINCT v) AS d, max(v) AS m"
    " FROM hop({source}, ts, INTERVAL 2 SECOND, INTERVAL 10 SECOND) WHERE v > 0 GROUP BY ALL"
)
DERIVED = "WITH twice AS (SELECT * FROM t UNION ALL SELECT * FROM t) "


def rejects(view: View) -> Counter[Row]:
    """The rejects since the last time, whatever their order."""
    found = view.take_rejects()
    rows = found.to_pylist() if found is not None else []
    told = Counter[Row]()
    for row in rows:
        (record,) = multiset(pa.ipc.open_stream(row["record"]).read_all())
        told[(row["reason"], row["message"], *record)] += row["weight"]
    return told


def batch(rng: random.Random, step: int) -> pa.Table:
    rows = [(rng.choice((1, 2, None)), rng.randint(-1, 3), BASE + timedelta(seconds=rng.uniform(step - 12, step + 3)))
            for _ in range(30)]  # fmt: skip
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), SCHEMA, strict=True)],
                                schema=SCHEMA)  # fmt: skip


@pytest.mark.parametrize("late", ["update", "drop", "reject"])
@pytest.mark.parametrize("emit", ["changes", "final"])
@pytest.mark.parametrize("source", ["t", "twice"])
@pytest.mark.parametrize("seed", [1, 2])
def test_panes_equal_expanded_rows(late: str, emit: str, source: str, seed: int) -> None:
    sql = (DERIVED if source == "twice" else "") + SQL.format(source=source)
    fast, slow = (View(sql, {"t": SCHEMA}, late=late, emit=emit, without=w) for w in ((), ("hop_panes",)))
    assert "the last window" in fast.explain()
    assert "the last window" not in slow.explain()
    rng, given = random.Random(seed), pa.Table.from_batches([], SCHEMA)
    for step in range(0, 24, 3):
        rows = batch(rng, step)
        assert multiset(fast.apply({"t": rows})) == multiset(slow.apply({"t": rows}))
        if late == "update" and given.num_rows:
            taken = given.slice(0, 5).append_column("_weight", pa.array([-1] * 5))
            given = given.slice(5)
            assert multiset(fast.apply({"t": taken})) == multiset(slow.apply({"t": taken}))
        given = pa.concat_tables([given, rows])
        mark = {"t": BASE + timedelta(seconds=step)}
        assert multiset(fast.advance(mark)) == multiset(slow.advance(mark))
        assert fast.counts == slow.counts
        assert rejects(fast) == rejects(slow)
    assert multiset(fast.result()) == multiset(slow.result())
