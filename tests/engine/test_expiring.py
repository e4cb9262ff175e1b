"""A declared time to live: the view is DuckDB's answer over the rows that are young enough, and keeps no others."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from oracle import multiset

from headwater.engine.view import View
from headwater.errors import SqlError
from headwater.sql.prelude import connect

BIDS = pa.schema([("id", pa.int64()), ("k", pa.int64()), ("v", pa.int64()), ("made", pa.timestamp("us"))])
NAMES = pa.schema([("k", pa.int64()), ("name", pa.string())])
INPUTS = {"bids": BIDS, "names": NAMES}
BASE = datetime(2024, 5, 1)
TTL = {"bids": ("made", timedelta(seconds=10))}
QUERIES = [
    "SELECT k, count(*) AS n, sum(v) AS s, max(v) AS m FROM bids GROUP BY k",
    "SELECT b.id, n.name FROM bids AS b JOIN names AS n ON n.k = b.k",
    "SELECT n.k, b.id FROM names AS n LEFT JOIN bids AS b ON n.k = b.k",
    "SELECT id, k FROM bids QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC, id) <= 2",
    "SELECT DISTINCT v FROM bids WHERE v > 2",
    "SELECT a.id, b.id AS other FROM bids AS a JOIN bids AS b ON a.k = b.k AND a.v < b.v",
    "SELECT k, median(v) AS m, string_agg(id::VARCHAR, ',' ORDER BY id) AS ids FROM bids GROUP BY k",
]
Row = tuple[object, ...]


def _table(schema: pa.Schema, rows: list[Row], weight: int = 1) -> pa.Table:
    made = pa.Table.from_arrays([pa.array([r[i] for r in rows], f.type) for i, f in enumerate(schema)], schema=schema)
    return made.append_column("_weight", pa.array([weight] * len(rows), pa.int64()))


def _answer(sql: str, bids: list[Row], names: list[Row]) -> Counter[Row]:
    with connect() as connection:
        for name, rows in (("bids", bids), ("names", names)):
            connection.register("given", _table(INPUTS[name], rows).drop_columns(["_weight"]))
            connection.execute(f"CREATE TEMP TABLE {name} AS FROM given")
        return multiset(connection.sql(sql).to_arrow_table())


@pytest.mark.parametrize("append_only", [[], ["bids"]])
@pytest.mark.parametrize("sql", QUERIES)
def test_the_view_is_the_answer_over_the_rows_that_are_young_enough(
    sql: str, append_only: list[str], tmp_path: Path
) -> None:
    rng, inputs = random.Random(7), {name: schema for name, schema in INPUTS.items() if name in sql}
    view = View(sql, inputs, ttl=TTL, append_only=append_only)
    alive, names, total, late = list[Row](), list[Row](), multiset(view.result()), 0
    limit = datetime.min
    for step in range(30):
        fresh = [(step * 10 + i, rng.randrange(4), rng.randrange(6), _time(rng, step)) for i in range(rng.randrange(9))]
        old = [row for row in alive if not append_only and rng.random() < 0.2]
        came = [row for row in fresh if row[3] is None or row[3] > limit]
        late += len(fresh) - len(came)
        alive = [row for row in alive if row not in old] + came
        delta = {"bids": pa.concat_tables([_table(BIDS, fresh), _table(BIDS, old, -1)])}
        if "names" in inputs and step % 3 == 0:
            names.append((step % 5, f"name {step}"))
            delta["names"] = _table(NAMES, names[-1:])
        changes = [view.apply(delta)]
        if step % 2:
            mark = BASE + timedelta(seconds=step)
            changes.append(view.advance({"bids": mark}))
            limit = mark - TTL["bids"][1]
            alive = [row for row in alive if row[3] is None or row[3] > limit]
        for change in changes:
            total.update(multiset(change))
        assert multiset(view.result()) == _answer(sql, alive, names)
        assert Counter({row: n for row, n in total.items() if n}) == multiset(view.result())
        assert view.counts.holds and view.counts.late == late
        if step in (11, 20):
            view.checkpoint(tmp_path / str(step))
            view.close()
            threads = 3 if step == 11 else 1
            view = View.restore(tmp_path / str(step), sql, inputs, ttl=TTL, append_only=append_only, threads=threads)
    view.close()


def _time(rng: random.Random, step: int) -> datetime | None:
    return None if rng.random() < 0.1 else BASE + timedelta(seconds=step - rng.choice([0, 1, 2, 5, 12]))


def test_state_goes_with_the_rows() -> None:
    sql = "SELECT b.k, n.name, count(*) AS n FROM bids AS b JOIN names AS n ON n.k = b.k GROUP BY ALL"
    view = View(sql, INPUTS, ttl=TTL, append_only=["bids"])
    view.apply({"names": _table(NAMES, [(k, f"n{k}") for k in range(100)])})
    for second in range(60):
        rows = [(second * 100 + i, i, 1, BASE + timedelta(seconds=second)) for i in range(100)]
        view.apply({"bids": _table(BIDS, rows)})
        view.advance({"bids": BASE + timedelta(seconds=second)})
    kept = {int(n) for n in re.findall(r"keeps (\d+)", view.explain())}
    assert kept == {100, 1000}, view.explain()
    view.close()


def test_late_rows_are_rejected_where_that_is_asked() -> None:
    view = View("SELECT id FROM bids", {"bids": BIDS}, ttl=TTL, late="reject")
    view.advance({"bids": BASE + timedelta(seconds=30)})
    view.apply({"bids": _table(BIDS, [(1, 1, 1, BASE), (2, 1, 1, BASE + timedelta(seconds=25))])})
    assert view.result().column("id").to_pylist() == [2]
    (reject,) = view.take_rejects().to_pylist()
    assert (reject["stage"], reject["message"]) == ("late", "its time to live was over 20 s before in event time")
    assert view.counts.late == 1 and view.counts.holds
    view.close()


def test_a_restored_view_has_its_times_to_live(tmp_path: Path) -> None:
    view = View("SELECT id FROM bids", {"bids": BIDS}, ttl=TTL)
    view.apply({"bids": _table(BIDS, [(1, 1, 1, BASE)])})
    view.checkpoint(tmp_path / "c")
    view.close()
    again = View.restore(tmp_path / "c")
    assert again.advance({"bids": BASE + timedelta(seconds=10)}).to_pylist() == [{"id": 1, "_weight": -1}]
    again.close()


@pytest.mark.parametrize(
    ("sql", "ttl", "message"),
    [
        ("SELECT id FROM bids", {"bids": ("v", timedelta(1))}, "no TIMESTAMP column"),
        ("SELECT id FROM bids", {"bids": ("mad", timedelta(1))}, "no TIMESTAMP column"),
        ("SELECT window_end, count(*) AS n FROM TUMBLE(bids, made, INTERVAL 1 MINUTE) GROUP BY window_end", TTL, "ttl"),
    ],
)
def test_what_has_no_sense_is_refused(sql: str, ttl: dict[str, tuple[str, timedelta]], message: str) -> None:
    with pytest.raises(SqlError, match=message):
        View(sql, {"bids": BIDS}, ttl=ttl)
