"""A real Chromium, and pages that must not complain, look elsewhere, or shut anybody out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, Route, expect

from headwater.testing.debian import CHROMIUM, ensure

AXE = Path(__file__).parents[2] / "console" / "node_modules" / "axe-core" / "axe.min.js"
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
DEADLINE_MS = 60_000
"""For whatever is waited for: only a failure takes as long, on a machine that is as busy as it likes."""
PAGES = {
    "/": "Overview",
    "/graph": "Graph",
    "/streams/orders": "Streams",
    "/sql": "SQL",
    "/tables/revenue_by_customer": "Tables",
    "/capture": "Capture",
    "/rejects": "Rejects",
    "/checks": "Checks",
    "/accounting": "Accounting",
    "/checkpoints": "Checkpoints",
    "/plan": "Plan",
}
"""Addresses and titles of all pages."""
_GROUND = {"light": "rgb(246, 247, 248)", "dark": "rgb(12, 15, 18)"}
_HOLD = "on => document.querySelector(on ? '.hold:not(.on)' : '.hold.on')?.click()"
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
    opened.set_default_timeout(DEADLINE_MS)
    expect.set_options(timeout=DEADLINE_MS)
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


def shown(page: Page, path: str) -> None:
    """Goes to `path` and waits until the page has its data."""
    page.goto(path)
    expect(page.get_by_role("heading", level=1, name=PAGES.get(path, ""), exact=path in PAGES)).to_be_visible()
    settled(page)


def settled(page: Page) -> None:
    """Waits until the page that is shown has its data, and hears what happens."""
    expect(page.get_by_text("Loading…")).to_have_count(0)
    expect(page.locator(".top").get_by_text("running", exact=True)).to_be_visible()


def themed(page: Page, theme: Literal["light", "dark"]) -> None:
    """The system turns light or dark; returns when the page has followed, which takes Chromium a moment."""
    page.emulate_media(color_scheme=theme)
    coloured(page, theme)


def coloured(page: Page, theme: Literal["light", "dark"]) -> None:
    """Waits until the page has the colours of a theme."""
    expect(page.locator("html")).to_have_css("background-color", _GROUND[theme])


def serious(page: Page, rules: Sequence[str] = ()) -> list[str]:
    """What axe finds that shuts somebody out: serious and critical violations, with the place of the first.

    The page is held still meanwhile: of what is taken out of the document as axe looks, it knows no colours.

    Args:
        page: what to look at.
        rules: names of the rules to go by; without any, all of them.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    page.evaluate(_HOLD, True)
    only = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found = page.evaluate("wanted => axe.run(document, wanted)", {"resultTypes": ["violations"], **only})
    page.evaluate(_HOLD, False)
    bad = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {one['help']}: {one['nodes'][0]['target']}: {one['nodes'][0]['html'][:200]}" for one in bad]


def sideways(page: Page) -> int:
    """Pixels that the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
