"""The main job through the whole server, with the rehearsal: what people and scripts rely on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from agented.kit.errors import Conflict, Invalid, NotFound
from agented.kit.http import JsonClient
from tests.e2e.served import Served, wait_for


def test_a_run_edits_a_file_in_its_own_worktree(served: Served, repository: Path) -> None:
    run = served.submit(repository, "say hello\nwrite made.txt Made here\ntokens 12 34")
    ended = served.ended(run)
    assert (ended["state"], ended["exit_code"], ended["reason"]) == ("succeeded", 0, None)
    assert (ended["tokens"]["input"], ended["tokens"]["output"]) == (12, 34)
    assert ended["session_id"]
    assert ended["changes"] == {"files": 1, "additions": 1, "deletions": 0}
    assert "hello" in served.lines(run)
    changes = served.get(f"/api/executions/{run}/changes")
    assert [file["path"] for file in changes["files"]] == ["made.txt"]
    assert not (repository / "made.txt").exists()
    said = [event["text"] for event in served.events(run) if event["type"] == "said"]
    assert "hello" in said


def test_lists_hold_no_log_text_and_page_by_cursor(served: Served, repository: Path) -> None:
    runs = [served.submit(repository, f"say secret-word-{n}") for n in range(3)]
    for run in runs:
        served.ended(run)
    first = served.get("/api/executions", limit=2)
    second = served.get("/api/executions", limit=2, cursor=first["next_cursor"])
    assert [item["id"] for item in first["items"] + second["items"]] == list(reversed(runs))
    assert second["next_cursor"] is None
    assert "prompt" not in first["items"][0]
    assert served.get("/api/executions", state="failed")["items"] == []
    assert len(served.get("/api/executions", state="succeeded", backend="rehearsal")["items"]) == 3


def test_log_pages_search_and_download(served: Served, repository: Path) -> None:
    run = served.submit(repository, "lines 5000\nstderr oops")
    served.ended(run)
    lines = served.lines(run)
    numbered = [line for line in lines if line.startswith("line ")]
    assert numbered == [f"line {n}" for n in range(1, 5001)]
    found = served.get(f"/api/executions/{run}/log/search", q="line 4242")
    assert (found["total"], lines[found["matches"][0] - 1]) == (1, "line 4242")
    page = served.get(f"/api/executions/{run}/log", **{"from": found["matches"][0], "limit": 1})
    assert page["lines"][0]["text"] == "line 4242"
    assert page["lines"][0]["stream"] == "stdout"
    assert page["complete"] is True
    with served.client() as client:
        raw = client._client.get(f"/api/executions/{run}/log.txt")
        part = client._client.get(f"/api/executions/{run}/log.txt", headers={"Range": "bytes=0-9"})
    assert raw.text.splitlines() == lines
    assert (part.status_code, part.content) == (206, raw.content[:10])


def test_cancel_returns_when_the_tree_is_gone(served: Served, repository: Path) -> None:
    run = served.submit(repository, "say up\nignore-term\nhang")
    wait_for(lambda: "up" in served.lines(run))
    cancelled = served.post(f"/api/executions/{run}/cancel", {"reason": "enough"})
    assert (cancelled["state"], cancelled["reason"], cancelled["detail"]) == ("cancelled", "cancelled", "enough")
    assert served.processes() == []
    again = served.post(f"/api/executions/{run}/cancel", {})
    assert again["state"] == "cancelled"


@pytest.mark.parametrize(
    ("prompt", "state", "reason"),
    [
        ("exit 3", "failed", "cli_error"),
        ("limit 3600", "failed", "usage_limit"),
        ("logged-out", "failed", "bad_credentials"),
        ("ask Shall I?", "failed", "needs_input"),
        ("say done\nfork 600", "succeeded", None),
    ],
)
def test_every_end_has_its_reason(
    served: Served, repository: Path, prompt: str, state: str, reason: str | None
) -> None:
    run = served.submit(repository, prompt, on_limit="fail")
    ended = served.ended(run)
    assert (ended["state"], ended["reason"]) == (state, reason)
    assert served.processes() == []


def test_limits_of_time_stop_a_run(served: Served, repository: Path) -> None:
    silent = served.submit(repository, "say up\nhang", silence_s=1)
    long = served.submit(repository, "lines 1000 100", wall_s=1)
    assert (served.ended(silent)["state"], served.ended(silent)["reason"]) == ("timed_out", "silence")
    assert (served.ended(long)["state"], served.ended(long)["reason"]) == ("timed_out", "wall_time")


def test_the_same_key_is_the_same_execution(served: Served, repository: Path) -> None:
    first = served.submit(repository, "say once", key="k")
    assert served.submit(repository, "say once", key="k") == first
    with pytest.raises(Conflict):
        served.submit(repository, "say another", key="k")


def test_wrong_requests_name_the_field(served: Served, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as empty:
        served.submit(repository, " ")
    assert empty.value.field == "prompt"
    with pytest.raises(Invalid) as nowhere:
        served.submit(tmp_path / "nowhere", "say x")
    assert nowhere.value.field in ("path", "project")
    with pytest.raises((Invalid, NotFound)):
        served.submit(repository, "say x", backend="nobody")
    with pytest.raises(Invalid) as permission:
        served.submit(repository, "say x", permission="everything")
    assert permission.value.field == "permission"
    with pytest.raises((Invalid, NotFound)):
        served.submit(repository, "say x", account="nobody")


def test_a_bad_ref_fails_before_anything_runs(served: Served, repository: Path) -> None:
    run = served.submit(repository, "say x", ref="no-such-branch")
    ended = served.ended(run)
    assert (ended["state"], ended["reason"], ended["attempts"]) == ("failed", "workspace_failed", [])


def test_a_missing_and_a_broken_program_are_told(served: Served, repository: Path, tmp_path: Path) -> None:
    home = tmp_path / "cli-home"
    program = tmp_path / "program"
    program.write_text("not a program")
    program.chmod(0o755)
    served.run("accounts", "add", "odd", "--backend", "rehearsal", "--home", str(home), "--program", str(program))
    run = served.submit(repository, "say x", account="odd")
    assert served.ended(run)["reason"] == "not_executable"
    program.unlink()
    run = served.submit(repository, "say x", account="odd")
    assert served.ended(run)["reason"] == "program_missing"


def test_secrets_of_an_account_are_masked_everywhere(served: Served, repository: Path, tmp_path: Path) -> None:
    secret = "very-secret-value-1234"
    served.run(
        "accounts",
        "add",
        "work",
        "--backend",
        "rehearsal",
        "--home",
        str(tmp_path / "h"),
        "--env",
        f"API_KEY={secret}",
        "--env",
        "COLOUR=blue",
    )
    run = served.submit(repository, "env\nsay done", account="work")
    ended = served.ended(run)
    assert ended["account"] == "work"
    lines = served.lines(run)
    assert "API_KEY=[secret]" in lines
    assert "COLOUR=blue" in lines
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert "AGENTED_DATA" not in names
    for path in served.data.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_the_stream_resumes_without_gap_or_duplicate(served: Served, repository: Path) -> None:
    run = served.submit(repository, "lines 400 5")
    numbers: list[int] = []
    last_id: str | None = None
    done = False
    while not done:
        with served.client() as client:
            for count, (event_id, name, data) in enumerate(
                client.events("/api/stream", last_id, topics=f"log:{run}:1"), 1
            ):
                last_id = event_id
                if name == "log":
                    numbers += [line["n"] for line in json.loads(data)["lines"]]
                done = name == "log_end"
                if done or count >= 2:
                    break
    assert numbers == list(range(1, len(served.lines(run)) + 1))


def test_the_command_line_runs_through_the_server(served: Served, repository: Path) -> None:
    good = served.call("run", "say hi there\nwrite a.txt x", "--backend", "rehearsal", "--project", str(repository))
    assert good.returncode == 0, good.stderr
    assert good.stdout.count("hi there") == 1
    bad = served.call("run", "exit 4", "--backend", "rehearsal", "--project", str(repository))
    assert bad.returncode == 1
    listed = json.loads(served.run("executions", "--json"))
    assert [item["state"] for item in listed["items"]] == ["failed", "succeeded"]
    run = listed["items"][1]["id"]
    assert "hi there" in served.run("logs", run)
    assert "hi there" in served.run("logs", "-f", run)


def test_the_command_line_works_without_a_server(served: Served, repository: Path) -> None:
    served.terminate()
    done = served.call("run", "say alone\ntokens 3 4", "--backend", "rehearsal", "--project", str(repository), "--json")
    assert done.returncode == 0, done.stderr
    objects = [json.loads(line) for line in done.stdout.splitlines()]
    last = objects[-1]["execution"]
    assert (last["state"], last["tokens"]["output"]) == ("succeeded", 4)
    assert any(o.get("line", {}).get("text") == "alone" for o in objects)


def test_a_second_server_on_the_same_folder_is_refused(served: Served) -> None:
    second = served.call("serve", "--port", "0")
    assert second.returncode == 5
    assert "Another Agented server" in second.stderr


def test_nobody_gets_in_without_a_token(served: Served) -> None:
    with JsonClient(served.url, "agt_wrong") as client:
        reply = client._client.get("/api/executions")
    assert reply.status_code == 401
    viewer = served.run("token", "--role", "viewer").strip()
    with JsonClient(served.url, viewer) as client:
        assert client.get("/api/executions") == {"items": [], "next_cursor": None}
        assert client._client.post("/api/executions", json={}).status_code == 403


def test_the_sample_repository_gives_a_first_run(served: Served) -> None:
    project = served.post("/api/projects/sample")
    run = served.submit(project["id"], "write first.txt Hello\nsay done")
    assert served.ended(run)["changes"]["files"] == 1
    log = subprocess.run(
        ["git", "log", "--oneline", "--all"], cwd=project["path"], env=served.env, capture_output=True, text=True
    ).stdout
    assert log
