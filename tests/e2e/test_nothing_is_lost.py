"""Killed servers, killed keepers, both: nothing accepted, printed or ended is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil

from agented.kit.http import JsonClient
from tests.e2e.served import Served, wait_for


def numbered(served: Served, run: str) -> list[str]:
    return [line for line in served.lines(run) if line.startswith("line ")]


def keeper_of(served: Served) -> psutil.Process:
    found = [p for p in served.processes() if any("keeper.py" in word for word in p.cmdline())]
    assert len(found) == 1
    return found[0]


def test_server_killed_in_mid_run_loses_nothing(served: Served, repository: Path) -> None:
    run = served.submit(repository, "lines 150 20\ntokens 5 6\nexit 3")
    wait_for(lambda: len(numbered(served, run)) > 20)
    served.kill()
    time.sleep(0.5)
    assert served.processes() != []
    served.start()
    ended = served.ended(run)
    assert (ended["state"], ended["exit_code"], ended["attempt_count"]) == ("failed", 3, 1)
    assert numbered(served, run) == [f"line {n}" for n in range(1, 151)]
    assert ended["tokens"]["output"] == 6
    sequence = [event["seq"] for event in served.events(run)]
    assert sequence == list(range(1, len(sequence) + 1))
    assert [e["type"] for e in served.events(run)].count("session_started") == 1


def test_a_run_that_ends_while_the_server_is_down_is_finished_after_the_start(served: Served, repository: Path) -> None:
    run = served.submit(repository, "lines 20 20\nwrite done.txt yes")
    wait_for(lambda: len(numbered(served, run)) > 3)
    served.kill()
    wait_for(lambda: served.processes() == [])
    served.start()
    ended = served.ended(run)
    assert (ended["state"], ended["attempt_count"]) == ("succeeded", 1)
    assert ended["changes"]["files"] == 1
    assert numbered(served, run) == [f"line {n}" for n in range(1, 21)]


def test_a_server_asked_to_stop_leaves_runs_alone(served: Served, repository: Path) -> None:
    run = served.submit(repository, "lines 100 20")
    wait_for(lambda: len(numbered(served, run)) > 5)
    assert served.terminate() == 0
    assert served.processes() != []
    served.start()
    assert served.ended(run)["state"] == "succeeded"
    assert numbered(served, run) == [f"line {n}" for n in range(1, 101)]


def test_a_killed_keeper_is_reported_lost_and_its_tree_ended(served: Served, repository: Path) -> None:
    run = served.submit(repository, "say up\nfresh hang\nsay again")
    wait_for(lambda: "up" in served.lines(run))
    first = {process.pid for process in served.processes()}
    os.kill(keeper_of(served).pid, signal.SIGKILL)
    lost = wait_for(lambda: served.execution(run)["attempts"][0]["verdict"], 10)
    assert lost == "lost"
    ended = served.ended(run)
    assert (ended["state"], ended["attempt_count"]) == ("succeeded", 2)
    assert not first & {process.pid for process in served.processes()}


def test_server_and_keeper_killed_is_reported_lost_after_the_start(served: Served, repository: Path) -> None:
    run = served.submit(repository, "say up\nfresh hang\nsay again")
    wait_for(lambda: "up" in served.lines(run))
    keeper = keeper_of(served)
    served.kill()
    keeper.kill()
    served.start()
    lost = wait_for(lambda: served.execution(run)["attempts"][0]["verdict"], 10)
    assert lost == "lost"
    assert served.ended(run)["state"] == "succeeded"
    wait_for(lambda: served.processes() == [])


def test_a_cancel_after_a_restart_still_ends_the_tree(served: Served, repository: Path) -> None:
    run = served.submit(repository, "say up\nhang")
    wait_for(lambda: "up" in served.lines(run))
    served.kill()
    served.start()
    assert served.post(f"/api/executions/{run}/cancel")["state"] == "cancelled"
    assert served.processes() == []


def test_200_queued_run_exactly_once_through_a_kill(tmp_path: Path) -> None:
    from tests.e2e.served import make_repository

    served = Served(tmp_path, host_limit="8", project_limit="8")
    try:
        served.start()
        repository = make_repository(tmp_path / "repository", served.env)
        marks = tmp_path / "marks"
        marks.mkdir()
        project = served.post("/api/projects", {"path": str(repository)})["id"]
        runs = []
        with JsonClient(served.url, served.token) as client:
            for number in range(200):
                body = {"project": project, "backend": "rehearsal", "prompt": f"lines 3 5\nwrite n{number}.txt x"}
                runs.append(client.post("/api/executions", body)["id"])
        wait_for(lambda: served.get("/api/executions/counts")["succeeded"] > 30, 60)
        served.kill()
        served.start()
        wait_for(lambda: served.get("/api/executions/counts")["succeeded"] == 200, 180, "200 successes")
        for run in runs:
            execution = served.execution(run)
            assert (execution["attempt_count"], execution["changes"]["files"]) == (1, 1)
            assert numbered(served, run) == ["line 1", "line 2", "line 3"]
    finally:
        served.close()


def test_two_origins_share_fairly(tmp_path: Path) -> None:
    from tests.e2e.served import make_repository

    served = Served(tmp_path, host_limit="1")
    try:
        served.start()
        repository = make_repository(tmp_path / "repository", served.env)
        project = served.post("/api/projects", {"path": str(repository)})["id"]
        tokens = [served.run("token", "--role", "operator", "--name", name).strip() for name in ("many", "few")]
        runs: dict[str, list[str]] = {"many": [], "few": []}
        for name, token, count in (("many", tokens[0], 10), ("few", tokens[1], 3)):
            with JsonClient(served.url, token) as client:
                for _ in range(count):
                    body = {"project": project, "backend": "rehearsal", "prompt": "sleep 0.3"}
                    runs[name].append(client.post("/api/executions", body)["id"])
        for run in runs["many"] + runs["few"]:
            served.ended(run, 120)
        order = sorted(runs["many"] + runs["few"], key=lambda run: str(served.execution(run)["started_at"]))
        places = [order.index(run) for run in runs["few"]]
        assert max(places) <= 7
    finally:
        served.close()
