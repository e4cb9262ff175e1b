"""The quickstart works as written, with the package that is there; `make quickstart` does it from the wheel, timed."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from fenced import DOCS, blocks
from terminal import Terminal, follow, steps

from headwater.testing.leash import free_port

PAGE = blocks(DOCS / "quickstart.md")


def test_the_page_works_as_written(tmp_path: Path) -> None:
    folder, bin_ = tmp_path / "reader", Path(sys.executable).parent
    folder.mkdir()
    terminal = Terminal(folder, {**os.environ, "PATH": os.pathsep.join([str(bin_), os.environ["PATH"]])})
    port = str(free_port())
    assert shutil.which("curl")
    try:
        for block, wanted in steps(PAGE):
            if block.note != "run: install":
                follow(terminal, replace(block, text=block.text.replace("8080", port)), wanted)
    finally:
        assert set(terminal.stop()) == {0}
