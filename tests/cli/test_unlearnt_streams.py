"""Models over streams whose columns come with their first messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = """\
name: shop
sources:
  visits: {type: http, streams: {visits: {}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project that nothing was ever sent to."""
    (tmp_path / "models").mkdir()
    (tmp_path / "headwater.yml").write_text(PROJECT)
    return tmp_path


def test_a_model_of_columns_that_nobody_knows_yet_waits(folder: Path, run: Callable[..., object]) -> None:
    (folder / "models" / "pages.sql").write_text("SELECT page, count(*) AS n FROM visits GROUP BY page")
    ran = run("check", folder)
    assert (ran.code, "waits for the first messages of 'visits'" in ran.err) == (0, True), ran


def test_a_mistake_in_a_model_over_declared_columns_is_one(folder: Path, run: Callable[..., object]) -> None:
    (folder / "headwater.yml").write_text(PROJECT.replace("visits: {}}", "visits: {columns: {page: varchar}}}"))
    (folder / "models" / "pages.sql").write_text("SELECT pages FROM visits")
    ran = run("check", folder)
    assert (ran.code, "page" in ran.err) == (3, True), ran


def test_a_stream_that_nobody_has_is_a_mistake(folder: Path, run: Callable[..., object]) -> None:
    (folder / "models" / "pages.sql").write_text("SELECT page FROM visit")
    ran = run("check", folder)
    assert (ran.code, "did you mean 'visits'" in ran.err) == (3, True), ran
