"""Pictures of the console for the documentation, from a real run: a shop's PostgreSQL under traffic, followed live.

python -m tests.console.screenshots docs/console
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psycopg
from playwright.sync_api import Browser, Page, sync_playwright
from tests.console.browsing import start_chromium

from headwater.clock import SystemClock
from headwater.demo import shop
from headwater.demo.child import ProjectProcess, TrafficProcess
from headwater.demo.example import URL_VARIABLE, copy_example
from headwater.testing.postgres import PostgresServer

DEADLINE_S = 120.0
LAPTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
TRAFFIC_S = 30.0
"""Of traffic before the first picture, so that charts have something to show."""
STOCK = """\
/*
description: The number in each product's stock-keeping unit.
key: [product_id]
*/
SELECT product_id, name, CAST(regexp_extract(sku, '([0-9]+)$') AS INTEGER) AS number FROM products
"""
"""A model that cannot take every product: its rejects are on the picture."""
PREVIEWED = """\
SELECT country, count(*) AS lines, sum(amount) AS revenue,
       sum(amount) / count(*) AS each
FROM orders_enriched
GROUP BY country"""
REVENUE = "SELECT country, count(*) AS lines, sum(amount) AS revenue FROM orders_enriched GROUP BY country ORDER BY 3"
Step = Callable[[Page], None]


def show(path: str, wait: str = ".panel, .stats") -> Step:
    """Goes to a page and waits for what is on it, all of it."""

    def step(page: Page) -> None:
        page.goto(path)
        page.locator(wait).first.wait_for()
        loaded(page)

    return step


def loaded(page: Page) -> None:
    """Waits until nothing is on its way any more."""
    page.get_by_text("Loading…").first.wait_for(state="hidden")


def preview(page: Page) -> None:
    """A SELECT as the model that it would be."""
    show("/sql", ".names-table")(page)
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(PREVIEWED)
    page.get_by_role("button", name="Preview as a model").click()
    page.locator(".preview").wait_for()
    page.locator(".preview").evaluate("(preview) => preview.closest('section').scrollIntoView({block: 'end'})")


def sql(page: Page) -> None:
    """A result as a chart."""
    show("/sql", ".names-table")(page)
    page.locator(".cm-content").click()
    page.keyboard.insert_text(REVENUE)
    page.keyboard.press("Control+Enter")
    page.locator(".result-said").wait_for()
    page.get_by_role("button", name="Chart", exact=True).click()
    page.get_by_role("button", name="lines", exact=True).click()
    page.get_by_role("button", name="revenue", exact=True).click()


def travel(page: Page) -> None:
    """A table some epochs ago."""
    show("/tables/orders", ".time-track input")(page)
    last = int(page.locator(".time-track input").get_attribute("max") or 0)
    page.locator(".time-track input").fill(str(last * 2 // 3))
    page.get_by_role("button", name="Back to now").wait_for()
    page.get_by_role("region", name="Rows as of then").wait_for()


def diff(page: Page) -> None:
    """What changed between two table snapshots."""
    show("/tables/orders", ".time-track input")(page)
    page.get_by_role("tab", name="Diff").click()
    page.locator(".diff-counts").wait_for()


def reject(page: Page) -> None:
    """A cause and one of its records."""
    show("/rejects", ".causes")(page)
    page.get_by_role("region", name="Records of this cause").get_by_role("link").first.click()
    page.locator(".reject-message").wait_for()


STEPS: dict[str, Step] = {
    "overview": show("/", ".stats"),
    "graph": show("/graph", "canvas"),
    "streams": show("/streams/orders", ".record-table tbody tr"),
    "sql": sql,
    "preview": preview,
    "tables": travel,
    "diff": diff,
    "capture": show("/capture", ".capture-grid canvas"),
    "rejects": reject,
    "accounting": show("/accounting"),
    "checkpoints": show("/checkpoints"),
    "checks": show("/checks", "h1"),
    "plan": show("/plan", "h1"),
}
DARK = ("overview", "graph")
SETTLES_MS = 1500


@contextmanager
def running_shop(folder: Path) -> Iterator[str]:
    """A shop under traffic and the project that follows it; gives the console's address."""
    server = PostgresServer()
    server.start()
    try:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        url = server.url("shop")
        shop.create(url)
        copy_example(folder)
        (folder / "models" / "stock_numbers.sql").write_text(STOCK)
        project = ProjectProcess(folder, {URL_VARIABLE: url}, folder / "run.log")
        traffic = TrafficProcess(url, rate=25.0, seconds=3600.0)
        project.start()
        try:
            yield _address(folder / "run.log", url)
        finally:
            traffic.stop()
            project.stop()
    finally:
        server.stop(immediate=True)


def _address(log: Path, url: str) -> str:
    """Waits for the project and some traffic; gives the shop something to reject and to change."""
    clock = SystemClock()
    end = clock.monotonic_s() + DEADLINE_S
    while "api.listening" not in (text := log.read_text(encoding="utf-8") if log.exists() else ""):
        if clock.monotonic_s() > end:
            raise TimeoutError(f"the project did not start: {text[-1000:]}")
        clock.wait(threading.Event(), 0.2)
    address = text.split("api.listening")[1].split('"url": "')[1].split('"')[0]
    clock.wait(threading.Event(), TRAFFIC_S / 2)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE products SET sku = 'GIFT-CARD-' || 'X' WHERE product_id = 3")
        connection.execute("ALTER TABLE customers ADD COLUMN loyalty text")
        connection.execute("UPDATE customers SET loyalty = 'gold' WHERE customer_id < 20")
    clock.wait(threading.Event(), TRAFFIC_S / 2)
    httpx.get(f"{address}/v1/overview", trust_env=False).raise_for_status()
    return address


def take(browser: Browser, address: str, into: Path) -> None:
    """All pictures."""
    for suffix, names, look in (
        ("", tuple(STEPS), {"viewport": LAPTOP, "color_scheme": "light"}),
        ("-dark", DARK, {"viewport": LAPTOP, "color_scheme": "dark"}),
        ("-phone", ("overview",), {"viewport": PHONE, "color_scheme": "light"}),
    ):
        context = browser.new_context(base_url=address, reduced_motion="reduce", locale="en-GB", **look)  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(90_000)
        for name in names:
            STEPS[name](page)
            page.wait_for_timeout(SETTLES_MS)
            page.screenshot(path=into / f"{name}{suffix}.png")
        context.close()


def main(into: Path) -> None:
    """Takes them all into a folder."""
    into.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="headwater-screenshots-") as temporary,
        running_shop(Path(temporary) / "shop") as address,
        sync_playwright() as playwright,
    ):
        browser = start_chromium(playwright)
        take(browser, address, into)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
