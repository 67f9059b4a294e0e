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
    expect(page).to_have_url(re.compile("/bots/greeter$"))
    page.get_by_label("who").fill("you")
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_label("The prompt as it would be")).to_contain_text("Hello")
    expect(page.get_by_text("No value: delivery.payload.title")).to_be_visible()
    text.fill(text.input_value().replace("Hello", "Good day"))
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("version 2")).to_be_visible()
    page.get_by_role("button", name="Restore").click()
    expect(page.get_by_text("version 3")).to_be_visible()
    expect(text).to_have_value(re.compile("Hello"))
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
    assert seen.wrong == []
