"""What was spent, in the browser: narrowed by clicking, kept in the address, taken along as a table; and budgets."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served, wait_for

HOME = Path(__file__).parent.parent / "fakes" / "cost-fixture"


def test_costs_are_narrowed_and_taken_along(served: Served, browser: Browser) -> None:
    shutil.copytree(HOME, served.home, dirs_exist_ok=True)
    served.post("/api/costs/collect")
    wait_for(lambda: served.get("/api/costs")["items"], what="the costs")
    seen = open_page(browser, served, accept_downloads=True)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/insights?span=all")
    table = page.get_by_role("table")
    expect(table.get_by_role("row").filter(has_text="gpt-5.3-codex")).to_contain_text("$0.03")
    page.get_by_role("button", name="CLI", exact=True).click()
    table.get_by_role("button", name="claude", exact=True).click()
    expect(page).to_have_url(f"{served.url}/insights?span=all&by=source&source=claude")
    expect(table.get_by_role("row")).to_have_count(2)
    page.keyboard.press("1")
    expect(table.get_by_role("row").filter(has_text="claude-opus-5")).to_contain_text("$0.07")
    expect(page.get_by_text("gpt-5.3-codex")).to_have_count(0)
    with page.expect_download() as taken:
        page.get_by_role("link", name="CSV").click()
    text = Path(taken.value.path()).read_text()
    assert text.startswith("day,model,") and "claude-opus-5" in text and "gpt-5.3-codex" not in text
    page.get_by_role("button", name="CLI: claude").click()
    expect(table.get_by_role("row").filter(has_text="gemini-2.5-pro")).to_be_visible()
    page.get_by_role("button", name="20 Nov").click()
    expect(page.get_by_role("button", name="2026-11-20 ×")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Add budget").click()
    page.get_by_label("Name").fill("month")
    page.get_by_label("Stop at, $").fill("thirty")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("no amount of dollars")
    page.get_by_label("Stop at, $").fill("30")
    assert violations(page) == []
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("listitem").filter(has_text="month")).to_contain_text("stops at $30.00")
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [wrong for wrong in seen.wrong if "422" not in wrong] == []


def test_where_nothing_was_spent_the_page_says_how_to_begin(served: Served, browser: Browser) -> None:
    seen = open_page(browser, served)
    sign_in(seen, served)
    seen.page.goto(f"{served.url}/insights")
    expect(seen.page.get_by_text("Nothing was spent yet")).to_be_visible()
    assert violations(seen.page) == []
    assert seen.wrong == []
