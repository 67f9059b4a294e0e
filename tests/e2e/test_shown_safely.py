"""What CLIs printed, in the browser: recorded runs of the real ones, and one that means harm."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served

CAPTURES = Path(__file__).parent.parent / "captures"
VIEWS = ("log", "conversation", "changes", "input")


def replay(served: Served, name: str, backend: str, stdout: Path, stderr: Path | None = None, also: str = "") -> str:
    """An account whose CLI prints what was recorded, does `also`, and succeeds."""
    program = served.data.parent / f"{name}.sh"
    errors = f"cat {shlex.quote(str(stderr))} >&2\n" if stderr else ""
    program.write_text(f"#!/bin/sh\n{also}\ncat {shlex.quote(str(stdout))}\n{errors}")
    program.chmod(0o755)
    served.run(
        *("accounts", "add", name, "--backend", backend, "--home", str(served.data.parent / f"home-{name}")),
        *("--program", str(program)),
    )
    return name


def test_recorded_runs_of_the_real_clis_are_readable(served: Served, repository: Path, browser: Browser) -> None:
    runs = {}
    for recorded in ("claude/tool", "codex/sandbox_workspace_tool", "gemini/tool", "opencode/tool"):
        backend, folder = recorded.partition("/")[0], CAPTURES / recorded
        account = replay(served, f"recorded-{backend}", backend, folder / "stdout", folder / "stderr")
        runs[backend] = served.submit(repository, "do it", backend, account=account)
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    for backend, run in runs.items():
        ended = served.ended(run)
        assert ended["state"] == "succeeded", (backend, ended["detail"])
        for view in VIEWS:
            page.goto(f"{served.url}/runs/{run}?view={view}")
            expect(page.get_by_text("Reading the")).to_have_count(0)
            expect(page.get_by_role("region").first).to_be_visible()
            if view == "conversation":
                expect(page.get_by_text("fake-tool-ran").first).to_be_visible()
            assert violations(page) == [], (backend, view)
    assert seen.wrong == []


EVIL = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script><b>bold</b>'
LINKS = (
    "[one](javascript:window.pwned=1) [two](data:text/html,x) ![pixel](https://evil.example/p.png) <https://ok.example>"
)
UNSEEN = "user\u202egnp.exe\u202c zero\u200bwidth \u2066isolate\u2069"
MARKDOWN = f"# Title {EVIL}\n\n{LINKS}\n\n```html\n{EVIL}\n```\n\n{UNSEEN}\n\n| a |\n|---|\n| {EVIL} |"
TERMINAL = "\x1b]0;stolen title\x07\x1b]8;;https://evil.example\x07click\x1b]8;;\x07\x1b[2J\x1b[31mred\x1b[0m\x1b[38;2;9;9;9mx\x1b[0m"


def hostile_output(recorded: Path, to: Path) -> Path:
    """A recording in which everything that a model or a tool can choose means harm."""
    lines = []
    for line in recorded.read_text().splitlines():
        event = json.loads(line)
        for part in _parts(event):
            if part.get("type") == "text":
                part["text"] = (
                    f"# Title {EVIL}\n\n{LINKS}\n\n```html\n{EVIL}\n```\n\n{UNSEEN}\n\n| a |\n|---|\n| {EVIL} |"
                )
            elif part.get("type") == "tool_use":
                part["name"] = f"Bash{EVIL}"
                part["input"] = {"command": f"echo {EVIL} {UNSEEN}", "description": EVIL}
            elif part.get("type") == "tool_result":
                part["content"] = f"{EVIL}\n{TERMINAL}\n{UNSEEN}\n" + EVIL * 20_000
        lines.append(json.dumps(event))
    to.write_text("\n".join([EVIL, TERMINAL, UNSEEN, "x" * 3_000_000, *lines]) + "\n")
    return to


def _parts(event: dict[str, Any]) -> list[dict[str, Any]]:
    content = event.get("message", {}).get("content")
    return content if isinstance(content, list) else []


def test_a_hostile_run_stays_inert(served: Served, repository: Path, browser: Browser, tmp_path: Path) -> None:
    stdout = hostile_output(CAPTURES / "claude" / "tool" / "stdout", tmp_path / "hostile")
    names = [f"<b>bold<>{UNSEEN}.txt", 'a"><img src=x onerror=window.pwned=1>.py', "javascript:window.pwned=1"]
    writes = "\n".join(
        f"printf '%s\\n' {shlex.quote(EVIL)} {shlex.quote(UNSEEN)} {shlex.quote('y' * 50_000)} > {shlex.quote(name)}"
        for name in names
    )
    account = replay(served, "hostile", "claude", stdout, also=writes)
    run = served.submit(repository, f"{EVIL} {UNSEEN}", "claude", account=account)
    assert served.ended(run)["state"] == "succeeded"
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    for path in ("/runs", *(f"/runs/{run}?view={view}" for view in VIEWS), f"/runs/{run}?wrap=1"):
        page.goto(served.url + path)
        expect(page.get_by_text("Reading the")).to_have_count(0)
        # It is shown as the text it is, not dropped.
        expect(page.get_by_text("<b>bold").first).to_be_visible()
        if "conversation" in path:
            for summary in page.locator("summary, [aria-expanded=false]").all():
                summary.click()
        stays_inert(page)
    assert seen.wrong == []


FORBIDDEN = "img, script, iframe, a[href^='javascript'], a[href^='data'], a[href*='evil.example'], b:text-is('bold')"


def stays_inert(page: Page) -> None:
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("window.pwned") is None
    assert page.locator("main").locator(FORBIDDEN).count() == 0
    assert "stolen" not in page.title()
    shown = page.locator("main").inner_text()
    for sign in "\u202e\u200b\u2066\x1b":
        assert sign not in shown
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
