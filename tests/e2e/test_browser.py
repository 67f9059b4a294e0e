"""The web app in a real browser against a real server, as people use it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served


def test_a_person_signs_in_starts_a_run_and_finds_every_line_again(served: Served, browser: Browser) -> None:
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.get_by_role("button", name="Make the sample").click()
    expect(page.get_by_role("button", name="Make the sample")).to_have_count(0)
    page.keyboard.press("c")
    page.get_by_label("Prompt").fill("lines 400 15\nwrite hello.txt Hello from a run")
    expect(page.get_by_label("Project")).not_to_have_value("new")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/runs/exe_*")
    log = page.get_by_role("region", name="Lines of the log")
    # Its lines arrive while it runs.
    expect(log.get_by_text(re.compile(r"^line \d+$")).first).to_be_visible()
    expect(page.get_by_text("Running", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Run again")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("404 lines").first).to_be_visible()
    texts: set[str] = set()
    for step in range(0, 404, 20):
        log.evaluate("(box, top) => { box.scrollTop = top }", step * 20)
        expect(log.locator(f"#L{step + 1}")).to_be_attached()
        expect(log.locator(f"#L{step + 1} span").last).not_to_be_empty()
        texts |= set(log.locator("span.whitespace-pre").all_inner_texts())
    assert {f"line {n}" for n in range(1, 401)} <= texts
    page.get_by_role("button", name="Changes").click()
    expect(page.get_by_text("Hello from a run")).to_be_visible()
    page.get_by_role("button", name="Conversation").click()
    page.get_by_role("button", name="Input").click()
    expect(page.get_by_text("write hello.txt")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(1)
    # A list that is open hears of runs that others start.
    served.submit(Path(served.get("/api/projects")["items"][0]["path"]), "say hello")
    page.get_by_role("button", name="1 new, show").click()
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(2)
    page.get_by_role("link", name="say hello").click()
    first = page.url
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: url.startswith(f"{served.url}/runs/exe_") and url != first)
    expect(page.get_by_role("button", name="Run again")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("region", name="Lines of the log").get_by_text("hello", exact=True)).to_be_visible()
    assert page.get_by_text("Reconnecting").count() == 0
    assert seen.wrong == []


def test_a_permalink_and_the_search_find_their_line(served: Served, repository: Path, browser: Browser) -> None:
    run = served.submit(repository, "lines 20000")
    served.ended(run)
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/runs/{run}#L12345")
    expect(page.locator("#L12345")).to_be_in_viewport()
    page.keyboard.press("/")
    page.keyboard.type("line 19876")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 of 1", exact=True)).to_be_visible()
    expect(page.get_by_text("line 19876", exact=True)).to_be_in_viewport()
    assert seen.wrong == []


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_is_accessible(served: Served, repository: Path, browser: Browser, width: int) -> None:
    run = served.submit(repository, "say **Hello**\nlines 100\nwrite a.txt one\nstderr careful")
    failed = served.submit(repository, "say I try\nexit 3")
    served.ended(run)
    served.ended(failed)
    seen = open_page(browser, served, viewport={"width": width, "height": 800})
    page = seen.page
    page.goto(f"{served.url}/sign-in")
    found = {"/sign-in": violations(page)}
    sign_in(seen, served)
    paths = [
        "/",
        "/runs",
        "/runs?filter=is:waiting",
        "/runs?filter=is:failed",
        "/runs/new",
        f"/runs/{failed}",
        f"/runs/new?from={failed}",
        "/nowhere",
    ]
    paths += [f"/runs/{run}?wrap=1&time=utc&find=line&only=matches", f"/runs/{failed}?only=errors"]
    paths += [f"/runs/{run}?view={view}" for view in ("log", "conversation", "changes", "input")]
    for path in paths:
        page.goto(served.url + path)
        expect(page.locator("h1")).to_be_visible()
        expect(page.get_by_text("Reading the")).to_have_count(0)
        found[path] = violations(page)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} pixels wider than the window"
    assert {path: rules for path, rules in found.items() if rules} == {}
    assert seen.wrong == []
