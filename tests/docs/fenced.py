"""Fenced code blocks of Markdown pages, and what the comment before a block says about it.

Conventions of the pages in `docs/`; a comment stands on the line above its block (blank lines between do not matter):

| comment | block | meaning |
|---|---|---|
| `<!-- run -->` | sh | executed by `test_getting_started` in one folder, one after the other; must succeed |
| `<!-- run: background -->` | sh | started and left running, interrupted (SIGINT) at the end of the page |
| `<!-- run: install -->` | sh | executed by `make quickstart` only: the suite has the package already |
| `<!-- run: eventually -->` | sh | repeated until its output block fits |
| `<!-- run: exit N -->` | sh | executed, and ends with exit code N |
| `<!-- run: cleanup -->` | sh | executed after what runs in the background has been stopped |
| `<!-- output -->` | text | lines that the run before printed, numbers apart; `...` stands for any lines |
| `<!-- refused: TEXT -->` | sql | not a valid model; the message contains TEXT |
| `<!-- explain -->` | text | what `explain` says of the SQL block before |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*?) -->\n+)?^(?P<fence>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: what follows the fence.
        note: the comment before it, "" if there is none.
        text: what is inside.
        line: the line that it begins in, from 1.
    """

    language: str
    note: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["note"] or "", found["text"], text.count("\n", 0, found.start("fence")) + 1)
        for found in _BLOCK.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def plain(line: str) -> str:
    """A line of output with what differs from run to run made the same: numbers, hexadecimal names, white space."""
    return " ".join(re.sub(r"\d+\.[0-9a-f]{8}\b|[0-9a-f]{8}\b|\d[\d.,]*", "0", line).split())
