"""Takes the pictures of the docs from a demo of its own: `make screenshots`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.e2e.served import Served, make_repository, wait_for  # noqa: E402
from tests.fakes.limits import LimitsDouble  # noqa: E402
from tests.fakes.sessions import Tree  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
DEMO = [
    "Add a health endpoint\nsay I read the routes first.\nwrite health.py HEALTHY = True\ntokens 18200 940",
    "Find why the nightly build is slow\nsay **Most of the time goes into linking.**\nlines 220",
    "Update the changelog\nwrite CHANGELOG.md Everything is new.\nstderr no tag found, taking all commits",
    "Fix the flaky login test\nsay The test needs a browser that is not there.\nexit 3",
    "Watch the migration\nlines 4000 30",
]


TALK: list[dict[str, object]] = [
    {
        "type": "thinking",
        "thinking": "It fails only sometimes, so it is probably about time. I look at it first.",
    },
    {"type": "text", "text": "I'll look at the **failing test**, then at what it waits for."},
    {"type": "tool_use", "name": "Read", "input": {"file_path": "tests/test_login.py", "limit": 40}},
    {"type": "tool_use", "name": "Grep", "input": {"pattern": "sleep\\(", "path": "tests"}},
    {
        "type": "tool_use",
        "name": "Edit",
        "input": {
            "file_path": "tests/test_login.py",
            "old_string": "time.sleep(2)\nassert page.title() == 'Home'",
            "new_string": "wait_for(lambda: page.title() == 'Home')",
        },
    },
    {"type": "tool_use", "name": "Bash", "input": {"command": "pytest -q tests/test_login.py"}},
    {
        "type": "text",
        "text": "The test slept for two seconds and hoped. It now waits for what it wants to see:\n\n"
        "1. `wait_for` gives up after 10 s\n2. the other 14 tests were not touched",
    },
]
ANSWERS = [
    "import time\n\ndef test_login(page): ...",
    "tests/test_login.py:12: time.sleep(2)",
    "ok",
    "15 passed in 3.1s",
]
TEST = "def test_login(page):\n    page.open()\n"
BEFORE = f"import time\n\n\n{TEST}    time.sleep(2)\n    assert page.title() == 'Home'\n"
AFTER = f"from waiting import wait_for\n\n\n{TEST}    wait_for(lambda: page.title() == 'Home')\n"


def talking_cli(folder: Path) -> Path:
    """A program that says what a coding CLI would, and does it."""
    session = "0b9d4c0e-5e0f-4a2e-9d52-6d1f5a3a7c10"
    lines: list[dict[str, object]] = [
        {"type": "system", "subtype": "init", "session_id": session, "model": "sonnet", "tools": []}
    ]
    answers = iter(ANSWERS)
    for number, part in enumerate(TALK):
        call = f"toolu_{number}"
        content = {**part, "id": call} if part["type"] == "tool_use" else part
        message: dict[str, object] = {
            "id": f"msg_{number}",
            "role": "assistant",
            "model": "sonnet",
            "content": [content],
        }
        lines.append({"type": "assistant", "message": message, "session_id": session})
        if part["type"] == "tool_use":
            result = {"type": "tool_result", "tool_use_id": call, "content": next(answers), "is_error": False}
            told: dict[str, object] = {
                "type": "user",
                "message": {"role": "user", "content": [result]},
                "session_id": session,
            }
            lines.append(told)
    usage = {"input_tokens": 2100, "output_tokens": 640, "cache_read_input_tokens": 18400}
    end: dict[str, object] = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": TALK[-1]["text"],
        "session_id": session,
    }
    lines.append({**end, "usage": usage, "total_cost_usd": 0.0412})
    said = folder / "said"
    said.write_text("\n".join(map(json.dumps, lines)) + "\n")
    (folder / "after").write_text(AFTER)
    program = folder / "talking"
    program.write_text(f"#!/bin/sh\ncp {folder}/after tests/test_login.py\ncat {said}\n")
    program.chmod(0o755)
    return program


def add_talk(served: Served, folder: Path) -> str:
    repository = make_repository(folder / "shop", served.env)
    (repository / "tests").mkdir()
    (repository / "tests" / "test_login.py").write_text(BEFORE)
    for words in (["add", "."], ["-c", "user.name=T", "-c", "user.email=t@example.test", "commit", "-qm", "tests"]):
        subprocess.run(["git", *words], cwd=repository, env=served.env, check=True)
    served.run(
        *("accounts", "add", "work", "--backend", "claude", "--home", str(folder / "work")),
        *("--program", str(talking_cli(folder))),
    )
    run = served.submit(repository, "Make the login test reliable", "claude", account="work")
    served.ended(run)
    return run


def sign_in_clis(home: Path, double: LimitsDouble) -> None:
    """Two logins of a person, and what their providers say of them."""
    now = datetime.now(UTC)
    soon, later = now + timedelta(minutes=74), now + timedelta(days=3, hours=5)
    login = {"accessToken": "shown", "refreshToken": "shown", "expiresAt": 4102444800000, "subscriptionType": "max"}
    windows = {
        "five_hour": {"utilization": 63, "resets_at": soon.isoformat()},
        "seven_day": {"utilization": 38, "resets_at": later.isoformat()},
        "seven_day_opus": {"utilization": 81, "resets_at": later.isoformat()},
    }
    (home / ".claude").mkdir(parents=True)
    (home / ".claude" / ".credentials.json").write_text(json.dumps({"claudeAiOauth": login}))
    double.answer("/api/oauth/usage", windows)
    week = {"used_percent": 12, "limit_window_seconds": 604_800, "reset_at": int(later.timestamp())}
    hours = {"used_percent": 4, "limit_window_seconds": 18_000, "reset_at": int(soon.timestamp())}
    limit = {"allowed": True, "limit_reached": False, "primary_window": hours, "secondary_window": week}
    (home / ".codex").mkdir()
    tokens = {"access_token": "shown", "refresh_token": "shown", "account_id": "shown"}
    (home / ".codex" / "auth.json").write_text(json.dumps({"auth_mode": "chatgpt", "tokens": tokens}))
    double.answer("/backend-api/wham/usage", {"plan_type": "plus", "rate_limit": limit})


def spend(home: Path) -> None:
    """Sessions of the last weeks."""
    tree = Tree(home, seed=3)
    begin = datetime.now(UTC) - timedelta(days=26)
    tree.tick((begin - tree.tick()).total_seconds())
    kinds: list[Callable[[int], Path]] = [tree.claude, tree.claude, tree.codex, tree.gemini]
    while (at := tree.tick(tree.rng.randint(20_000, 60_000))) < datetime.now(UTC) - timedelta(hours=20):
        if at.weekday() < 5:
            write = tree.rng.choice(kinds)
            write(tree.rng.randint(4, 30))


def add_limited(served: Served, folder: Path) -> None:
    served.run("accounts", "add", "night shift", "--backend", "rehearsal", "--env", "SHIFT=night")
    repository = make_repository(folder / "docs", served.env)
    run = served.submit(repository, "Translate the manual\nfresh limit 3600\nsay done", account="night shift")
    wait_for(lambda: served.execution(run)["state"] == "waiting", what="the waiting")


def seed(served: Served) -> dict[str, str]:
    served.post("/api/projects/sample", {})
    project = served.get("/api/projects")["items"][0]["id"]
    runs = {}
    for prompt in DEMO:
        body = {"project": project, "backend": "rehearsal", "prompt": prompt}
        run = runs[prompt.partition("\n")[0]] = served.post("/api/executions", body)["id"]
        if not prompt.startswith("Watch"):
            served.ended(run)
    wait_for(lambda: served.get(f"/api/executions/{run}")["lines"] > 90, what="lines of the running one")
    return runs


def shoot(page: Page, url: str, name: str, scheme: str) -> None:
    page.goto(url)
    page.locator("h1").wait_for()
    page.get_by_text("Reading the").wait_for(state="detached")
    page.wait_for_timeout(800)
    page.screenshot(path=PICTURES / f"{name}-{scheme}.png")


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("The pictures need chromium: sudo apt-get install chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="agented-demo-") as folder,
        LimitsDouble() as double,
        sync_playwright() as playwright,
    ):
        served = Served(Path(folder), endpoints=json.dumps(double.endpoints))
        sign_in_clis(served.home, double)
        spend(served.home)
        served.start()
        try:
            talk = add_talk(served, Path(folder))
            runs = seed(served)
            add_limited(served, Path(folder))
            served.post("/api/limits/refresh")
            served.post("/api/costs/collect")
            wait_for(lambda: served.get("/api/costs")["items"], what="the costs")
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"], env={"HOME": folder, "PATH": "/usr/bin:/bin"}
            )
            context = browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            page.goto(served.sign_in_link())
            page.get_by_role("heading", name="Home").wait_for()
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                shoot(page, f"{served.url}/runs", "runs", scheme)
                shoot(page, f"{served.url}/runs/{runs['Watch the migration']}", "run", scheme)
                shoot(page, f"{served.url}/runs/{talk}?view=conversation", "conversation", scheme)
                shoot(page, f"{served.url}/runs/{talk}?view=changes", "changes", scheme)
                shoot(page, f"{served.url}/accounts", "accounts", scheme)
                shoot(page, f"{served.url}/insights", "insights", scheme)
            browser.close()
        finally:
            served.close()


if __name__ == "__main__":
    main()
