"""The tutorial works as written: every command against a real PostgreSQL, every output compared."""

from __future__ import annotations

from fenced import DOCS, blocks
from terminal import Terminal, follow, steps

PAGE = blocks(DOCS / "tutorial.md")


def test_the_page_works_as_written(terminal: Terminal) -> None:
    runs = steps(PAGE)
    assert len(runs) > 10
    for block, wanted in runs:
        follow(terminal, block, wanted)
