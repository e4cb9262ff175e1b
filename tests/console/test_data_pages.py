"""Streams, SQL, Tables, Capture and Rejects in a real Chromium, over a shop that runs."""

from __future__ import annotations

import re

from browsing import serious, shown
from playwright.sync_api import Page, expect
from shop import Shop, wait_until

REVENUE = "SELECT customer, count(*) AS orders, sum(amount) AS revenue FROM orders GROUP BY customer"


def written(page: Page, sql: str) -> None:
    """Puts a statement on one line into the editor."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(sql)


def deed(page: Page, name: str) -> None:
    """Presses a button of the editor's."""
    page.locator(".sql-bar").get_by_role("button", name=name, exact=True).click()


def test_a_stream_is_followed_as_changes_come(page: Page, shop: Shop) -> None:
    shown(page, "/streams/orders")
    expect(page.locator(".pulse.on")).to_be_visible()
    changes = page.get_by_role("region", name="Changes, newest first")
    order = {**shop.orders_of(1)[0], "customer": "Just now"}
    shop.order([order])
    newest = changes.locator("tbody tr").first
    expect(newest).to_contain_text("Just now")
    page.get_by_role("button", name="Raw", exact=True).click()
    expect(newest).to_contain_text('"customer":"Just now"')
    newest.click()
    expect(page.get_by_role("complementary")).to_contain_text("As in the log")
    assert serious(page) == []


def test_a_stream_is_sought_and_filtered(page: Page, shop: Shop) -> None:
    shown(page, "/streams/orders")
    page.get_by_role("button", name="Browse", exact=True).click()
    page.get_by_label("Begin at").select_option("earliest")
    changes = page.get_by_role("region", name="Changes, newest first")
    expect(changes.locator("tbody tr").last).to_contain_text("Ana")
    condition = page.get_by_label("Filter, an SQL condition")
    condition.fill("customer = 'Eva' AND amount > 100")
    condition.press("Enter")
    expect(changes.locator("tbody")).not_to_contain_text("Ana")
    expect(changes.locator("tbody")).to_contain_text("Eva")
    condition.fill("customr = 1")
    condition.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("customr")


def test_a_part_of_a_stream_becomes_a_fixture(page: Page, shop: Shop) -> None:
    shown(page, "/streams/orders")
    page.get_by_role("button", name="Copy as a test fixture").click()
    dialog = page.get_by_role("dialog")
    page.get_by_role("button", name="Make and copy").click()
    expect(dialog.locator("pre")).to_contain_text("given:")
    assert serious(page) == []


def test_sql_is_run_drawn_and_remembered(page: Page, shop: Shop) -> None:
    shown(page, "/sql")
    written(page, f"{REVENUE} ORDER BY customer")
    page.keyboard.press("Control+Enter")
    result = page.get_by_role("region", name="Result", exact=True).last
    expect(result).to_contain_text("Bruno")
    page.get_by_role("button", name="Chart", exact=True).click()
    expect(page.locator(".chart canvas")).to_be_visible()
    assert serious(page) == []
    page.reload()
    expect(page.locator(".cm-content")).to_contain_text("GROUP BY customer")
    page.get_by_role("button", name="History", exact=True).click()
    expect(page.locator(".history")).to_contain_text("GROUP BY customer")


def test_a_mistake_in_sql_is_shown_at_its_place(page: Page, shop: Shop) -> None:
    shown(page, "/sql")
    written(page, "SELECT custmer FROM orders")
    deed(page, "Run")
    expect(page.get_by_role("alert")).to_contain_text("custmer")
    expect(page.get_by_role("alert")).to_contain_text("line 1, column 8")
    expect(page.locator(".cm-lintRange-error")).to_have_text("custmer")
    assert serious(page) == []


def test_the_editor_completes_tables_and_their_columns(page: Page, shop: Shop) -> None:
    shown(page, "/sql")
    expect(page.get_by_role("button", name="revenue_by_customer")).to_be_visible()
    written(page, "SELECT customer FROM revenue_by_c")
    page.keyboard.type("u")
    expect(page.locator(".cm-tooltip-autocomplete")).to_contain_text("revenue_by_customer")


def test_a_plan_is_a_graph(page: Page, shop: Shop) -> None:
    shown(page, "/sql")
    written(page, REVENUE)
    deed(page, "Explain")
    expect(page.locator(".explain-node").filter(has_text="group by")).to_be_visible()
    assert page.locator(".explain-graph path").count() > 0
    assert serious(page) == []


def test_a_model_is_previewed_saved_and_applied(page: Page, shop: Shop) -> None:
    shown(page, "/sql")
    written(page, "SELECT customer, max(amount) AS most FROM orders GROUP BY customer")
    deed(page, "Preview as a model")
    preview = page.locator(".preview")
    expect(preview).to_contain_text("Kept up to date by")
    expect(preview.get_by_role("region", name="First rows")).to_contain_text("Carla")
    assert serious(page) == []
    preview.get_by_placeholder("name").fill("largest_order")
    preview.get_by_role("button", name="Save", exact=True).click()
    expect(preview.get_by_role("status")).to_contain_text("models/largest_order.sql")
    assert "max(amount)" in (shop.folder / "models" / "largest_order.sql").read_text()
    preview.get_by_role("link", name="See what applying it does").click()
    expect(page.get_by_role("heading", level=1, name="Plan")).to_be_visible()
    expect(page.locator("main")).to_contain_text("largest_order")
    page.get_by_role("button", name=re.compile("^Apply")).first.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("^Apply")).click()
    wait_until(lambda: shop.table_rows("largest_order") >= 5)
    page.goto("/tables/largest_order")
    expect(page.get_by_role("region", name="Rows as of then")).to_contain_text("Duarte")


def test_a_table_is_read_as_of_a_snapshot_chosen_by_the_slider(page: Page, shop: Shop) -> None:
    before = shop.table_rows("large_orders")
    shop.order([{**order, "amount": "199.00"} for order in shop.orders_of(20)])
    wait_until(lambda: shop.table_rows("large_orders") == before + 20)
    shown(page, "/tables/large_orders")
    rows = page.get_by_role("region", name="Rows as of then")
    expect(rows).to_contain_text("199.00")
    page.get_by_label("As of table snapshot").fill("0")
    expect(page.locator(".snapshot-facts")).not_to_contain_text("Now")
    expect(rows).not_to_contain_text("199.00")
    page.get_by_role("button", name="Back to now").click()
    expect(rows).to_contain_text("199.00")


def test_two_snapshots_of_a_table_are_compared(page: Page, shop: Shop) -> None:
    before = shop.table_rows("large_orders")
    shop.order([{**order, "amount": "177.00"} for order in shop.orders_of(7)])
    wait_until(lambda: shop.table_rows("large_orders") == before + 7)
    shown(page, "/tables/large_orders")
    page.get_by_role("tab", name="Diff").click()
    page.get_by_label("From table snapshot").fill("0")
    changed = page.get_by_role("region", name="Rows that came and went")
    expect(changed.locator("tr.come").first).to_contain_text("+1")
    expect(changed).to_contain_text("177.00")
    assert serious(page) == []


def test_a_table_s_files_runs_and_the_way_to_it_for_others(page: Page, shop: Shop) -> None:
    shown(page, "/tables/orders")
    for tab, wanted in (("Files", ".parquet"), ("Maintenance", "Maintain now"), ("Open in", "iceberg_scan")):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_role("tabpanel")).to_contain_text(wanted)
        assert serious(page) == []
    page.get_by_role("tab", name="Maintenance").click()
    page.get_by_role("button", name="Maintain now").click()
    expect(page.locator(".toast")).to_contain_text(re.compile("carried out|nothing to do|Asked for"))


def test_capture_says_where_each_source_stands(page: Page, shop: Shop) -> None:
    shown(page, "/capture")
    for name in ("web", "visits", "till"):
        source = page.get_by_role("region", name=f"Source {name}")
        expect(source).to_contain_text("running")
        expect(source).to_contain_text("in our log")


def test_the_reading_of_a_table_is_paused_taken_up_again_and_given_up(page: Page, shop: Shop) -> None:
    shown(page, "/capture/till")
    source = page.get_by_role("region", name="Source till")
    source.get_by_role("button", name="Read again").click()
    page.get_by_role("dialog").get_by_role("button", name="Read again").click()
    line = source.get_by_role("listitem").filter(has_text="receipts")
    line.get_by_role("button", name="Pause").click()
    expect(line).to_contain_text("paused")
    assert serious(page) == []
    line.get_by_role("button", name="Resume").click()
    expect(line.get_by_role("button", name="Pause")).to_be_visible()
    line.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop reading").click()
    expect(line).to_contain_text("stopped")
    expect(line.get_by_role("button", name="Read again")).to_be_visible()


def test_a_reject_is_looked_at_replayed_and_its_end_told(page: Page, shop: Shop) -> None:
    (shop.folder / "strike").touch()
    rows = shop.table_rows("orders_by_desk")
    shop.order([{**shop.orders_of(1)[0], "customer": "Zoe"}])
    shown(page, "/rejects")
    cause = page.get_by_role("listitem").filter(has_text="orders_by_desk")
    expect(cause).to_contain_text("nobody is at the desk")
    cause.get_by_role("button").first.click()
    page.get_by_role("region", name="Records of this cause").get_by_role("link").first.click()
    record = page.get_by_role("complementary")
    expect(record).to_contain_text("Zoe")
    record.get_by_role("button", name="Replay").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay it").click()
    expect(page.locator(".toast")).to_contain_text("1 reject failed again")
    expect(record).to_contain_text("2 times")
    assert serious(page) == []
    (shop.folder / "strike").unlink()
    cause.get_by_role("button", name="Replay all").click()
    assert serious(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Replay 1").or_(
        page.get_by_role("button", name="Replay it")
    ).first.click()
    expect(page.locator(".toast").filter(has_text="1 reject replayed")).to_be_visible()
    expect(cause).to_have_count(0)
    expect(record).to_contain_text("replayed")
    wait_until(lambda: shop.table_rows("orders_by_desk") > rows)


def test_a_reject_is_discarded_only_when_that_is_confirmed(page: Page, shop: Shop) -> None:
    shop.bad_orders(1)
    shown(page, "/rejects")
    page.get_by_role("listitem").filter(has_text="DECIMAL").get_by_role("button").first.wait_for()
    page.get_by_role("region", name="Records of this cause").get_by_role("link").last.click()
    record = page.get_by_role("complementary")
    record.get_by_role("button", name="Discard").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(record.get_by_role("button", name="Discard")).to_be_visible()
    record.get_by_role("button", name="Discard").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard it").click()
    expect(page.locator(".toast")).to_contain_text("1 reject discarded")
    expect(record).to_contain_text("discarded")
    page.get_by_role("button", name="Settled", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="discarded")).to_be_visible()
