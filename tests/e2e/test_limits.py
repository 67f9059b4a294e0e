"""A run that meets an account's limit goes on: on another account, or on the same one after the reset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agented.kit.errors import Conflict
from tests.e2e.served import Served, make_repository, wait_for


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path, limit_margin_s="0.2", retry_pauses_s="0.3,0.3")
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def repository(served: Served, tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repository", served.env)


def accounts(served: Served, *names: str) -> None:
    for name in names:
        served.run("accounts", "add", name, "--backend", "rehearsal", "--env", f"ROLE={name}")


def chain(*names: str) -> dict[str, Any]:
    return {"backend": None, "chain": [{"backend": "rehearsal", "account": name} for name in names]}


def waits(served: Served, run: str) -> dict[str, Any]:
    return dict(wait_for(lambda: (now := served.execution(run))["state"] == "waiting" and now, 20, "the waiting"))


def test_another_account_finishes_in_the_same_worktree(served: Served, repository: Path) -> None:
    accounts(served, "one", "two")
    script = "once a.txt write first.txt by one\nwhen ROLE=one limit 3600\nwrite second.txt by two"
    run = served.submit(repository, script, **chain("one", "two"))
    ended = served.ended(run)
    assert ended["state"] == "succeeded", ended["detail"]
    assert [(one["account"], one["reason"]) for one in ended["attempts"]] == [("one", "usage_limit"), ("two", None)]
    assert ended["account"] == "two"
    assert "one has reached its limit" in ended["choice"]
    files = {file["path"] for file in served.get(f"/api/executions/{run}/changes")["files"]}
    assert {"first.txt", "second.txt"} <= files
    said = "\n".join(served.lines(run))
    assert "Somebody else began with this task" in said and "first.txt" in said


def test_the_reset_is_waited_for_over_a_restart_and_the_session_goes_on(served: Served, repository: Path) -> None:
    accounts(served, "one")
    run = served.submit(repository, "fresh write begun.txt x\nfresh limit 5\nresumed say back again", account="one")
    waiting = waits(served, run)
    assert (waiting["reason"], waiting["account_key"].split(":")[0]) == ("limited", "rehearsal")
    assert waiting["resume_at"] is not None
    served.kill()
    served.start()
    assert served.execution(run)["state"] == "waiting"
    ended = served.ended(run)
    assert ended["state"] == "succeeded", ended["detail"]
    first, second = ended["attempts"]
    assert second["resumed"] and first["session_id"] == second["session_id"]
    assert "back again" in served.lines(run)
    assert second["started_at"] >= waiting["resume_at"]
    assert "begun.txt" in {file["path"] for file in served.get(f"/api/executions/{run}/changes")["files"]}


def test_runs_of_a_limited_account_start_nothing_until_its_reset(served: Served, repository: Path) -> None:
    accounts(served, "one")
    first = served.submit(repository, "fresh limit 4\nsay done", account="one")
    waits(served, first)
    others = [served.submit(repository, f"say other {number}", account="one") for number in range(10)]
    for run in others:
        waiting = waits(served, run)
        assert (waiting["reason"], waiting["attempt_count"]) == ("limited", 0)
    assert served.processes() == []
    free = served.submit(repository, "say not held")
    assert served.ended(free)["state"] == "succeeded"
    reset = served.execution(first)["resume_at"]
    for run in [first, *others]:
        ended = served.ended(run)
        assert ended["state"] == "succeeded", ended["detail"]
        assert ended["attempts"][-1]["started_at"] >= reset


def test_a_person_stops_the_waiting_and_keeps_what_was_done(served: Served, repository: Path) -> None:
    accounts(served, "one")
    run = served.submit(repository, "write begun.txt x\nlimit 3600", account="one")
    waits(served, run)
    stopped = served.post(f"/api/executions/{run}/cancel", {"reason": "not today"})
    assert (stopped["state"], stopped["reason"], stopped["detail"]) == ("cancelled", "cancelled", "not today")
    assert [file["path"] for file in served.get(f"/api/executions/{run}/changes")["files"]] == ["begun.txt"]
    project = served.get("/api/projects")["items"][0]["id"]
    assert served.get(f"/api/projects/{project}/worktrees")["items"] == []


def test_a_person_says_go_on_now(served: Served, repository: Path) -> None:
    accounts(served, "one")
    run = served.submit(repository, "fresh limit 3600\nsay done", account="one")
    waits(served, run)
    served.post(f"/api/executions/{run}/resume")
    ended = served.ended(run)
    assert (ended["state"], ended["attempt_count"]) == ("succeeded", 2)
    # It went well after the wall was met: nobody else is held by it.
    assert served.ended(served.submit(repository, "say free", account="one"))["state"] == "succeeded"
    with pytest.raises(Conflict):
        served.post(f"/api/executions/{run}/resume")


def test_who_may_not_wait_fails_with_the_cause(served: Served, repository: Path) -> None:
    accounts(served, "one")
    met = served.ended(served.submit(repository, "limit 3600", account="one", on_limit="fail"))
    assert (met["state"], met["reason"]) == ("failed", "usage_limit")
    held = served.ended(served.submit(repository, "say no", account="one", on_limit="fail"))
    assert (held["state"], held["reason"], held["attempt_count"]) == ("failed", "usage_limit", 0)


def test_three_accounts_with_staggered_resets(served: Served, repository: Path) -> None:
    """Each hits its wall; the first to be renewed takes up its own session."""
    accounts(served, "one", "two", "three")
    script = "\n".join(
        [
            "fresh when ROLE=one limit 3600",
            "fresh when ROLE=two limit 4",
            "fresh when ROLE=three limit 3600",
            "resumed say finished",
        ]
    )
    run = served.submit(repository, script, **chain("one", "two", "three"))
    ended = served.ended(run)
    assert ended["state"] == "succeeded", ended["detail"]
    assert [one["account"] for one in ended["attempts"]] == ["one", "two", "three", "two"]
    assert ended["attempts"][1]["session_id"] == ended["attempts"][3]["session_id"]
    assert "finished" in served.lines(run)


def test_an_account_is_found_where_none_is_named(served: Served, repository: Path) -> None:
    """The person's own login comes first; at its wall the others of the backend are there."""
    accounts(served, "one")
    run = served.submit(repository, "when ROLE=one say I am one\nonce met.txt limit 3600")
    ended = served.ended(run)
    assert ended["state"] == "succeeded", ended["detail"]
    assert [one["account"] for one in ended["attempts"]] == ["default", "one"]
    assert "I am one" in served.lines(run)


def test_a_held_run_takes_no_place_of_its_project(served: Served, repository: Path) -> None:
    accounts(served, "one")
    held = [served.submit(repository, f"say {number}\nlimit 3600", account="one") for number in range(2)]
    served.terminate()
    served.env["AGENTED_PROJECT_LIMIT"] = "1"
    served.start()
    for run in held:
        waits(served, run)
    assert served.ended(served.submit(repository, "say room"))["state"] == "succeeded"


def test_accounts_are_managed_from_the_command_line(served: Served, repository: Path) -> None:
    served.run("accounts", "add", "one", "--backend", "rehearsal", "--env", "ROLE=one")
    run = served.submit(repository, "fresh limit 3600\nsay done", account="one")
    wait_for(lambda: served.execution(run)["state"] == "waiting", 20, "the waiting")
    assert "limit" in served.run("accounts", "show", "one").lower()
    assert "is used again" in served.run("accounts", "lift", "one")
    assert served.ended(run)["state"] == "succeeded"
    served.run("accounts", "disable", "one")
    served.run("accounts", "rename", "one", "two")
    told = json.loads(served.run("accounts", "show", "two", "--json"))
    assert (told["name"], told["disabled"], told["state"]) == ("two", True, "disabled")
    served.run("accounts", "enable", told["key"])
    assert served.get("/api/accounts")["items"][0]["disabled"] is False
    refused = served.call("accounts", "disable", "nobody")
    assert refused.returncode != 0 and "There is no account 'nobody'" in refused.stderr
