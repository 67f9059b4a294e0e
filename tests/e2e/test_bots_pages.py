"""Bots and deliveries in the browser."""

from __future__ import annotations

import hashlib
import hmac
import re
import urllib.request
from pathlib import Path

import yaml
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served, wait_for


def bot_of(repository: Path, **more: object) -> dict[str, object]:
    return {
        "kind": "Bot",
        "name": "greeter",
        "prompt": "say Hello {{input.who}}\nsay {{delivery.payload.title}}",
        "chain": [{"backend": "rehearsal"}],
        "projects": [str(repository)],
        "triggers": [{"webhook": {"name": "hook", "verify": {"style": "agented", "secret": "hook"}}}],
        **more,
    }


def deliver(served: Served, body: bytes) -> None:
    path = served.get("/api/bots/greeter")["webhooks"][0]["path"]
    signed = "sha256=" + hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Webhook-Signature-256": signed}
    request = urllib.request.Request(served.url + path, body, headers)
    with urllib.request.urlopen(request, timeout=10) as reply:
        assert reply.status == 202


def test_a_bot_is_made_changed_restored_and_started(served: Served, repository: Path, browser: Browser) -> None:
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.keyboard.press("g")
    page.keyboard.press("b")
    expect(page.get_by_text("No bots yet")).to_be_visible()
    page.keyboard.press("n")
    text = page.get_by_label("The bot as YAML")
    text.fill(yaml.safe_dump(bot_of(repository, prompt="say {{nobody.knows}}")))
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("documents[0].prompt")
    text.fill(yaml.safe_dump(bot_of(repository)))
    page.get_by_role("button", name="Plan").click()
    expect(page.get_by_text("greeter: create")).to_be_visible()
    page.keyboard.press("Control+s")
    expect(page).to_have_url(re.compile("/bots/greeter"))
    page.get_by_label("who").fill("you")
    # The preview follows what is typed, before it is saved.
    page.get_by_role("tab", name="preview").click()
    expect(page.get_by_label("The prompt as it would be")).to_contain_text("Hello")
    expect(page.get_by_text("No value: delivery.payload.title")).to_be_visible()
    text.fill(text.input_value().replace("Hello", "Good day"))
    expect(page.get_by_label("The prompt as it would be")).to_contain_text("Good day")
    page.get_by_text("Or a pasted payload").click()
    page.get_by_label("Payload as JSON").fill('{"title": "A title"}')
    expect(page.get_by_label("The prompt as it would be")).to_contain_text("A title")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("version 2")).to_be_visible()
    page.get_by_role("tab", name="versions").click()
    expect(page).to_have_url(re.compile("tab=versions"))
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_label("What the current version says differently")).to_contain_text("Good day")
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("version 3")).to_be_visible()
    expect(text).to_have_value(re.compile("Hello"))
    page.get_by_role("tab", name="start").click()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(lambda url: "/runs/exe_" in url)
    expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible(timeout=20_000)
    page.goto(f"{served.url}/runs?filter=bot:greeter")
    expect(page.get_by_role("list", name="Runs").get_by_role("listitem")).to_have_count(1)
    # The server refused what could not be saved: the browser's console tells of the 422, and of nothing else.
    assert [one for one in seen.wrong if "422" not in one] == []


def test_deliveries_tell_why_and_are_replayed(served: Served, repository: Path, browser: Browser) -> None:
    served.run("secrets", "set", "hook", stdin="s3cret")
    served.run("bots", "apply", "-", stdin=yaml.safe_dump(bot_of(repository)))
    deliver(served, b'{"title": "<img src=x onerror=window.pwned=1>"}')
    wait_for(lambda: served.get("/api/deliveries")["items"][0]["state"] == "handled", what="the handling")
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    places = [(path, width) for width in (390, 1280) for path in ("/bots", "/bots/new", "/bots/greeter", "/deliveries")]
    for path, width in places:
        page.set_viewport_size({"width": width, "height": 800})
        page.goto(served.url + path)
        expect(page.locator("h1")).to_be_visible()
        expect(page.get_by_text("Reading the")).to_have_count(0)
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
    page.get_by_role("button", name=re.compile("greeter")).click()
    expect(page.get_by_text("Every delivery starts it.").first).to_be_visible()
    expect(page.get_by_label("Body")).to_contain_text("onerror")
    assert violations(page) == []
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("list", name="Deliveries").get_by_role("button", name=re.compile("greeter"))).to_have_count(
        2
    )
    page.get_by_role("link", name="its run").click()
    expect(page.get_by_role("heading", name=re.compile("say Hello"))).to_be_visible()
    assert page.evaluate("window.pwned") is None
    # The preview of a new bot names a project that is not there: the browser tells of the 422.
    assert [one for one in seen.wrong if "422" not in one] == []


AUDIT = """
kind: Bot
name: audit
prompt: |
  say # Audit
  say ```json
  say {"findings": [{"path": "README.md", "line": 1, "severity": "high", "title": "A hole", "body": "Close it."}]}
  say ```
chain: [{backend: rehearsal}]
permission: read
result: report
triggers:
  - schedule: {name: mondays, cron: 0 6 * * MON, timezone: Europe/Berlin}
  - schedule: {name: nights, cron: 30 2 * * *}
"""


def test_schedules_reports_and_ready_made_bots_have_their_pages(
    served: Served, repository: Path, browser: Browser
) -> None:
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/schedules")
    expect(page.get_by_text("No schedules yet")).to_be_visible()
    served.run("bots", "apply", "-", stdin=f"{AUDIT}projects: [{repository}]\n")
    [run] = served.post("/api/bots/audit/run")["executions"]
    assert served.ended(run)["state"] == "succeeded"
    page.reload()
    rows = page.get_by_role("list", name="Schedules").get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("30 2 * * *")
    assert violations(page) == []
    page.get_by_role("navigation", name="Of bots").get_by_role("link", name="Ready-made").click()
    page.get_by_role("listitem").filter(has_text="Pull request review").get_by_role("link", name="Take it").click()
    expect(page.get_by_label("The bot as YAML")).to_have_value(re.compile("name: pr-review"))
    assert violations(page) == []
    page.goto(f"{served.url}/bots/gallery")
    expect(page.get_by_role("listitem").filter(has_text="Weekly security audit")).to_be_visible()
    assert violations(page) == []
    page.goto(f"{served.url}/runs/{run}")
    page.get_by_role("region", name="Result").get_by_role("link").click()
    expect(page.get_by_role("region", name="Findings")).to_contain_text("A hole")
    assert violations(page) == []
    page.goto(f"{served.url}/bots/gallery")
    ready = page.get_by_role("listitem").filter(has_text="Issue triage")
    ready.get_by_role("button", name="Try in rehearsal").click()
    page.wait_for_url(lambda url: "/runs/exe_" in url)
    expect(page.get_by_text("Succeeded", exact=True).first).to_be_visible(timeout=20_000)
    assert seen.wrong == []
