"""The site builds, from the plain Markdown, without anything from outside, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from fenced import DOCS, ROOT

pytestmark = pytest.mark.xdist_group("site")  # there is one place where it is built
SITE = ROOT / "build" / "site"


class Found(HTMLParser):
    """What a page loads, and where it links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag in ("script", "img", "iframe") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") != "canonical":
            self.loads.append(given["href"])
        elif tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def pages() -> dict[Path, Found]:
    subprocess.run([sys.executable, ROOT / "site" / "build.py"], check=True, capture_output=True, timeout=120)
    return {page.resolve(): Found(page.read_text(encoding="utf-8")) for page in SITE.rglob("*.html")}


def test_every_page_is_there_and_in_the_navigation(pages: dict[Path, Found]) -> None:
    nav = tomllib.loads((ROOT / "build" / "zensical.toml").read_text())["project"]["nav"]
    named = {page for entry in nav for part in entry.values() for page in ([part] if isinstance(part, str) else part)}
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if "decisions" not in page.parts}
    assert named == {name.replace("README.md", "index.md") for name in there}
    for name in named:
        assert (SITE / name).with_suffix(".html").resolve() in pages


def test_nothing_is_loaded_from_outside(pages: dict[Path, Found]) -> None:
    outside = {load for found in pages.values() for load in found.loads if re.match(r"(https?:)?//", load)}
    assert outside == set()


def test_links_lead_somewhere(pages: dict[Path, Found]) -> None:
    wrong = []
    for page, found in pages.items():
        for link in found.links if page.name != "404.html" else ():
            path, _, anchor = unquote(link).partition("#")
            if "://" in link or link.startswith(("mailto:", "/")):
                continue
            to = (page.parent / path).resolve() if path else page
            if not to.exists() or (anchor and to in pages and anchor not in pages[to].ids):
                wrong.append(f"{page.relative_to(SITE)}: {link}")
    assert wrong == []
