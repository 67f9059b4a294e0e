"""The list of runs and the shell around it, by mouse and by keyboard alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served


def test_the_filter_is_one_field_and_the_address(served: Served, repository: Path, browser: Browser) -> None:
    for prompt in ("say alpha", "say beta\nexit 3", "logged-out"):
        served.ended(served.submit(repository, prompt))
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.keyboard.press("g")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("is:fa")
    expect(page.get_by_role("option", name="is:failed")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page).to_have_url(re.compile(r"filter=is:failed"))
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("button", name="Failed 2")).to_have_attribute("aria-current", "page")
    page.keyboard.type("beta")
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(1)
    page.reload()
    expect(page.get_by_label("Filter runs")).to_have_value("is:failed beta")
    expect(page.get_by_role("list", name="Runs").get_by_role("link")).to_have_text(["say beta"])
    page.get_by_role("button", name="All 3").click()
    expect(page.get_by_label("Filter runs")).to_have_value("beta")
    page.get_by_label("Filter runs").fill("colour:red")
    expect(page.get_by_text("is no filter")).to_be_visible()
    page.get_by_label("Filter runs").fill(f"project:{repository.name} reason:bad_credentials")
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_role("list", name="Runs").get_by_role("link")).to_have_text(["logged-out"])
    page.get_by_label("Filter runs").fill("nobody wrote this")
    expect(page.get_by_text("No run fits")).to_be_visible()
    page.get_by_role("button", name="Show all runs").click()
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(3)
    assert seen.wrong == []


def test_many_runs_are_cancelled_at_once_by_keyboard(served: Served, repository: Path, browser: Browser) -> None:
    runs = [served.submit(repository, f"say number {n}\nsleep 600") for n in range(3)]
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/runs")
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(3)
    for key in "jxjxjx":
        page.keyboard.press(key)
    expect(page.get_by_text("3 chosen")).to_be_visible()
    page.get_by_role("button", name="Cancel 3").press("Enter")
    expect(page.get_by_text("3 cancelled.")).to_be_visible(timeout=20_000)
    assert {served.execution(run)["state"] for run in runs} == {"cancelled"}
    expect(page.get_by_text("chosen")).to_have_count(0)
    assert seen.wrong == []


def test_each_failure_offers_the_act_that_helps(served: Served, repository: Path, browser: Browser) -> None:
    served.run("accounts", "add", "small", "--backend", "rehearsal", "--env", "ROLE=small")
    for prompt, more in (("logged-out", {}), ("limit 3600", {"account": "small"}), ("say try\nexit 3", {})):
        served.ended(served.submit(repository, prompt, on_limit="fail", **more))
    seen = open_page(browser, served, permissions=["clipboard-read", "clipboard-write"])
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/runs?filter=is:failed")
    page.get_by_role("button", name="Copy sign-in command").click()
    expect(page.get_by_text("Copied:")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") != ""
    page.get_by_role("button", name="Show errors").click()
    expect(page.get_by_text("No such line.").or_(page.get_by_text("shown"))).to_be_visible()
    page.go_back()
    page.get_by_role("button", name="Change and retry").click()
    expect(page.get_by_label("Prompt")).to_have_value("limit 3600")
    page.get_by_label("Prompt").fill("say changed")
    page.keyboard.press("Control+Enter")
    page.wait_for_url(lambda url: "/runs/exe_" in url)
    expect(page.get_by_role("heading", name="say changed")).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible(timeout=20_000)
    assert seen.wrong == []


@pytest.mark.parametrize(("width", "height"), [(390, 800), (1920, 1080)])
def test_the_main_job_is_done_by_keyboard_alone(
    served: Served, repository: Path, browser: Browser, width: int, height: int
) -> None:
    served.ended(served.submit(repository, "say before\nwrite a.txt one"))
    seen = open_page(browser, served, viewport={"width": width, "height": height})
    page, press = seen.page, seen.page.keyboard.press
    sign_in(seen, served)
    press("c")
    expect(page.get_by_label("Prompt")).to_be_focused()
    page.keyboard.type("say by hand\nlines 2000\nwrite b.txt two")
    expect(page.get_by_label("Backend")).to_have_value("rehearsal")
    press("Control+Enter")
    page.wait_for_url(lambda url: "/runs/exe_" in url)
    expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible(timeout=20_000)
    press("/")
    page.keyboard.type("line 1500")
    expect(page.get_by_text("1 of 1", exact=True)).to_be_visible()
    expect(page.get_by_text("line 1500", exact=True)).to_be_in_viewport()
    press("Escape")
    press("2")
    expect(page.get_by_role("region", name="Conversation")).to_be_visible()
    expect(page.get_by_text("by hand", exact=True)).to_be_visible()
    press("3")
    expect(page.get_by_role("region", name="Changes")).to_be_visible()
    expect(page.get_by_text("b.txt").first).to_be_visible()
    press("4")
    expect(page.get_by_role("heading", name="Prompt")).to_be_visible()
    press("d")
    expect(page.get_by_label("Prompt")).to_have_value(re.compile("by hand"))
    press("Escape")
    page.get_by_label("Prompt").blur()
    press("Control+k")
    expect(page.get_by_label("Search runs and commands")).to_be_focused()
    page.keyboard.type("say before")
    expect(page.get_by_role("option", name=re.compile("say before"))).to_be_visible()
    assert violations(page) == []
    press("Enter")
    expect(page.get_by_role("heading", name="say before")).to_be_visible()
    press("?")
    expect(page.get_by_role("dialog", name="List of keys")).to_be_visible()
    assert violations(page) == []
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press("g")
    press("h")
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    assert seen.wrong == []


def test_prompts_of_before_come_back(served: Served, repository: Path, browser: Browser) -> None:
    served.ended(served.submit(repository, "say first"))
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    for prompt in ("say one thing", "say another"):
        page.goto(f"{served.url}/runs/new")
        page.get_by_label("Prompt").fill(prompt)
        expect(page.get_by_label("Backend")).to_have_value("rehearsal")
        expect(page.get_by_label("Project")).not_to_have_value("")
        page.keyboard.press("Control+Enter")
        page.wait_for_url(lambda url: "/runs/exe_" in url)
    page.goto(f"{served.url}/runs/new")
    page.get_by_label("Prompt").fill("half a thought")
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("Alt+ArrowUp")
    expect(page.get_by_label("Prompt")).to_have_value("say one thing")
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("Alt+ArrowDown")
    expect(page.get_by_label("Prompt")).to_have_value("half a thought")
    assert seen.wrong == []
