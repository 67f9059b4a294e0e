"""What was spent, in the browser: narrowed by clicking, kept in the address, taken along as a table; and budgets."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served, wait_for

HOME = Path(__file__).parent.parent / "fakes" / "cost-fixture"
CAPTURES = Path(__file__).parent.parent / "captures"


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
    page.get_by_role("button", name="Add budget").click()
    page.get_by_label("Name").fill("share")
    page.get_by_role("combobox", name="In", exact=True).select_option("weekly")
    page.get_by_label("Stop at, %").fill("20")
    assert violations(page) == []
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("listitem").filter(has_text="share")).to_contain_text("stops at 20 % of the weekly window")
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


def test_what_was_said_is_searched_read_and_removed(served: Served, browser: Browser) -> None:
    recorded = CAPTURES / "claude" / "sessions" / "tool.jsonl"
    folder = served.home / ".claude" / "projects" / "-repo"
    folder.mkdir(parents=True)
    shutil.copy(recorded, folder)
    hostile = {"type": "user", "sessionId": "h", "uuid": "u", "timestamp": "2026-11-20T10:00:00.000Z"}
    text = "<img src=x onerror=alert(1)> the needle"
    (folder / "h.jsonl").write_text(json.dumps({**hostile, "message": {"role": "user", "content": text}}) + "\n")
    served.post("/api/transcripts/collect")
    told = served.run("transcripts", "search", "the needle")
    assert "<img src=x onerror=alert(1)> the needle" in told
    number = served.get("/api/transcripts", q="needle")["items"][0]["id"]
    assert "Asked, 2026-11-20 10:00:00\n<img" in served.run("transcripts", "show", str(number))
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/insights/transcripts")
    expect(page.get_by_role("list", name="Transcripts").get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_text("2 transcripts,")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("needle")
    expect(page).to_have_url(f"{served.url}/insights/transcripts?q=needle")
    expect(page.locator("mark")).to_have_text("needle")
    expect(page.get_by_role("list", name="Transcripts").get_by_role("link", name="<img").first).to_be_visible()
    assert violations(page) == []
    page.get_by_label("Search what was said").fill('"command ran"')
    expect(page.locator("mark")).to_have_text("command ran")
    page.get_by_label("Search what was said").press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/insights/transcripts/\d+\?turn=4$"))
    expect(page.get_by_text("Run the test command.").first).to_be_visible()
    expect(page.get_by_text("echo fake-tool-ran").first).to_be_visible()
    expect(page.locator("[aria-current=true]")).to_contain_text("The command ran; done.")
    assert violations(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Really remove it?").click()
    expect(page.get_by_role("list", name="Transcripts").get_by_role("listitem")).to_have_count(1)
    assert (folder / "tool.jsonl").exists()
    assert seen.wrong == []


def test_where_nothing_was_said_the_page_says_how_to_begin(served: Served, browser: Browser) -> None:
    seen = open_page(browser, served)
    sign_in(seen, served)
    seen.page.goto(f"{served.url}/insights/transcripts")
    expect(seen.page.get_by_text("No transcripts yet")).to_be_visible()
    assert violations(seen.page) == []
