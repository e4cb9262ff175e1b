"""Every query of Nexmark on the engine against DuckDB over the same rows, however they are cut and worked on."""

from __future__ import annotations

import json
import subprocess
import sys

import pyarrow as pa
import pytest

from headwater.bench.comparison import differences
from headwater.bench.nexmark.queries import NAMES, chosen
from headwater.bench.nexmark.run import run
from headwater.bench.tally import Tally
from headwater.errors import UserError
from headwater.sql.fast_paths import FAST_PATHS

LONGER = {"q23": 3}
"""q23 matches nobody before 1,000 people are there."""

CUTS = [
    pytest.param(1, 20_000, 10_000.0, id="at-once"),
    pytest.param(1, 1_000, 4.0, id="slow-events-in-small-batches"),
    pytest.param(2, 1_000, 10_000.0, id="two-threads-small-batches"),
    pytest.param(2, 20_000, 0.2, id="two-threads-days"),
]


@pytest.mark.parametrize("query", NAMES)
@pytest.mark.parametrize(("threads", "batch", "rate"), CUTS)
def test_it_adds_up_to_duckdbs_answer(query: str, threads: int, batch: int, rate: float) -> None:
    events = 20_000 * LONGER.get(query, 1)
    figures = run(query, events=events, batch=batch, threads=threads, rate=rate, verify=True, warm_up=False)
    assert figures["verified"] == "equal"
    assert figures["rows"] > 0 or query == "q8", "only who sells at once can be in q8, which is rare where time is long"


@pytest.mark.parametrize("query", NAMES)
def test_it_adds_up_without_fast_paths(query: str) -> None:
    figures = run(
        query, events=3_000, batch=500, rate=20.0, verify=True, warm_up=False, without=list(FAST_PATHS)
    )  # fmt: skip
    assert figures["verified"] == "equal"


@pytest.mark.parametrize("query", ["q4", "q5", "q18", "q19"])
def test_the_checksum_is_of_the_result_alone(query: str) -> None:
    found = {run(query, events=10_000, batch=batch, rate=1_000.0, warm_up=False)["checksum"] for batch in (10_000, 777)}
    assert len(found) == 1


def table(rows: list[tuple[int, float, str, int]]) -> pa.Table:
    columns = [pa.array(column) for column in zip(*rows, strict=True)]
    return pa.table(dict(zip(("a", "b", "c", "_weight"), columns, strict=True)))


def test_a_difference_is_found() -> None:
    result = pa.table({"a": [1, 2], "b": [0.5, 0.1 + 0.2], "c": ["x", "y"]})
    right = [(1, 0.5, "x", 2), (2, 0.3, "y", 1), (1, 0.5, "x", -1)]
    assert differences(table(right).to_batches(), result) == ""
    for wrong in ([*right, (3, 0.1, "z", 1)], right[:2], [(1, 0.5, "x", 1), (2, 0.3001, "y", 1)],
                  [(1, 0.5, "z", 1), (2, 0.3, "y", 1)], []):  # fmt: skip
        batches = table(wrong).to_batches() if wrong else []
        assert differences(batches, result) != ""


def test_a_checksum_does_not_hang_on_order_or_history() -> None:
    one, other, third = Tally(), Tally(), Tally()
    one.add(table([(1, 0.5, "x", 1), (2, 0.3, "y", 1)]))
    for row in [(2, 0.1 + 0.2, "y", 2), (1, 0.5, "x", 1), (2, 0.3, "y", -1)]:
        other.add(table([row]))
    third.add(table([(1, 0.5, "x", 1), (2, 0.3, "z", 1)]))
    assert (one.rows, one.checksum) == (other.rows, other.checksum)
    assert third.checksum != one.checksum


def test_queries_are_chosen_by_name() -> None:
    assert chosen("q3, q10") == ["q3", "q10"]
    assert chosen("all") == list(NAMES)
    with pytest.raises(UserError, match="q24"):
        chosen("q24")


def test_the_command_prints_figures_of_each_query() -> None:
    command = [sys.executable, "-m", "headwater.cli.app", "bench", "nexmark", "--queries", "q2,q17",
               "--events", "10000", "--verify", "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [(q["query"], q["verified"]) for q in found["queries"]] == [("q2", "equal"), ("q17", "equal")]
    assert all(q["peak_bytes"] >= 0 and q["events_per_s"] > 0 and q["state_bytes"] > 0 for q in found["queries"])
    assert found["event_time_s"] == 1.0
    assert found["of_duckdb_mean"] > 0
