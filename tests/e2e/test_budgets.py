"""Budgets act while a run works: it is stopped, or held until a person lets it go on."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.served import Served, wait_for


def put(served: Served, name: str, **more: str) -> None:
    with served.client() as client:
        client.put(f"/api/budgets/{name}", {"scope": "all", "period": "day", **more})


def test_a_run_that_spends_more_than_it_may_is_stopped(served: Served, repository: Path) -> None:
    run = served.submit(repository, "tokens 1000 50 0.40\nsleep 1.5\ntokens 1000 50 0.70\nhang", max_cost_usd=1)
    ended = served.ended(run)
    assert (ended["state"], ended["reason"]) == ("failed", "budget_exhausted"), ended["detail"]
    assert "$1.1" in ended["detail"] and served.processes() == []


def test_a_spent_budget_stops_who_runs_and_holds_who_comes(served: Served, repository: Path) -> None:
    put(served, "day", hard_usd="1.00")
    run = served.submit(repository, "write kept.txt x\ntokens 1000 50 1.25\nhang")
    ended = served.ended(run)
    assert (ended["state"], ended["reason"]) == ("failed", "over_budget"), ended["detail"]
    assert "day" in ended["detail"] and served.processes() == []
    assert [file["path"] for file in served.get(f"/api/executions/{run}/changes")["files"]] == ["kept.txt"]
    held = served.submit(repository, "say hello")
    waiting = wait_for(lambda: (now := served.execution(held))["state"] == "waiting" and now, 20, "the waiting")
    assert (waiting["reason"], waiting["attempt_count"]) == ("budget", 0)
    assert waiting["resume_at"] is not None
    standing = served.get("/api/budgets")["items"][0]["standing"][0]
    assert (standing["spent_usd"], standing["state"]) == ("1.25", "spent")
    served.post(f"/api/executions/{held}/resume")
    assert served.ended(held)["state"] == "succeeded", "a person may let it go on"


def test_a_budget_may_ask_a_person(served: Served, repository: Path) -> None:
    put(served, "ask", hard_usd="1.00", period="run", on_hard="ask")
    run = served.submit(repository, "fresh tokens 1000 50 1.25\nfresh hang\nresumed say done")
    waiting = wait_for(lambda: (now := served.execution(run))["state"] == "waiting" and now, 20, "the waiting")
    assert (waiting["reason"], waiting["resume_at"]) == ("budget_ask", None)
    assert served.processes() == []
    served.kill()
    served.start()
    assert served.execution(run)["state"] == "waiting"
    served.post(f"/api/executions/{run}/resume")
    ended = served.ended(run)
    assert ended["state"] == "succeeded", ended["detail"]
    assert [one["resumed"] for one in ended["attempts"]] == [False, True]


def test_what_a_cli_says_while_it_works_is_priced(served: Served, repository: Path, tmp_path: Path) -> None:
    """Its own sum comes at the end; each answer before tells its tokens, and the table of prices what they cost."""
    usage = {"input_tokens": 400_000, "output_tokens": 1, "cache_read_input_tokens": 0}
    message = {"id": "msg_1", "role": "assistant", "model": "claude-opus-4-5", "usage": usage, "content": []}
    lines = [
        {"type": "system", "subtype": "init", "session_id": "s-1", "model": "claude-opus-4-5", "tools": []},
        {"type": "assistant", "message": message, "session_id": "s-1"},
        {"type": "assistant", "message": message, "session_id": "s-1"},
    ]
    program = tmp_path / "talking"
    said = "\n".join(json.dumps(line) for line in lines)
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexec sleep 1000\n")
    program.chmod(0o755)
    home = str(tmp_path / "home-of-it")
    served.run("accounts", "add", "work", "--backend", "claude", "--home", home, "--program", str(program))
    run = served.submit(repository, "say hello", "claude", account="work", max_cost_usd=1.5)
    ended = served.ended(run)
    assert (ended["state"], ended["reason"]) == ("failed", "budget_exhausted"), ended["detail"]
    assert "$2.00" in ended["detail"], "the same answer twice is one"
    assert served.processes() == []


def test_a_run_that_takes_more_of_a_window_than_it_may_is_stopped(served: Served, repository: Path) -> None:
    put(served, "share", period="run", window="session", hard_percent="20")
    run = served.submit(repository, "write kept.txt x\nused 10\nsleep 1.2\nused 35\nhang")
    ended = served.ended(run)
    assert (ended["state"], ended["reason"]) == ("failed", "over_budget"), ended["detail"]
    assert "20 % of the session window" in ended["detail"] and "25 %" in ended["detail"]
    assert served.processes() == []


def test_what_runs_of_a_bot_take_is_learned(served: Served, repository: Path, tmp_path: Path) -> None:
    bot = {
        "kind": "Bot",
        "name": "review",
        "chain": [{"backend": "rehearsal"}],
        "projects": [str(repository)],
        "prompt": "used 10\nsleep 1.2\nused 15\nsleep 0.2",
    }
    (tmp_path / "bot.yaml").write_text(json.dumps(bot))
    served.run("bots", "apply", str(tmp_path / "bot.yaml"))
    for number in range(3):
        assert served.get("/api/budgets/learned")["items"] == [], f"after {number} runs"
        [run] = served.post("/api/bots/review/run")["executions"]
        served.ended(run)
    (one,) = wait_for(lambda: served.get("/api/budgets/learned", bot="review")["items"], 10, "what was learned")
    assert (one["backend"], one["window"], one["percent"], one["runs"]) == ("rehearsal", "rehearsal", 5.0, 3)
