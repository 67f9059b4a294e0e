"""Signing in to a CLI from its page: the address and the code, what is typed, the end; and real CLIs' first words."""

from __future__ import annotations

import base64
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from playwright.sync_api import Browser, Page, expect
from scripts.install_clis import DEFAULT_FOLDER, cli_programs

from agented.kit.errors import AgentedError, NotFound
from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served, wait_for
from tests.fakes import standin


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    node = shutil.which("node", path=os.environ.get("PATH")) or ""
    server = Served(tmp_path, path=os.pathsep.join([str(Path(node).parent), os.defpath]))
    try:
        yield server.start()
    finally:
        server.close()
        assert terminals(server) == []


def terminals(served: Served) -> list[psutil.Process]:
    """Living processes of terminals that this server opened."""
    found = []
    for one in psutil.process_iter():
        try:
            env = one.environ()
            if one.status() != psutil.STATUS_ZOMBIE and "AGENTED_TERMINAL" in env and env["HOME"] == str(served.home):
                found.append(one)
        except (psutil.Error, OSError, KeyError):
            continue
    return found


def add_standin(served: Served, folder: Path) -> str:
    served.run(
        *("accounts", "add", "work", "--backend", "claude", "--home", str(folder / "work")),
        *("--program", str(standin.install(folder / "bin"))),
    )
    return str(served.get("/api/accounts")["items"][-1]["key"])


def terminal(page: Page) -> Any:
    return page.get_by_role("group", name="Terminal of Claude Code")


def test_a_person_signs_in_from_the_page(served: Served, browser: Browser, tmp_path: Path) -> None:
    add_standin(served, tmp_path)
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/accounts")
    page.get_by_role("listitem").filter(has_text="work").get_by_role("link", name="Sign in here").click()
    expect(page.get_by_role("heading", name="Sign in to Claude Code, work")).to_be_visible()
    page.get_by_label("With the Console").check()
    expect(page).to_have_url(f"{served.url}/accounts/{served.get('/api/accounts')['items'][-1]['key']}/sign-in?way=1")
    assert violations(page) == []
    page.keyboard.press("Enter")
    link = page.get_by_role("link", name="Open login.example.test")
    expect(link).to_have_attribute("href", standin.ADDRESS)
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(page.get_by_label("What to open").get_by_text(standin.DEVICE_CODE)).to_be_visible()
    expect(terminal(page).get_by_role("link").first).to_have_attribute("href", standin.ADDRESS)
    assert terminal(page).locator("a[href*=evil]").count() == 0
    expect(page.get_by_role("log", name="What the CLI says")).to_contain_text(standin.DEVICE_CODE)
    expect(terminal(page)).to_contain_text("Paste code here")
    assert violations(page) == []
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Whoever comes back sees it as it stands.
    page.reload()
    expect(terminal(page)).to_contain_text("Paste code here")
    page.get_by_label("Type into the terminal").focus()
    page.keyboard.type("bxd")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.type("ad")
    expect(terminal(page)).to_contain_text("> bad")
    page.keyboard.press("Enter")
    status = page.get_by_role("main").get_by_role("status")
    expect(status).to_contain_text("left no new login")
    expect(terminal(page)).to_contain_text("Invalid code")
    page.get_by_role("button", name="Try again").click()
    expect(terminal(page)).not_to_contain_text("Invalid code")
    expect(terminal(page)).to_contain_text("Paste code here")
    page.keyboard.type("good")
    page.keyboard.press("Enter")
    expect(status).to_contain_text("Signed in (max).")
    assert violations(page) == []
    page.get_by_role("link", name="See the account").click()
    expect(page.get_by_role("listitem").filter(has_text="work")).to_contain_text("Ready")
    assert seen.wrong == []


def test_a_cancel_and_a_stop_of_the_server_leave_nothing_behind(
    served: Served, browser: Browser, tmp_path: Path
) -> None:
    key = add_standin(served, tmp_path)
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/accounts/{key}/sign-in")
    page.get_by_role("button", name="Start signing in").click()
    expect(terminal(page)).to_contain_text("Paste code here")
    assert len(terminals(served)) >= 2
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("main").get_by_role("status")).to_contain_text("Cancelled.")
    assert terminals(served) == []
    assert seen.wrong == []
    page.close()
    served.post(f"/api/accounts/{key}/sign-in", {})
    wait_for(lambda: terminals(served), what="the terminal")
    served.terminate()
    assert terminals(served) == []


def test_a_killed_server_leaves_no_terminal(served: Served, tmp_path: Path) -> None:
    key = add_standin(served, tmp_path)
    served.post(f"/api/accounts/{key}/sign-in", {})
    wait_for(lambda: served.get(f"/api/accounts/{key}/sign-in")["code"], what="the code")
    served.kill()
    wait_for(lambda: not terminals(served), what="the end of the terminal")


def test_only_an_admin_signs_in_and_the_stream_resumes(served: Served, tmp_path: Path) -> None:
    key = add_standin(served, tmp_path)
    path = f"/api/accounts/{key}/sign-in"
    started = served.post(path, {})
    wait_for(lambda: served.get(path)["code"], what="the code")
    first = served.told(f"{path}/stream", 2)
    assert [name for _, name, _ in first] == ["state", "output"]
    assert (first[0][2]["id"], first[1][2]["offset"]) == (started["id"], 0)
    cursor = first[1][0]
    with served.client() as client:
        client.post(f"{path}/keys", {"text": "bad\r"})
        with pytest.raises(AgentedError):
            client.post(f"{path}/keys", {"text": "x" * 5000})
    resumed = [one for one in served.told(f"{path}/stream", 2, cursor) if one[1] == "output"]
    assert resumed[0][2]["offset"] == int(cursor.rpartition("@")[2]) > 0
    operator = served.run("token", "--role", "operator").strip()
    for method, where in (("GET", path), ("POST", path), ("DELETE", path), ("GET", f"{path}/stream")):
        asked = urllib.request.Request(
            f"{served.url}{where}", method=method, headers={"Authorization": f"Bearer {operator}"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=10)
        assert refused.value.code == 403
        refused.value.close()
    for missing in ("claude:acc_nobody", "nobody:default", "nonsense"):
        with pytest.raises(NotFound):
            served.get(f"/api/accounts/{missing}/sign-in")


@pytest.mark.real
@pytest.mark.parametrize(
    ("cli", "way", "says"),
    [
        ("claude", 0, "https://claude"),
        ("codex", 1, "https://auth.openai.com/oauth/authorize"),
        ("gemini", 0, "authenticate"),
        ("opencode", 0, "provider"),
    ],
)
def test_a_real_cli_begins_its_sign_in(served: Served, tmp_path: Path, cli: str, way: int, says: str) -> None:
    """As far as it goes without a network: to its address, or its first question. Nothing of it is left."""
    programs = cli_programs(DEFAULT_FOLDER)
    if cli not in programs:
        if os.environ.get("CI") == "true":
            pytest.fail("the CLIs are not installed: python scripts/install_clis.py")
        pytest.skip("the CLIs are not installed: python scripts/install_clis.py")
    home = tmp_path / "home-of-its-own"
    served.run(
        *("accounts", "add", "work", "--backend", cli, "--home", str(home), "--program", str(programs[cli])),
    )
    key = served.get("/api/accounts")["items"][-1]["key"]
    path = f"/api/accounts/{key}/sign-in"
    served.post(path, {"way": way})
    if says.startswith("https"):
        url = wait_for(lambda: served.get(path)["url"], 60, f"the address of {cli}")
        assert url.startswith(says)
    else:
        wait_for(lambda: says in printed(served, path), 60, f"the question of {cli}")
    with served.client() as client:
        client.delete(path)
    assert served.get(path)["state"] == "cancelled"
    assert terminals(served) == []


def printed(served: Served, path: str) -> str:
    state = served.get(path)
    if not state["size"]:
        return ""
    return str(base64.b64decode(served.told(f"{path}/stream", 2)[1][2]["bytes"]).decode("utf-8", "replace"))
