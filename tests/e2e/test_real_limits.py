"""Real CLIs at a limit of their plan, in mid-run: the work goes on elsewhere, or in its session after the reset."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripts.install_clis import DEFAULT_FOLDER, cli_programs

from tests.e2e.served import Served, make_repository, wait_for
from tests.fakes.clis import account_for, model_for
from tests.fakes.provider import TOOL_FILE, Provider

pytestmark = pytest.mark.real


class Bench:
    def __init__(self, served: Served, provider: Provider, repository: Path, folder: Path) -> None:
        self.served = served
        self.provider = provider
        self.repository = repository
        self._folder = folder

    def account(self, cli: str, scenario: str) -> dict[str, Any]:
        """Adds an account; gives it as a step of a chain."""
        home = self._folder / f"{cli}-{scenario}"
        home.mkdir(mode=0o700)
        setup = account_for(cli, self.provider.url, scenario, home)
        env = [word for name, value in setup.env.items() for word in ("--env", f"{name}={value}")]
        program = str(cli_programs(DEFAULT_FOLDER)[cli])
        self.served.run(
            "accounts", "add", home.name, "--backend", cli, "--home", str(setup.home), "--program", program, *env
        )
        return {"backend": cli, "account": home.name, "model": model_for(cli)}

    def start(self, *chain: dict[str, Any]) -> str:
        body = {"project": str(self.repository), "prompt": "Please do the task.", "chain": list(chain)}
        return str(self.served.post("/api/executions", body)["id"])

    def has_changed(self, run: str) -> list[str]:
        return [file["path"] for file in self.served.get(f"/api/executions/{run}/changes")["files"]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    if len(cli_programs(DEFAULT_FOLDER)) != 4:
        if os.environ.get("CI") == "true":
            pytest.fail("the CLIs are not installed: python scripts/install_clis.py")
        pytest.skip("the CLIs are not installed: python scripts/install_clis.py")
    node = shutil.which("node", path=os.environ.get("PATH")) or ""
    path = os.pathsep.join([str(Path(node).parent), os.defpath])
    served = Served(tmp_path, path=path, limit_margin_s="1", limit_unknown_s="5")
    try:
        served.start()
        with Provider() as provider:
            yield Bench(served, provider, make_repository(tmp_path / "repository", served.env), tmp_path)
            served.close()
    finally:
        served.close()


@pytest.mark.parametrize(("first", "second"), [("claude", "claude"), ("claude", "codex"), ("codex", "claude")])
def test_another_account_finishes_in_the_same_worktree(bench: Bench, first: str, second: str) -> None:
    bench.provider.wall_s = 3600
    run = bench.start(bench.account(first, "wall"), bench.account(second, "plain"))
    ended = bench.served.ended(run, 150)
    assert ended["state"] == "succeeded", ended["detail"]
    assert [(one["backend"], one["reason"]) for one in ended["attempts"]] == [(first, "usage_limit"), (second, None)]
    assert TOOL_FILE in bench.has_changed(run), "what the first one made is still there"
    told = [seen for seen in bench.provider.requests if "Somebody else began with this task" in str(seen.body)]
    assert told and TOOL_FILE in str(told[0].body)
    assert bench.served.processes() == []


# The fourth CLI waits by itself for a limit as short as a test can wait for.
@pytest.mark.parametrize("cli", ["claude", "codex", "opencode"])
def test_the_session_goes_on_after_the_reset(bench: Bench, cli: str) -> None:
    bench.provider.wall_s = 8
    run = bench.start(bench.account(cli, "wall"))
    waiting = wait_for(lambda: (now := bench.served.execution(run))["state"] == "waiting" and now, 60, "the waiting")
    assert waiting["reason"] == "limited", waiting["detail"]
    bench.served.kill()
    bench.served.start()
    ended = bench.served.ended(run, 200)
    assert ended["state"] == "succeeded", ended["detail"]
    first, last = ended["attempts"][0], ended["attempts"][-1]
    assert (first["reason"], last["resumed"]) == ("usage_limit", True)
    assert first["session_id"] == last["session_id"]
    assert TOOL_FILE in bench.has_changed(run)
    assert bench.served.processes() == []
