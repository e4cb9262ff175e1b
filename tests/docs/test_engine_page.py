"""The page about the engine, run as a notebook."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest
from fenced import DOCS, blocks

PAGE = blocks(DOCS / "engine.md")


def test_every_block_runs_and_prints_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    shown = 0
    for block, after in zip(PAGE, [*PAGE[1:], None], strict=True):
        if block.language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, f"engine.md:{block.line}", "exec"), names)
        if after is not None and after.note == "output":
            assert printed.getvalue() == after.text, f"line {after.line}"
            shown += 1
    assert shown >= 5
