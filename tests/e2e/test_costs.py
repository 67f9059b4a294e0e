"""What was spent, asked of the whole server: what its homes hold, as JSON, as a table, on the command line."""

from __future__ import annotations

import csv
import io
import json
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agented.kit.errors import AgentedError, NotFound
from agented.kit.http import JsonClient
from tests.e2e.served import Served, wait_for
from tests.fakes.sessions import COLUMNS, Tree, small


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return small(tmp_path / "home")


@pytest.fixture
def served(tmp_path: Path, tree: Tree) -> Iterator[Served]:
    server = Served(tmp_path, time_zone="UTC", watch_sessions="false")
    try:
        yield server.start()
    finally:
        server.close()


def _rows(answer: dict[str, Any]) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    return {
        (one["source"], one["model"], one["day"]): (
            *(one[name] for name in COLUMNS),
            None if one["cost_usd"] is None else Decimal(one["cost_usd"]),
        )
        for one in answer["items"]
    }


def test_the_server_tells_what_was_spent(served: Served, tree: Tree, tmp_path: Path) -> None:
    with JsonClient(served.url, served.token) as client:
        answer = wait_for(lambda: (told := client.get("/api/costs"))["collected_at"] and told, what="the first reading")
        # Exactly: no fraction of a dollar is lost on the way.
        assert _rows(answer) == tree.truth.rows()
        assert answer["totals"]["messages"] == sum(one["messages"] for one in answer["items"])
        assert Decimal(answer["totals"]["cost_usd"]) == sum(Decimal(one["cost_usd"] or 0) for one in answer["items"])
        assert answer["totals"]["unpriced_messages"] > 0
        assert answer["prices"]["version"].startswith("litellm-")

        home = tmp_path / "account"
        served.run("accounts", "add", "mine", "--backend", "claude", "--home", str(home))
        path = tree.claude(2, extras=False)
        (tree.home / ".claude").rename(home)
        assert client.post("/api/costs/collect", {})["added"] == 2
        by_account = client.get("/api/costs", group="account", source="claude")["items"]
        assert sum(one["messages"] for one in by_account if one["account"] != "claude:default") == 2
        assert path.stem in {one["session"] for one in client.get("/api/costs", group="session")["items"]}
        assert _rows(client.get("/api/costs", group="source,model,day")) == tree.truth.rows()

        with pytest.raises(AgentedError, match="cannot be told apart"):
            client.get("/api/costs", group="colour")
        with pytest.raises(AgentedError):
            client.get("/api/costs", since="yesterday")

    table = _table(served, "/api/costs?group=day", accept="text/csv")
    assert table == _table(served, "/api/costs?group=day&format=csv")
    assert [row["day"] for row in table] == sorted({key[2] for key in tree.truth})
    assert sum(int(row["messages"]) for row in table) == sum(row[0] for row in tree.truth.rows().values())

    assert "unpriced" in served.run("costs")
    told = json.loads(served.run("costs", "--json", "--group", "source"))
    assert [one["source"] for one in told["items"]] == ["claude", "codex", "gemini", "opencode"]


def _table(served: Served, path: str, accept: str = "*/*") -> list[dict[str, str]]:
    headers = {"Authorization": f"Bearer {served.token}", "Accept": accept}
    with urllib.request.urlopen(urllib.request.Request(served.url + path, headers=headers)) as answer:
        assert answer.headers["content-type"].startswith("text/csv")
        return list(csv.DictReader(io.StringIO(answer.read().decode())))


def test_what_is_spent_elsewhere_is_heard_of(tmp_path: Path, tree: Tree) -> None:
    server = Served(tmp_path, time_zone="UTC")
    try:
        server.start()
        before = wait_for(lambda: server.get("/api/costs", group="source")["items"], what="the first reading")
        tree.claude(1, extras=False)
        wait_for(lambda: server.get("/api/costs", group="source")["items"] != before, 30, "what was not asked for")
        viewer = server.run("token", "--role", "viewer").strip()
        wait_for(lambda: server.get("/api/transcripts")["items"], 30, "the transcripts")
        with JsonClient(server.url, viewer) as client:
            assert client.get("/api/transcripts")["items"] == [], "people's own sessions are not for viewers"
            for path in ("", "/items"):
                with pytest.raises(NotFound):
                    client.get(f"/api/transcripts/1{path}")
    finally:
        server.close()
