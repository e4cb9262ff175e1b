"""Every relative link of the pages leads to a file, and every anchor to a heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fenced import DOCS, ROOT, prose

PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def links(page: Path) -> Iterator[str]:
    """Targets of a page's links, those to other sites left out."""
    for found in _LINK.finditer(re.sub(r"`[^`\n]*`", "code", prose(page))):
        if not re.match(r"[a-z]+:", found["target"]):
            yield found["target"]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    named = {(DOCS / target.partition("#")[0]).resolve() for target in links(DOCS / "README.md")}
    missing = [page for page in DOCS.glob("*.md") if page.name != "README.md" and page.resolve() not in named]
    assert missing == []
