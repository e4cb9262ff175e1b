"""`headwater plan`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.project import load
from headwater.project.recorded import record, save_recorded

PROJECT = "name: shop\nsources: {shop: {type: postgres, url: '${SHOP_URL}', connect_timeout_s: 2}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOP_URL", "postgresql://127.0.0.1:1/shop")
    (tmp_path / "models").mkdir()
    (tmp_path / "headwater.yml").write_text(PROJECT)
    (tmp_path / "models" / "rich.sql").write_text("SELECT * FROM payments WHERE amount > 100")
    return tmp_path


def test_a_project_that_never_ran(folder: Path, run: Callable[..., object]) -> None:
    done = run("plan", folder, "--no-connect")
    assert done.code == 0
    assert [line.split() for line in done.out.splitlines()] == [
        ["WHAT", "NAME", "STATE", "NEXT", "RUN", "WHY"],
        ["source", "shop", "new", "open", "it", "never", "ran"],
        ["model", "rich", "new", "build", "it", "never", "ran"],
        ["table", "rich", "new", "create", "it", "is", "not", "in", "the", "lake", "yet"],
    ]
    assert "it is not known which tables the sources have" in done.err


def test_a_project_that_ran(folder: Path, run: Callable[..., object]) -> None:
    save_recorded(folder / ".headwater", record(load(folder, environment={"SHOP_URL": "x"})))
    done = run("plan", folder, "--no-connect")
    assert len(done.out.splitlines()) == 1
    assert "3 more stay as they are" in done.err
    assert len(run("plan", folder, "--no-connect", "--all").out.splitlines()) == 4
    (folder / "models" / "rich.sql").write_text("SELECT * FROM payments WHERE amount > 1000")
    items = json.loads(run("plan", folder, "--no-connect", "--json").out)["items"]
    assert [(item["name"], item["consequence"]) for item in items] == [
        ("shop", "nothing"), ("rich", "rebuild"), ("rich", "replace"),
    ]  # fmt: skip


def test_a_source_that_does_not_answer(folder: Path, run: Callable[..., object]) -> None:
    done = run("plan", folder, "--json")
    assert done.code == 4
    assert json.loads(done.out)["unreachable"] == ["shop"]


@pytest.mark.postgres
def test_a_source_that_answers(
    folder: Path, shop: str, run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", shop)
    made = json.loads(run("plan", folder, "--json").out)
    assert made["streams_known"] is True
    streams = [(item["name"], item["consequence"]) for item in made["items"] if item["kind"] == "stream"]
    assert streams == [("customers", "snapshot"), ("payments", "snapshot")]
