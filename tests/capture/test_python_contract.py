"""The contract suite of sources on a generator that reads an append-only list behind a door that can be shut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from headwater.capture.python.settings import PythonSettings
from headwater.capture.python.source import PythonSource
from headwater.clock import SystemClock
from headwater.testing.source_contract import SourceContract

GENERATOR = """
import json
from pathlib import Path

import headwater


@headwater.source
def numbers(position, folder=""):
    if Path(folder, "away").exists():
        raise ConnectionError("away")
    values = Path(folder, "values").read_text().splitlines()
    for at in range(position or 0, len(values)):
        yield {"n": json.loads(values[at])}, at + 1
"""


class GeneratorPeer:
    """A file of values."""

    exactly_once, stoppable = True, True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "sources").mkdir()
        (folder / "sources/numbers.py").write_text(GENERATOR, encoding="utf-8")
        (folder / "values").touch()

    def source(self, kind: str = "BIGINT") -> PythonSource:
        given = {"file": "sources/numbers.py", "columns": {"n": kind}, "arguments": {"folder": str(self._folder)}}
        settings = PythonSettings.model_validate({**given, "every_s": 0.01})
        made = PythonSource("numbers", settings, project="shop", clock=SystemClock())
        made.folder = self._folder
        return made

    def mended(self) -> PythonSource:
        return self.source("VARCHAR")

    def publish(self, values: Sequence[object]) -> None:
        with (self._folder / "values").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(value) + "\n" for value in values)

    def stop(self) -> None:
        (self._folder / "away").touch()

    def start(self) -> None:
        (self._folder / "away").unlink()


class TestContract(SourceContract):
    @pytest.fixture
    def peer(self, tmp_path: Path) -> GeneratorPeer:
        return GeneratorPeer(tmp_path)
