"""Runs that begin when a login has expired: its CLI renews it once, and nobody is logged out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.served import Served, make_repository, wait_for
from tests.fakes import standin
from tests.fakes.tokens import TokenEndpoint

RUNS = 10


@pytest.fixture
def tokens() -> Iterator[TokenEndpoint]:
    with TokenEndpoint("refresh-token-1") as endpoint:
        yield endpoint


@pytest.fixture
def served(tmp_path: Path, tokens: TokenEndpoint) -> Iterator[Served]:
    server = Served(tmp_path, host_limit="10", account_limit="10", project_limit="10")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.mark.parametrize("left_s", [-1, 60])
def test_ten_runs_at_the_moment_of_expiry_renew_the_login_once(
    served: Served, tokens: TokenEndpoint, tmp_path: Path, left_s: float
) -> None:
    repository = make_repository(tmp_path / "repository", served.env)
    home = tmp_path / "work"
    standin.write_login(home, "access-token-1", "refresh-token-1", time.time() + left_s)
    served.run(
        *("accounts", "add", "work", "--backend", "claude", "--home", str(home)),
        *("--program", str(standin.install(tmp_path / "bin")), "--env", f"STANDIN_TOKENS={tokens.url}"),
    )
    runs = [served.submit(repository, f"task {number}", "claude", account="work") for number in range(RUNS)]

    def waiting() -> int:
        found = [served.execution(run) for run in runs]
        return sum(1 for one in found if (one["state"], one["reason"]) == ("waiting", "account_refreshing"))

    wait_for(lambda: waiting() == RUNS - 1, 50, "the waiting of all but one")
    assert tokens.redeemed == []
    tokens.answers.set()
    ended = [served.ended(run) for run in runs]
    assert [one["state"] for one in ended] == ["succeeded"] * RUNS, [one["detail"] for one in ended]
    assert tokens.redeemed == [("standin/1", "refresh-token-1")], "once, by the CLI and not by us"
    assert tokens.refused == []
    assert all(len(one["attempts"]) == 1 for one in ended)
    login = standin.read_stored(home)
    assert login is not None and login["refreshToken"] == "refresh-token-2"
    assert served.get("/api/accounts")["items"][0]["state"] == "ready"
