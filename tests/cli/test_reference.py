"""The reference pages come whole from the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.cli.app import COMMANDS
from headwater.cli.reference import main, pages
from headwater.project.connectors import CONNECTORS, settings_class
from headwater.project.settings import RunSettings


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return pages()


def test_every_command_and_setting_is_there(written: dict[str, str]) -> None:
    for command in COMMANDS:
        assert f"\n## headwater {command.name}\n" in written["cli.md"]
    for known in CONNECTORS:
        for name, field in settings_class(known).model_fields.items():
            assert f"| `{field.alias or name}` |" in written["settings.md"]
    for name in RunSettings.model_fields:
        assert f"| `run.{name}` |" in written["settings.md"]


def test_defaults_are_written_as_people_write_them(written: dict[str, str]) -> None:
    assert "| `run.epoch_interval` | text | `500 ms` |" in written["settings.md"]
    assert "| `run.log_retention.max_bytes` | whole number or text | `10 GiB` |" in written["settings.md"]


def test_no_text_is_taken_for_html(written: dict[str, str]) -> None:
    assert "headwater_&lt;project>_&lt;source>" in written["settings.md"]


def test_usage_names_the_command_alone(written: dict[str, str]) -> None:
    usages = [line for line in written["cli.md"].splitlines() if line.startswith("headwater ")]
    assert len(usages) >= len(COMMANDS)
    assert [line for line in usages if " -m " in line] == []


def test_the_pages_are_written(tmp_path: Path, written: dict[str, str]) -> None:
    assert main([str(tmp_path / "docs")]) == 0
    assert {path.name: path.read_text() for path in (tmp_path / "docs").iterdir()} == written
    assert main([]) == 2
