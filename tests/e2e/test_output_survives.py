"""Whatever a CLI prints or does, the run ends, its output is whole, and it ends for the right reason."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.e2e.served import Served, wait_for


def test_a_million_lines_are_there_once_and_in_order(served: Served, repository: Path) -> None:
    run = served.submit(repository, "lines 1000000")
    ended = served.ended(run, 120)
    assert ended["state"] == "succeeded"
    with served.client() as client:
        raw = client._client.get(f"/api/executions/{run}/log.txt").text.splitlines()
    assert [line for line in raw if line.startswith("line ")] == [f"line {n}" for n in range(1, 1_000_001)]
    assert ended["lines"] == len(raw)
    at = raw.index("line 765432") + 1
    page = served.get(f"/api/executions/{run}/log", **{"from": at, "limit": 2})
    assert [line["text"] for line in page["lines"]] == ["line 765432", "line 765433"]


def test_a_page_of_a_growing_log_tells_no_more_lines_than_it_holds(served: Served, repository: Path) -> None:
    """Who goes on after `total` would miss those that came between the reading of the lines and the count."""
    run = served.submit(repository, "lines 3000 1")
    after, grew = 0, 0
    while not (page := served.get(f"/api/executions/{run}/log", **{"from": after + 1, "limit": 2000}))["complete"]:
        numbers = [line["n"] for line in page["lines"]]
        assert numbers == list(range(after + 1, after + 1 + len(numbers)))
        if numbers and len(numbers) < 2000:
            grew += 1
            assert page["total"] == numbers[-1]
        # The last line may be without its end yet: it is read again.
        after = max(after, after + len(numbers) - 1)
    assert grew > 20


def test_a_line_of_100_megabytes_is_kept_whole_and_shown_cut(served: Served, repository: Path) -> None:
    run = served.submit(repository, "longline 100\nsay after it")
    ended = served.ended(run, 120)
    assert ended["state"] == "succeeded"
    assert ended["bytes"] > 100_000_000
    lines = served.get(f"/api/executions/{run}/log", limit=100)["lines"]
    giant = next(line for line in lines if line.get("truncated"))
    assert giant["bytes"] >= 99_999_999
    assert len(giant["text"]) < 1024 * 1024
    assert "after it" in [line["text"] for line in lines]


def test_bytes_of_any_kind_are_shown_and_kept(served: Served, repository: Path) -> None:
    run = served.submit(repository, "bytes 41ff00fe420a\nbytes 1b5b33316d7265640a\nsay done")
    assert served.ended(run)["state"] == "succeeded"
    texts = served.lines(run)
    assert "A\ufffd\0\ufffdB" in texts
    assert "\x1b[31mred" in texts
    with served.client() as client:
        assert b"A\xff\x00\xfeB\n" in client._client.get(f"/api/executions/{run}/log.txt").content


def test_a_flood_ends_and_is_counted(served: Served, repository: Path) -> None:
    ended = served.ended(served.submit(repository, "flood 50\nsay done"), 120)
    assert ended["state"] == "succeeded"
    assert ended["bytes"] >= 50_000_000


def test_a_daemon_that_left_the_group_does_not_keep_the_run(served: Served, repository: Path) -> None:
    run = served.submit(repository, "fork 300\nsay done")
    assert served.ended(run, 30)["state"] == "succeeded"
    assert served.processes() == []


def test_a_child_that_ignores_term_can_be_cancelled(served: Served, repository: Path) -> None:
    run = served.submit(repository, "ignore-term\nsay deaf\nsleep 300")
    wait_for(lambda: "deaf" in served.lines(run), what="its first word")
    served.post(f"/api/executions/{run}/cancel", {})
    assert served.ended(run, 30)["state"] == "cancelled"
    assert served.processes() == []


def test_a_question_ends_the_run_and_is_never_a_yes(served: Served, repository: Path) -> None:
    ended = served.ended(served.submit(repository, "ask Shall I delete it?\nwrite deleted.txt yes"), 30)
    assert (ended["state"], ended["reason"]) == ("failed", "needs_input")
    assert "Shall I delete it?" in (ended["detail"] or "")
    assert not (ended["changes"] or {}).get("files")


def test_a_workspace_deleted_in_mid_run_ends_with_a_verdict(served: Served, repository: Path) -> None:
    run = served.submit(repository, "write a.txt one\nsay written\nsleep 2\nwrite b.txt two")
    wait_for(lambda: "written" in served.lines(run), what="its first word")
    shutil.rmtree(served.data / "workspaces" / run)
    ended = served.ended(run, 30)
    assert ended["state"] in ("failed", "succeeded")
    assert "written" in served.lines(run)
    assert served.ended(served.submit(repository, "say next"), 30)["state"] == "succeeded"


def test_a_run_that_may_only_read_writes_nothing(served: Served, repository: Path) -> None:
    ended = served.ended(served.submit(repository, "write a.txt one", permission="read"), 30)
    assert ended["changes"]["files"] == 0


def test_a_full_project_lets_the_next_ones_wait_and_go_on(tmp_path: Path) -> None:
    from tests.e2e.served import make_repository

    served = Served(tmp_path, project_limit="1")
    try:
        served.start()
        repository = make_repository(tmp_path / "repository", served.env)
        first = served.submit(repository, "sleep 300")
        wait_for(lambda: served.execution(first)["state"] == "running", what="the first to run")
        second = served.submit(repository, "say second")
        waiting = wait_for(
            lambda: (now := served.execution(second))["state"] == "waiting" and now, what="the second to wait"
        )
        assert waiting["reason"] == "project_full"
        served.post(f"/api/executions/{first}/cancel", {})
        assert served.ended(first)["state"] == "cancelled"
        assert served.ended(second)["state"] == "succeeded"
    finally:
        served.close()


def test_a_run_over_its_output_limit_is_stopped(tmp_path: Path) -> None:
    from tests.e2e.served import make_repository

    served = Served(tmp_path, output_limit_mb="1")
    try:
        served.start()
        repository = make_repository(tmp_path / "repository", served.env)
        ended = served.ended(served.submit(repository, "flood 3\nsleep 60"), 60)
        assert (ended["state"], ended["reason"]) == ("failed", "output_limit")
    finally:
        served.close()
