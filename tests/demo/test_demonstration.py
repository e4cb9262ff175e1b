"""The demo from end to end, and the small parts that its verdict rests on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headwater.demo.child import ProjectProcess
from headwater.demo.demonstration import changes, reached
from headwater.demo.example import copy_example, example_folder
from headwater.errors import HeadwaterError, UserError


def headwater(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater.cli.app", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def test_the_demo_is_killed_goes_on_and_is_verified(tmp_path: Path) -> None:
    folder, picture = tmp_path / "shop", tmp_path / "demo.svg"
    done = headwater(
        "demo", "--seconds", "8", "--rate", "50", "--json", "--dir", str(folder), "--picture", str(picture)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = done.stdout.splitlines()
    outcome = json.loads(line)
    assert outcome["verified"] is True
    assert outcome["mismatches"] == []
    assert outcome["rows_captured"] == outcome["rows_written"] > 2000
    assert outcome["epochs"] > 2
    assert outcome["restart_s"] > 0
    assert 0 < outcome["freshness_ms_p50"] <= outcome["freshness_ms_p99"] <= outcome["freshness_with_restart_ms_p99"]
    assert set(outcome["rows_compared"]) == {
        "customers", "products", "orders", "order_items", "payments", "revenue_by_minute", "top_products",
        "orders_enriched", "customer_value", "unpaid_orders",
    }  # fmt: skip
    assert all(rows > 0 for rows in outcome["rows_compared"].values())
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    answer = headwater("query", "SELECT count(*) AS orders FROM orders", str(folder))
    assert str(outcome["rows_compared"]["orders"]) in answer.stdout


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="not an empty folder"):
        copy_example(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_copy_is_the_example(tmp_path: Path) -> None:
    copy_example(tmp_path / "new")
    names = {path.name for path in (tmp_path / "new" / "models").iterdir()}
    assert names == {path.name for path in (example_folder() / "models").iterdir()}
    assert (tmp_path / "new" / "headwater.yml").is_file()


def test_a_project_that_ends_by_itself_is_an_error_that_says_why(tmp_path: Path) -> None:
    project = ProjectProcess(tmp_path / "nothing", {}, tmp_path / "run.log")
    project.start()
    deadline, never = time.monotonic() + 60, threading.Event()
    with pytest.raises(HeadwaterError, match=r"(?s)exit code .*headwater\.yml"):
        while time.monotonic() < deadline:
            assert project.status() is None
            never.wait(0.05)


def test_a_key_change_counts_twice() -> None:
    rows = {"insert": 5, "update": 3, "delete": 1}
    assert changes({"rows": rows, "kinds": {"key change": 2, "order": 9}}) == 11
    with pytest.raises(HeadwaterError):
        changes({"rows": None, "kinds": {}})


@pytest.mark.parametrize(
    ("position", "in_flight", "expected"), [(99, 0, False), (100, 1, False), (100, 0, True), (None, 0, False)]
)
def test_reached_means_past_the_mark_with_nothing_on_its_way(
    position: int | None, in_flight: int, expected: bool
) -> None:
    stream = {"name": "orders", "in_flight": in_flight}
    assert reached({"sources": [{"position": position, "streams": [stream]}]}, 100) is expected
    assert not reached({"sources": []}, 100)
