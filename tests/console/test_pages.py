"""Overview, Graph, Accounting, Checkpoints, Checks, Plan and the shell around them, in a real Chromium."""

from __future__ import annotations

import re

from browsing import LAPTOP, PAGES, PHONE, coloured, looking, serious, settled, shown, sideways, themed
from playwright.sync_api import Browser, Page, expect
from shop import Shop, wait_until

DRAWN = """
() => new Promise((done) => {
  const look = () => performance.getEntriesByName("graph-drawn").length ? done() : requestAnimationFrame(look);
  look();
})
"""


def test_no_page_shuts_anybody_out_in_light_in_dark_or_on_a_phone(page: Page) -> None:
    found: dict[str, list[str]] = {}
    page.goto("/")
    for path, title in PAGES.items():
        page.set_viewport_size(LAPTOP)
        themed(page, "light")
        go(page, path)
        expect(page.get_by_role("heading", level=1, name=title, exact=True)).to_be_visible()
        settled(page)
        found[f"{path} light"] = serious(page)
        themed(page, "dark")
        found[f"{path} dark"] = serious(page, ["color-contrast"])
        page.set_viewport_size(PHONE)
        found[f"{path} phone"] = serious(page, ["scrollable-region-focusable", "aria-hidden-focus"])
        found[f"{path} width"] = ["wider than a phone"] * (sideways(page) > 0)
    assert {where: what for where, what in found.items() if what} == {}


def go(page: Page, path: str) -> None:
    """To another page as a link would, without loading anything anew."""
    page.evaluate("to => { history.pushState(null, '', to); dispatchEvent(new PopStateEvent('popstate')) }", path)


def test_a_phone_has_the_list_of_pages_behind_a_button(phone: Page) -> None:
    shown(phone, "/")
    phone.get_by_role("button", name="Pages").click()
    phone.get_by_role("link", name="Accounting").click()
    expect(phone.get_by_role("heading", level=1, name="Accounting")).to_be_visible()
    expect(phone.get_by_role("link", name="Streams", exact=True)).to_be_hidden()


def test_the_view_is_held_still_and_catches_up(page: Page, shop: Shop) -> None:
    shown(page, "/streams/orders")
    newest = page.get_by_role("region", name="Changes, newest first").locator("tbody tr").first
    expect(newest).to_be_visible()
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Held still: go on")).to_be_visible()
    before, epoch = newest.inner_text(), page.get_by_test_id("epoch").inner_text()
    shop.order([{**shop.orders_of(1)[0], "customer": "Meanwhile"}])
    wait_until(lambda: int(str(shop.get("/v1/overview")["epoch"])) > int(epoch.replace(",", "")) + 1)
    assert (newest.inner_text(), page.get_by_test_id("epoch").inner_text()) == (before, epoch)
    page.keyboard.press("p")
    expect(newest).to_contain_text("Meanwhile")
    expect(page.get_by_test_id("epoch")).not_to_have_text(epoch)


def test_the_overview_follows_what_happens_without_a_reload(page: Page, shop: Shop) -> None:
    shown(page, "/")
    page.evaluate("window.kept = 'the same document'")
    tables = page.get_by_role("region", name="Tables", exact=True)
    orders = tables.get_by_role("row").filter(has=page.get_by_role("rowheader", name="orders", exact=True))
    before = int(orders.get_by_role("cell").first.inner_text().replace(",", ""))
    shop.order(shop.orders_of(1000))
    expect(orders).to_contain_text(re.compile(f"{before + 1000:,}"))
    assert page.evaluate("window.kept") == "the same document"


def test_the_overview_says_what_is_wrong_and_the_command_that_mends_it(page: Page, shop: Shop) -> None:
    shown(page, "/")
    wrong = page.locator(".wrong")
    expect(wrong).to_contain_text("rejects wait for a decision")
    expect(wrong.locator("code").first).to_contain_text("headwater ")
    wrong.get_by_role("link", name="Open").first.click()
    expect(page).to_have_url(re.compile("/rejects"))


def test_accounts_add_up_on_the_page_as_they_do_in_the_log(page: Page, shop: Shop) -> None:
    shown(page, "/accounting")
    streams = page.get_by_role("region", name="Streams")
    row = streams.get_by_role("row").filter(has=page.get_by_role("rowheader", name="orders", exact=True))
    read, landed, rejected = (int(row.locator("td.num").nth(nth).inner_text().replace(",", "")) for nth in range(3))
    assert rejected >= 3
    assert read >= landed + rejected
    expect(row).to_contain_text("holds")
    expect(page.get_by_text("all add up")).to_be_visible()


def test_a_broken_identity_is_red(page: Page, shop: Shop) -> None:
    answer = shop.get("/v1/accounting")
    answer["streams"][0] |= {"read": 10**6, "difference": 17, "holds": False}  # type: ignore[index]
    page.route("**/v1/accounting", lambda route: route.fulfill(json=answer))
    shown(page, "/accounting")
    expect(page.get_by_role("alert")).to_contain_text(answer["streams"][0]["name"])  # type: ignore[index]
    expect(page.locator("tr.bad")).to_contain_text("off by 17")
    assert serious(page) == []


def test_a_check_that_fails_says_which_row_and_one_that_is_not_known_does_not_pass(page: Page, shop: Shop) -> None:
    now = {"at_us": 0, "epoch": 7, "failing": None, "value": None, "score": None}
    check = {"model": "orders", "kind": "range", "severity": "warn", "says": "amount is at least 0", "history": [],
             "message": "amount is at least 0 fails for 2 rows", "example": '{"id": 17}', **now}  # fmt: skip
    answer = [{**check, "name": name, "state": name} for name in ("ok", "unknown")]
    page.route("**/v1/checks", lambda route: route.fulfill(json={"checks": answer}))
    shown(page, "/checks")
    expect(page.locator(".page-head .badge")).to_have_text("1 of 2 pass, 1 not known yet")
    answer.append({**check, "name": "fail", "state": "fail", "failing": 2})
    expect(page.locator(".page-head .badge")).to_have_text("1 of 3 fail")
    page.get_by_role("row").filter(has_text="range").first.click()
    expect(page.locator(".check-detail")).to_contain_text('{"id": 17}')
    assert serious(page) == []


def test_checkpoints_come_by_themselves(page: Page, shop: Shop) -> None:
    shown(page, "/checkpoints")
    newest = page.get_by_role("region", name="Checkpoints, newest first").get_by_role("rowheader").first
    before = newest.inner_text()
    expect(newest).not_to_have_text(before)


def test_a_node_of_the_graph_opens_with_all_that_is_known_of_it(page: Page, shop: Shop) -> None:
    shown(page, "/graph")
    graph = page.get_by_role("application")
    graph.press("ArrowRight")
    detail = page.get_by_role("complementary")
    expect(detail).to_be_visible()
    graph.press("Escape")
    expect(detail).to_be_hidden()
    page.get_by_label("Find a node").fill("model:revenue")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="model revenue_by_customer")).to_be_visible()
    detail.get_by_role("tab", name="SQL").click()
    expect(detail).to_contain_text("GROUP BY customer")
    detail.get_by_role("tab", name="Schema").click()
    expect(detail.get_by_role("rowheader", name="revenue")).to_be_visible()
    detail.get_by_role("tab", name="Rows").click()
    expect(detail.get_by_role("region", name="Sample rows")).to_contain_text("Bruno")
    detail.get_by_role("tab", name="Lineage").click()
    expect(detail).to_contain_text("orders.amount")
    assert serious(page) == []
    detail.get_by_role("tab", name="State").click()
    detail.get_by_role("button", name="best_customers (model)").click()
    expect(page).to_have_url(re.compile("best_customers"))


def test_the_graph_is_moved_and_zoomed_by_mouse_and_keys(page: Page, shop: Shop) -> None:
    shown(page, "/graph")
    canvas = page.locator(".graph-box canvas")
    page.evaluate(DRAWN)
    pictures = [canvas.screenshot()]
    for move in (lambda: drag(page, 220, 60), lambda: page.mouse.wheel(0, -300), lambda: canvas.press("-")):
        move()
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        pictures.append(canvas.screenshot())
    assert len(set(pictures)) == len(pictures)


def drag(page: Page, right: int, down: int) -> None:
    """Drags the graph."""
    page.mouse.move(700, 700)
    page.mouse.down()
    page.mouse.move(700 + right, 700 + down, steps=4)
    page.mouse.up()


def test_keys_reach_every_page_and_the_sheet_tells_them(page: Page, shop: Shop) -> None:
    shown(page, "/")
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", level=1, name="Accounting")).to_be_visible()
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(sheet).to_contain_text("Checkpoints")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    page.keyboard.press("Control+k")
    page.get_by_role("combobox").fill("large_orders model")
    assert serious(page) == []
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/graph.*large_orders"))


def test_the_first_tab_skips_to_the_content(page: Page, shop: Shop) -> None:
    shown(page, "/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_the_theme_follows_the_system_until_somebody_chooses(page: Page, shop: Shop) -> None:
    shown(page, "/")
    themed(page, "dark")
    page.get_by_role("button", name="Theme: system; switch to light").click()
    coloured(page, "light")
    page.reload()
    expect(page.get_by_role("button", name="Theme: light; switch to dark")).to_be_visible()
    coloured(page, "light")


def test_a_lost_connection_is_said_and_taken_up_again(browser: Browser, shop: Shop) -> None:
    with looking(browser, shop.url, forgives="ERR_FAILED") as page:
        page.route("**/v1/events*", lambda route: route.abort())
        page.goto("/")
        expect(page.get_by_role("alert")).to_contain_text("Not connected.")
        expect(page.locator(".top").get_by_text("not connected")).to_be_visible()
        assert serious(page) == []
        page.unroute("**/v1/events*")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.locator(".top").get_by_text("running", exact=True)).to_be_visible()


def test_where_there_is_a_token_it_is_asked_for_and_kept_for_the_tab(browser: Browser, shop: Shop) -> None:
    with looking(browser, shop.url) as page:
        refusal = {"status": 401, "json": {"title": "Unauthorized", "status": 401, "detail": "a token is needed"}}
        given: list[str] = []

        def guard(route, request) -> None:  # type: ignore[no-untyped-def]
            given.append(request.headers.get("authorization", ""))
            if given[-1] == "Bearer right":
                route.continue_()
            else:
                route.fulfill(**refusal)

        page.route("**/v1/**", guard)
        page.goto("/")
        page.get_by_label("Token", exact=True).last.fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_text("not the right one")).to_be_visible()
        page.get_by_label("Token", exact=True).last.fill("right")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_hidden()
        expect(page.locator(".top").get_by_text("running", exact=True)).to_be_visible()
        page.reload()
        expect(page.locator(".top").get_by_text("running", exact=True)).to_be_visible()
        assert page.evaluate("localStorage.length") == 0
