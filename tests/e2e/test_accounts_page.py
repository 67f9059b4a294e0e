"""Accounts in the browser: what is left of each, what to do, a run that waits for one; and a real CLI's own word."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from scripts.install_clis import DEFAULT_FOLDER, cli_programs

from tests.e2e.browsing import open_page, sign_in, violations
from tests.e2e.served import Served, make_repository, wait_for
from tests.fakes.limits import LimitsDouble


@pytest.fixture
def double() -> Iterator[LimitsDouble]:
    with LimitsDouble() as double:
        yield double


@pytest.fixture
def served(tmp_path: Path, double: LimitsDouble) -> Iterator[Served]:
    node = shutil.which("node", path=os.environ.get("PATH")) or ""
    path = os.pathsep.join([str(Path(node).parent), os.defpath])
    server = Served(tmp_path, path=path, endpoints=json.dumps(double.endpoints))
    try:
        yield server
    finally:
        server.close()


def usage(five_hours: float, week: float) -> dict[str, Any]:
    soon, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (2, 90))
    return {
        "five_hour": {"utilization": five_hours, "resets_at": soon.isoformat()},
        "seven_day": {"utilization": week, "resets_at": later.isoformat()},
        "seven_day_opus": {"utilization": None, "resets_at": None},
    }


def sign_in_cli(home: Path, token: str = "a-token-of-a-plan") -> None:
    home.mkdir(parents=True, exist_ok=True)
    login = {"accessToken": token, "refreshToken": "r", "expiresAt": 4102444800000, "subscriptionType": "max"}
    (home / ".credentials.json").write_text(json.dumps({"claudeAiOauth": login}))


def test_accounts_show_what_is_left_and_what_to_do(
    served: Served, double: LimitsDouble, browser: Browser, tmp_path: Path
) -> None:
    double.answer("/api/oauth/usage", usage(82, 31))
    sign_in_cli(served.home / ".claude")
    served.start()
    served.run("accounts", "add", "spare", "--backend", "claude", "--home", str(tmp_path / "spare"))
    served.run("accounts", "add", "held", "--backend", "rehearsal", "--env", "ROLE=x")
    repository = make_repository(tmp_path / "repository", served.env)
    run = served.submit(repository, "fresh limit 3600\nsay done", account="held")
    wait_for(lambda: served.execution(run)["state"] == "waiting", what="the waiting")
    served.post("/api/limits/refresh")
    wait_for(lambda: served.get("/api/limits")["items"][0]["windows"], what="the limits")
    seen = open_page(browser, served, accept_downloads=True)
    page = seen.page
    sign_in(seen, served)
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="Accounts")).to_be_visible()
    own = page.get_by_role("listitem").filter(has_text="your own login")
    expect(own.get_by_role("meter", name="5 hours")).to_have_attribute("aria-valuenow", "82")
    expect(own.get_by_role("meter", name="Week", exact=True)).to_have_attribute("aria-valuenow", "31")
    expect(own.get_by_role("img", name="Week, Opus: not known")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text="spare")).to_contain_text("Not signed in")
    limited = page.get_by_role("listitem").filter(has_text="held")
    expect(limited).to_contain_text("Goes on in 1h 0m")
    limited.get_by_role("button", name="held").click()
    expect(page).to_have_url(f"{served.url}/accounts?account={served.execution(run)['account_key']}")
    assert violations(page) == []
    limited.get_by_role("button", name="Use it again now").click()
    assert served.ended(run)["state"] == "succeeded"
    spare = page.get_by_role("listitem").filter(has_text="spare")
    spare.get_by_role("button", name="spare").click()
    spare.get_by_role("button", name="Switch off").click()
    expect(spare).to_contain_text("Switched off")
    spare.get_by_role("button", name="Forget").click()
    spare.get_by_role("button", name="Really forget it?").click()
    expect(spare).to_have_count(0)
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{served.url}/insights?span=7d")
    limits = page.get_by_role("region", name="Limits")
    expect(limits.get_by_role("meter", name="5 hours")).to_have_attribute("aria-valuenow", "82")
    expect(limits.get_by_role("img", name=re.compile("^Used over the last week"))).to_be_visible()
    assert violations(page) == []
    with page.expect_download() as taken:
        limits.get_by_role("link", name="CSV of limits").click()
    header, *rows = csv.reader(Path(taken.value.path()).read_text().splitlines())
    assert header == ["account", "name", "window", "at", "used_percent", "resets_at"]
    assert ["claude:default", "five_hour", "82.0"] in [[row[0], row[2], row[4]] for row in rows]
    assert seen.wrong == []


def test_an_account_is_added_by_a_key_that_is_never_shown_again(served: Served, browser: Browser) -> None:
    served.start()
    seen = open_page(browser, served)
    page = seen.page
    sign_in(seen, served)
    page.goto(f"{served.url}/accounts")
    page.get_by_role("button", name="Add account").first.click()
    page.get_by_label("Name").fill("team")
    page.get_by_label("CLI").select_option("claude")
    page.get_by_label("a key").check()
    page.get_by_label("Variable").fill("ANTHROPIC_API_KEY")
    page.get_by_label("Key", exact=True).fill("sk-a-key-of-nobody")
    assert violations(page) == []
    page.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("listitem").filter(has_text="team")
    expect(row).to_contain_text("A key pays by use")
    assert "sk-a-key-of-nobody" not in page.content()
    assert "sk-a-key-of-nobody" not in json.dumps(served.get("/api/accounts"))
    assert seen.wrong == []


def token(**claims: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{body}.c2ln"


def real_codex() -> Path:
    programs = cli_programs(DEFAULT_FOLDER)
    if "codex" not in programs:
        if os.environ.get("CI") == "true":
            pytest.fail("the CLIs are not installed: python scripts/install_clis.py")
        pytest.skip("the CLIs are not installed: python scripts/install_clis.py")
    return programs["codex"]


def wham() -> dict[str, Any]:
    """What the provider says: 42 % of five hours, 17 % of the week."""
    window = {
        "used_percent": 42,
        "limit_window_seconds": 18000,
        "reset_after_seconds": 7200,
        "reset_at": int(time.time()) + 7200,
    }
    week = {**window, "used_percent": 17, "limit_window_seconds": 604800, "reset_at": int(time.time()) + 3 * 86400}
    limit = {"allowed": True, "limit_reached": False, "primary_window": window, "secondary_window": week}
    return {
        "user_id": "u",
        "account_id": "acc-1",
        "email": "dev@example.test",
        "plan_type": "plus",
        "rate_limit": limit,
    }


def codex_home(tmp_path: Path, double: LimitsDouble) -> Path:
    """Signed in to the double."""
    home = tmp_path / "codex-home"
    home.mkdir()
    claims = {"https://api.openai.com/auth": {"chatgpt_plan_type": "plus", "chatgpt_account_id": "acc-1"}}
    tokens = {
        "id_token": token(email="dev@example.test", **claims),
        "access_token": token(exp=4102444800, **claims),
        "refresh_token": "rt",
        "account_id": "acc-1",
    }
    auth = {"auth_mode": "chatgpt", "OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "2026-11-23T05:00:00Z"}
    (home / "auth.json").write_text(json.dumps(auth))
    config = f'chatgpt_base_url = "{double.url}/backend-api"\ncheck_for_update_on_startup = false\n'
    (home / "config.toml").write_text(config + "[analytics]\nenabled = false\n[features]\nplugins = false\n")
    return home


@pytest.mark.real
def test_a_real_cli_tells_its_limits_itself(served: Served, double: LimitsDouble, tmp_path: Path) -> None:
    """`codex app-server` asks the double by itself; Agented asks nobody."""
    program = real_codex()
    double.answer("/backend-api/wham/usage", wham())
    home = codex_home(tmp_path, double)
    served.start()
    served.run(
        *("accounts", "add", "work", "--backend", "codex", "--home", str(home)),
        *("--program", str(program)),
    )
    told = json.loads(served.run("limits", "--refresh", "--json"))
    assert [(one["account"], one["state"]) for one in told] == [("work", "ok")], told
    assert {one["name"]: one["used_percent"] for one in told[0]["windows"]} == {"18000s": 42.0, "604800s": 17.0}
    asked_by = {headers["user-agent"] for _, _, headers, _ in double.asked}
    assert asked_by and all(" " in agent for agent in asked_by), "the CLI asks, under its own name"
    account = served.get("/api/accounts")["items"][0]
    assert (account["email"], account["plan"], account["state"]) == ("dev@example.test", "plus", "ready")


@pytest.mark.real
def test_the_screen_of_a_real_cli_is_looked_at(tmp_path: Path) -> None:
    """`/status`, where the CLI cannot be asked and its token is for another address than the provider's."""
    program = tmp_path / "codex"
    program.write_text(f'#!/bin/sh\ncase " $* " in *" app-server "*) exit 2 ;; esac\nexec "{real_codex()}" "$@"\n')
    program.chmod(0o755)
    authority = tmp_path / "authority.pem"
    node = shutil.which("node", path=os.environ.get("PATH")) or ""
    path = os.pathsep.join([str(Path(node).parent), os.defpath])
    with LimitsDouble(authority) as double:
        account = {
            "id": "acc-1",
            "name": "Personal",
            "structure": "personal",
            "plan_type": "plus",
            "is_deactivated": False,
            "can_access_with_session": True,
            "is_fedramp_compliant_workspace": False,
            "workspace_backend_origin": double.url,
            "account_routing_override": "us",
            "sso_connection_name": None,
            "profile_picture_url": None,
        }
        accounts = {"accounts": [account], "default_account_id": "acc-1", "account_ordering": ["acc-1"]}
        double.answer("/backend-api/wham/accounts/check", accounts)
        double.answer("/backend-api/wham/usage", wham())
        home = codex_home(tmp_path, double)
        served = Served(tmp_path, path=path)
        try:
            served.start()
            served.run(
                *("accounts", "add", "work", "--backend", "codex", "--home", str(home), "--program", str(program)),
                *("--env", f"CODEX_CA_CERTIFICATE={authority}"),
            )
            served.post("/api/limits/refresh")
            windows = wait_for(lambda: served.get("/api/limits")["items"][0]["windows"], 60, "the screen")
            used = {window["name"]: window["used_percent"] for window in windows}
            assert used == {"18000s": 42, "604800s": 17}
            for window, after_s in zip(windows, (7200, 3 * 86400), strict=True):
                resets_at = datetime.fromisoformat(window["resets_at"]).timestamp()
                assert abs(resets_at - time.time() - after_s) < 200, window
            assert "trust_level" not in (home / "config.toml").read_text(), "no folder was made trusted for good"
        finally:
            served.close()
