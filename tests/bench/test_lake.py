"""The benchmark of the lake, at sizes that show that it runs and that what it measures is right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from headwater.bench.lake import commits, headwater, rivals
from headwater.bench.lake.rows import rows_of, update
from headwater.cli.app import main


def test_a_tables_life_is_measured_from_load_to_restart(tmp_path: Path) -> None:
    figures = headwater.measure(20_000, 1_000, str(tmp_path), 1 << 30)
    assert figures["index_came_from"] == "file"
    assert all(figures[name] > 0 for name in figures if name.endswith(("_s", "_bytes")))
    assert list(tmp_path.iterdir()) == []


def test_rivals_update_the_same_rows(tmp_path: Path) -> None:
    assert rivals.pyiceberg(500, 20, str(tmp_path))["update_s"] > 0
    pytest.importorskip("deltalake")
    assert rivals.delta(500, 20, str(tmp_path))["update_s"] > 0


def test_an_update_changes_every_row_that_it_names() -> None:
    before, after = update(1_000, 100, 1)
    assert before.column("id").equals(after.column("id"))
    assert len(set(before.column("id").to_pylist())) == 100
    assert not set(map(str, before.to_pylist())) & set(map(str, after.to_pylist()))


def test_many_commits_leave_the_table_equal_to_its_source(tmp_path: Path) -> None:
    figures = commits.campaign(40, 50, str(tmp_path))
    assert figures["equal_to_source"]
    assert figures["compact_done"] + figures["deletes_done"] > 0
    assert figures["most_files"] < 40


def test_a_table_that_is_not_equal_to_its_source_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = rows_of(np.arange(5, dtype=np.int64), 9)
    monkeypatch.setattr(commits.Source, "rows", lambda self: wrong)
    assert "not equal" in commits.campaign(10, 5, str(tmp_path))["error"]


def test_the_command_prints_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--rows", "2000", "--changes", "100", "--upsert", "0", "--merge", "0"]
    assert main(["bench", "lake", *sizes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["headwater"]["rows"] == 2000
    assert found["headwater"]["update_s"] > 0
