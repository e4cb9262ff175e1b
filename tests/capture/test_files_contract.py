"""The contract suite of sources on a file of lines that grows and is rotated, and on one that is there whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.capture.files.settings import FilesSettings
from headwater.capture.files.source import FilesSource
from headwater.clock import SystemClock
from headwater.testing.source_contract import SourceContract


class LinesPeer:
    """A log; with `rotates`, every fifth writing begins a new file."""

    exactly_once, stoppable = True, False

    def __init__(self, folder: Path, *, rotates: bool) -> None:
        self._folder, self._rotates, self._writings = folder, rotates, 0
        (folder / "app.log").touch()

    def source(self, kind: str = "BIGINT") -> FilesSource:
        stream = {"paths": "app.log*", "format": "json", "columns": {"n": kind}}
        settings = FilesSettings.model_validate({"files": {"log": stream}, "look_every_s": 0.02, "find_every_s": 0.02})
        made = FilesSource("logs", settings, project="shop", clock=SystemClock())
        made.folder = self._folder
        return made

    def mended(self) -> FilesSource:
        return self.source("VARCHAR")

    def publish(self, values: Sequence[object]) -> None:
        self._writings += 1
        if self._rotates and self._writings % 5 == 0:
            (self._folder / "app.log").rename(self._folder / f"app.log.{self._writings}")
        with (self._folder / "app.log").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"n": value}) + "\n" for value in values)

    def stop(self) -> None:
        """A disk is not stopped."""

    start = stop


class TestContract(SourceContract):
    @pytest.fixture(params=["grows", "rotates"])
    def peer(self, request: pytest.FixtureRequest, tmp_path: Path) -> LinesPeer:
        return LinesPeer(tmp_path, rotates=request.param == "rotates")
