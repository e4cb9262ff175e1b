"""One running shop and one browser for all tests of the console's pages; they run in one worker, one after another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browsing import looking, start_chromium
from playwright.sync_api import Browser, Page, sync_playwright
from shop import Shop, running_shop, till_server


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker has the shop and the browser."""
    for item in items:
        if "tests/console/" in item.path.as_posix():
            item.add_marker(pytest.mark.xdist_group("console"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    with sync_playwright() as playwright:
        started = start_chromium(playwright)
        yield started
        started.close()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop that runs; see there. Tests add orders and never take any away."""
    with till_server() as till, running_shop(tmp_path_factory.mktemp("console") / "shop", till) as running:
        yield running


@pytest.fixture
def page(browser: Browser, shop: Shop) -> Iterator[Page]:
    """A page on the shop's console, as on a laptop in light colours."""
    with looking(browser, shop.url) as opened:
        yield opened


@pytest.fixture
def phone(browser: Browser, shop: Shop) -> Iterator[Page]:
    """The same, as on a phone, in dark colours."""
    with looking(
        browser, shop.url, viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True
    ) as opened:
        yield opened
