"""A browser as people have one, and what should not happen in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from tests.e2e.served import Served

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
AXE = Path(__file__).parent.parent.parent / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Seen:
    """A page that notes what should not happen: console errors, faults, requests that leave the origin."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrong.append(f"fault: {error}"))
        page.on("request", self._request)
        self._origin = origin

    def _request(self, request: Request) -> None:
        if not request.url.startswith(self._origin):
            self.wrong.append(f"left: {request.url}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text}")


def open_page(browser: Browser, served: Served, **options: Any) -> Seen:
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}).new_page()
    page.set_default_timeout(20_000)
    return Seen(page, served.url)


def sign_in(seen: Seen, served: Served) -> None:
    seen.page.goto(served.sign_in_link())
    expect(seen.page.get_by_role("heading", name="Home")).to_be_visible()


def violations(page: Page) -> list[str]:
    """What axe finds on the page as it stands, in light and in dark."""
    page.evaluate(AXE.read_text())
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("(scheme) => document.documentElement.dataset.theme === scheme", arg=scheme)
        answer = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        found += [
            f"{scheme} {one['id']}: {json.dumps([node['html'][:160] for node in one['nodes'][:3]])}"
            for one in answer["violations"]
        ]
    return found
