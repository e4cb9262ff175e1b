"""The constructs of `headwater bench incremental`: right, not only timed."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from headwater.bench.incremental.constructs import CONSTRUCTS, LEFT_OPEN, chosen
from headwater.bench.incremental.rows import SCHEMAS, Changes, Sizes, load, table
from headwater.bench.incremental.run import run
from headwater.bench.incremental.suite import slow
from headwater.errors import UserError

SIZES = Sizes(6_000)


@pytest.mark.parametrize("name", [name for name in CONSTRUCTS if name not in LEFT_OPEN])
def test_changes_add_up_to_duckdbs_answer(name: str) -> None:
    figures = run(name, 6_000, verify=True)
    assert figures["verified"] == "equal"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_row_is_a_function_of_its_number(name: str) -> None:
    whole = pa.concat_tables(load(name, SIZES, 1_000))
    assert whole.num_rows == SIZES.of(name)
    assert whole.slice(10, 5).equals(table(name, np.arange(10, 15), SIZES).combine_chunks())


def test_a_third_of_the_changes_are_rows_that_are_there() -> None:
    source, there = Changes("facts", SIZES, 1), set(range(SIZES.facts))
    for _ in range(5):
        rows = source.take(300)
        weights, ids = rows.column("_weight").to_numpy(), rows.column("id").to_numpy()
        assert (weights < 0).sum() == 100
        gone, fresh = set(ids[weights < 0].tolist()), set(ids[weights > 0].tolist())
        assert gone <= there and not fresh & there
        there = (there - gone) | fresh


def test_constructs_are_chosen_by_name() -> None:
    assert chosen("left_join, median_global") == ["left_join", "median_global"]
    assert chosen("all") == list(CONSTRUCTS)
    with pytest.raises(UserError, match="left_joint"):
        chosen("left_joint")


def test_what_follows_the_history_is_told() -> None:
    def one(name: str, ratio: float | None, last_resort: str = "") -> dict[str, object]:
        return {"construct": name, "ratio": ratio, "last_resort": last_resort}

    assert slow([one("a", 1.0), one("b", 3.1), one("c", None), one("d", 90.0, "median of all")]) == ["b", "c"]


def test_the_command_prints_both_sizes() -> None:
    command = [sys.executable, "-m", "headwater.cli.app", "bench", "incremental", "--rows", "2000,4000",
               "--only", "inner_join,running_sum_global", "--json"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 5), done.stderr
    first, second = json.loads(done.stdout)["constructs"]
    assert first["ratio"] > 0 and first["small"]["ms"] > 0 and first["last_resort"] == ""
    assert second["last_resort"] != ""
