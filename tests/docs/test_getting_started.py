"""The first page works as written: every command is run against a real PostgreSQL, every output compared."""

from __future__ import annotations

from fenced import DOCS, blocks
from terminal import Terminal, fits, follow, steps

PAGE = blocks(DOCS / "getting-started.md")


def test_the_page_works_as_written(terminal: Terminal) -> None:
    runs = steps(PAGE)
    assert len(runs) > 10
    for block, wanted in runs:
        follow(terminal, block, wanted)


def test_lines_are_compared_in_order() -> None:
    assert fits("a 1\nb\nc 22", "a 3\n...\nc 4")
    assert not fits("b\na 1", "a 1\nb")
    assert not fits("a x", "a y")
