"""A real Chromium, and pages that must not complain, look elsewhere, or shut anybody out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, Route

from headwater.testing.debian import CHROMIUM, ensure

AXE = Path(__file__).parents[2] / "console" / "node_modules" / "axe-core" / "axe.min.js"
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")
"""Chromium tells of every answer like this by itself; a page that asks what may be refused is not at fault."""


def start_chromium(playwright: Playwright) -> Browser:
    """Debian's, since the browsers that Playwright fetches come from elsewhere."""
    program = ensure(CHROMIUM) / "chromium"
    return playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])


@contextmanager
def looking(browser: Browser, url: str, *, forgives: str = "$^", **context: Any) -> Iterator[Page]:
    """A page of a fresh context, at no address yet (`page.goto("/graph")`).

    At the end, nothing may have been said on its console but what `forgives` (a regular expression) finds, and no
    request may have left for another host.
    """
    wanted = {"viewport": LAPTOP, "color_scheme": "light", "locale": "en-GB", "reduced_motion": "reduce", **context}
    opened = browser.new_context(base_url=url, **wanted)
    opened.set_default_timeout(30_000)
    said: list[str] = []
    elsewhere: list[str] = []

    def watched(route: Route) -> None:
        if urlsplit(route.request.url).netloc == urlsplit(url).netloc:
            route.continue_()
        else:
            elsewhere.append(route.request.url)
            route.abort()

    opened.route(lambda asked: urlsplit(asked).netloc != urlsplit(url).netloc, watched)
    page = opened.new_page()
    page.on("console", lambda told: said.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        yield page
    finally:
        opened.close()
    complaints = [text for text in said if not _REFUSED.search(text) and not re.search(forgives, text)]
    assert not complaints, complaints
    assert elsewhere == [], "a request left the host"


def serious(page: Page) -> list[str]:
    """What axe finds that shuts somebody out: serious and critical violations, with the place of the first."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    bad = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['help']}: {one['nodes'][0]['target']}: {one['nodes'][0]['html'][:200]}" for one in bad]


def sideways(page: Page) -> int:
    """Pixels that the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
