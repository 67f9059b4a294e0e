"""The four real CLIs from npm, each through the whole server, against a loopback provider."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from scripts.install_clis import DEFAULT_FOLDER, cli_programs

from tests.e2e.served import Served, make_repository, wait_for
from tests.fakes.clis import account_for, model_for
from tests.fakes.provider import (
    ANSWER_AFTER_TOOL,
    ANTHROPIC_TOKENS,
    CHAT_TOKENS,
    GEMINI_TOKENS,
    RESPONSES_TOKENS,
    SLOW_TOOL_FILE,
    TOOL_FILE,
    Provider,
)

CLIS = ("claude", "codex", "gemini", "opencode")
TOKENS = {"claude": ANTHROPIC_TOKENS, "codex": RESPONSES_TOKENS, "gemini": GEMINI_TOKENS, "opencode": CHAT_TOKENS}
pytestmark = pytest.mark.real


class Bench:
    """A server, a provider and a repository; accounts are added per CLI and scenario."""

    def __init__(self, served: Served, provider: Provider, repository: Path, folder: Path) -> None:
        self.served = served
        self.provider = provider
        self.repository = repository
        self._folder = folder

    def run(self, cli: str, scenario: str, **more: object) -> str:
        home = self._folder / f"{cli}-{scenario}"
        home.mkdir(mode=0o700)
        setup = account_for(cli, self.provider.url, scenario, home)
        env = [word for name, value in setup.env.items() for word in ("--env", f"{name}={value}")]
        program = cli_programs(DEFAULT_FOLDER)[cli]
        self.served.run(
            "accounts", "add", home.name, "--backend", cli, "--home", str(setup.home), "--program", str(program), *env
        )
        body: dict[str, object] = {"account": home.name, "model": model_for(cli), "permission": "edit"} | more
        return self.served.submit(self.repository, "Please do the task.", cli, **body)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    if len(cli_programs(DEFAULT_FOLDER)) != len(CLIS):
        if os.environ.get("CI") == "true":
            pytest.fail("the CLIs are not installed: python scripts/install_clis.py")
        pytest.skip("the CLIs are not installed: python scripts/install_clis.py")
    node = shutil.which("node", path=os.environ.get("PATH")) or ""
    served = Served(tmp_path, path=os.pathsep.join([str(Path(node).parent), os.defpath]))
    try:
        served.start()
        with Provider() as provider:
            yield Bench(served, provider, make_repository(tmp_path / "repository", served.env), tmp_path)
            served.close()
    finally:
        served.close()


@pytest.mark.parametrize("cli", CLIS)
def test_a_tool_call_really_writes_a_file(bench: Bench, cli: str) -> None:
    run = bench.run(cli, "tool")
    ended = bench.served.ended(run, 120)
    assert (ended["state"], ended["reason"], ended["exit_code"]) == ("succeeded", None, 0), ended["detail"]
    assert ended["session_id"]
    one, used = TOKENS[cli], ended["tokens"]
    assert (used["input"], used["output"], used["cache_read"]) == (2 * one.input, 2 * one.output, 2 * one.cache_read)
    changes = bench.served.get(f"/api/executions/{run}/changes")
    assert TOOL_FILE in [file["path"] for file in changes["files"]]
    events = bench.served.events(run)
    kinds = [event["type"] for event in events]
    assert kinds.index("session_started") < kinds.index("tool_called") < kinds.index("tool_returned")
    assert ANSWER_AFTER_TOOL in "".join(event["text"] for event in events if event["type"] == "said")
    assert bench.served.processes() == []


ENDS = [
    ("claude", "ratelimit", "limited", "rate_limited"),
    ("codex", "ratelimit", "limited", "rate_limited"),
    ("gemini", "ratelimit", "limited", "rate_limited"),
    ("claude", "usagelimit", "limited", "usage_limit"),
    ("codex", "usagelimit", "limited", "usage_limit"),
    ("gemini", "usagelimit", "limited", "usage_limit"),
    ("opencode", "usagelimit", "limited", "usage_limit"),
    ("claude", "auth", "logged_out", "bad_credentials"),
    ("codex", "auth", "logged_out", "bad_credentials"),
    ("gemini", "auth", "logged_out", "bad_credentials"),
    ("opencode", "auth", "logged_out", "bad_credentials"),
    ("claude", "overloaded", "failed", "overloaded"),
    ("codex", "overloaded", "failed", "overloaded"),
    ("gemini", "overloaded", "failed", "overloaded"),
    ("codex", "disconnect", "failed", "disconnected"),
    ("gemini", "disconnect", "failed", "disconnected"),
    # The fourth CLI tries these again for a minute and a half; its recordings tell how that ends.
]


@pytest.mark.parametrize(("cli", "scenario", "verdict", "reason"), ENDS)
def test_every_end_is_told_rightly(bench: Bench, cli: str, scenario: str, verdict: str, reason: str) -> None:
    run = bench.run(cli, scenario, on_limit="fail")
    ended = bench.served.ended(run, 150)
    attempt = ended["attempts"][-1]
    assert (ended["state"], attempt["verdict"], ended["reason"]) == ("failed", verdict, reason), ended["detail"]
    assert ended["detail"]
    assert bench.served.processes() == []


def test_a_cli_that_recovers_from_a_broken_connection_succeeds(bench: Bench) -> None:
    run = bench.run("claude", "disconnect")
    assert bench.served.ended(run, 120)["state"] == "succeeded"


@pytest.mark.parametrize("cli", CLIS)
def test_a_cancel_in_a_running_tool_leaves_nothing_alive(bench: Bench, cli: str) -> None:
    run = bench.run(cli, "slowtool")
    workspaces = bench.served.data / "workspaces"
    wait_for(lambda: list(workspaces.glob(f"*/{SLOW_TOOL_FILE}")), 60, "the running tool")
    cancelled = bench.served.post(f"/api/executions/{run}/cancel", {})
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled")
    assert bench.served.processes() == []


@pytest.mark.parametrize("cli", CLIS)
def test_a_server_killed_in_mid_run_loses_nothing(bench: Bench, cli: str) -> None:
    run = bench.run(cli, "slow")
    wait_for(lambda: bench.served.processes(), 30, "the CLI")
    wait_for(lambda: len(bench.served.lines(run)) >= 1 or bench.served.execution(run)["state"] == "running", 30)
    bench.served.kill()
    assert bench.served.processes() != []
    bench.served.start()
    ended = bench.served.ended(run, 200)
    assert (ended["state"], ended["attempt_count"]) == ("succeeded", 1), ended["detail"]
    sequence = [event["seq"] for event in bench.served.events(run)]
    assert sequence == list(range(1, len(sequence) + 1))
    assert [event["type"] for event in bench.served.events(run)].count("session_started") == 1


@pytest.mark.parametrize("cli", CLIS)
def test_read_permission_writes_nothing(bench: Bench, cli: str) -> None:
    run = bench.run(cli, "tool", permission="read")
    bench.served.ended(run, 120)
    assert bench.served.get(f"/api/executions/{run}/changes")["files"] == []
