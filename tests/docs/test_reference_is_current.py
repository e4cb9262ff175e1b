"""The committed reference pages are what the code says now."""

from __future__ import annotations

from fenced import DOCS

from headwater.cli.reference import pages


def test_make_docs_would_change_nothing() -> None:
    folder = DOCS / "reference"
    committed = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert committed == pages(), "run `make docs` and commit docs/reference"
