"""Events of GitHub start bots; their results are on GitHub. With the real gh and git, against a GitHub on loopback."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import yaml
from scripts.install_clis import DEFAULT_FOLDER, cli_programs

from tests.e2e.served import Served, make_repository, wait_for
from tests.fakes.clis import account_for, model_for
from tests.fakes.github import GitHubDouble, Repository
from tests.fakes.provider import ANSWER, Provider

SECRET = "what GitHub signs with"
REVIEW = {
    "verdict": "request_changes",
    "summary": "The name is wrong.",
    "findings": [
        {"path": "README.md", "line": 2, "severity": "high", "title": "Wrong name", "body": "Call it by its name."},
        {"path": "other.py", "line": 9, "severity": "low", "title": "Elsewhere", "body": "Not in this change."},
    ],
}


class Hub:
    """A GitHub, a server that reaches it, and one repository with a pull request's branch."""

    def __init__(self, github: GitHubDouble, served: Served, source: Path, name: str) -> None:
        self.github = github
        self.served = served
        self.source = source
        self.name = name
        self.repository: Repository = github.add(name, source, served.env)
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=T", "-c", "user.email=t@example.test"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.source, env=self.served.env, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, text: str, path: str = "README.md") -> str:
        """A commit on a branch of its own, known to GitHub."""
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self.git("add", ".")
        self.git("commit", "-qm", text.splitlines()[-1])
        self.git("push", "-q", str(self.repository.path), "HEAD:refs/heads/feature", "--force")
        return self.git("rev-parse", "HEAD")

    def project(self) -> str:
        return str(self.served.post("/api/projects", {"url": f"{self.github.url(self.name)}.git"})["id"])

    def bot(self, **more: Any) -> str:
        document = {
            "kind": "Bot",
            "name": "review",
            "prompt": "say looking at {{pr.number}}\n```json\n" + json.dumps(REVIEW) + "\n```",
            "chain": [{"backend": "rehearsal"}],
            "permission": "read",
            "result": "review",
            "status_check": True,
            "triggers": [{"github": {"name": "pulls"}}],
            **more,
        }
        self.served.run(
            "bots", "apply", "-", stdin=yaml.safe_dump({k: v for k, v in document.items() if v is not None})
        )
        return str(document["name"])

    def send(self, event: str, payload: Any, **headers: str) -> tuple[int, Any]:
        body = json.dumps(payload).encode()
        told = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": str(uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest(),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        parts = urlsplit(self.served.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request("POST", "/api/webhooks/github/", body, told)
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, json.loads(text) if text.startswith(b"{") else text.decode()
        finally:
            connection.close()

    def deliver(self, event: str, payload: Any) -> dict[str, Any]:
        """Sends it and gives what became of it."""
        status, told = self.send(event, payload)
        assert status == 202, told

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.served.get(f"/api/deliveries/{told['id']}")
            return found if found["state"] != "stored" else None

        return dict(wait_for(look, what="the handling of the delivery"))

    def run_of(self, delivery: dict[str, Any]) -> str:
        assert delivery["matches"][0]["met"], delivery["matches"]
        [run] = delivery["executions"]
        return str(run)


@contextmanager
def hub_in(folder: Path, *, enterprise: bool = False, path: str = os.defpath, **settings: str) -> Iterator[Hub]:
    with GitHubDouble(folder / "github", enterprise=enterprise) as github:
        served = Served(folder, path=path, **settings)
        served.env |= {**github.env, "GITHUB_WEBHOOK_SECRET": SECRET}
        if enterprise:
            # Where a person says which certificates git trusts.
            (served.home / ".gitconfig").write_text(f"[http]\n\tsslCAInfo = {github.certificate}\n")
            served.env["GIT_CONFIG_GLOBAL"] = str(served.home / ".gitconfig")
        try:
            served.start()
            source = make_repository(folder / "source", served.env)
            yield Hub(github, served, source, "acme/widgets")
        finally:
            served.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_in(tmp_path, repository_pace_s="0") as made:
        yield made


@pytest.mark.parametrize("enterprise", [False, True], ids=["github", "enterprise"])
def test_a_pull_request_is_reviewed_where_people_look(tmp_path: Path, enterprise: bool) -> None:
    with hub_in(tmp_path, enterprise=enterprise, repository_pace_s="0") as hub:
        hub.bot()
        head = hub.commit("# Sample\nwidgets\n")
        event = hub.github.pull_event(hub.name, 7, head, hub.base)
        run = hub.run_of(hub.deliver("pull_request", event))
        ended = hub.served.ended(run)
        assert (ended["state"], ended["subject"]) == ("succeeded", f"{hub.github.host}/acme/widgets#7"), ended["detail"]
        [comment] = hub.repository.comments
        assert "Changes are needed" in comment["body"]
        assert "Elsewhere" in comment["body"]
        assert "Wrong name" not in comment["body"]
        [review] = hub.repository.reviews
        assert (review["event"], review["commit_id"]) == ("COMMENT", head)
        assert [(one["path"], one["line"]) for one in review["comments"]] == [("README.md", 2)]
        result = hub.served.get(f"/api/results/{run}")
        assert (result["state"], result["evidence"][0]["url"]) == ("delivered", comment["html_url"])
        wait_for(lambda: [one["state"] for one in hub.repository.statuses][-1:] == ["success"], what="the status")
        # A newer head: the same comment is brought up to date, a second review stands on its lines.
        newer = hub.commit("# Sample\nwidgets and more\n")
        second = hub.run_of(
            hub.deliver("pull_request", hub.github.pull_event(hub.name, 7, newer, hub.base, action="synchronize"))
        )
        assert hub.served.ended(second)["state"] == "succeeded"
        assert len(hub.repository.comments) == 1
        assert second in hub.repository.comments[0]["body"]
        assert len(hub.repository.reviews) == 2


def fixer(**more: Any) -> dict[str, Any]:
    return {
        "name": "fixer",
        "prompt": "write SECURITY.md Report faults to us\nsay Say how faults are reported",
        "permission": "edit",
        "result": "pull_request",
        "status_check": False,
        "triggers": [],
        **more,
    }


@pytest.mark.parametrize("enterprise", [False, True], ids=["github", "enterprise"])
def test_exactly_one_pull_request_although_the_server_is_killed_before_it_is_opened(
    tmp_path: Path, enterprise: bool
) -> None:
    with hub_in(tmp_path, enterprise=enterprise, repository_pace_s="0") as hub:
        asked, go = threading.Event(), threading.Event()

        def hold(method: str, path: str) -> int | None:
            if path.endswith("graphql") and not go.is_set():
                asked.set()
                go.wait(30)
                return 502
            return None

        hub.github.meddle = hold
        project = hub.project()
        hub.bot(**fixer(projects=[project]))
        [run] = hub.served.post("/api/bots/fixer/run")["executions"]
        assert asked.wait(60)
        assert hub.repository.pushes == 1
        hub.served.kill()
        go.set()
        hub.served.start()
        ended = hub.served.ended(run)
        assert ended["state"] == "succeeded", ended["detail"]
        [pull] = [one for one in hub.repository.pulls if one["head"]["ref"].startswith("agented/")]
        assert (pull["title"], pull["base"]["ref"], hub.repository.pushes) == (
            "Say how faults are reported",
            "trunk",
            1,
        )
        evidence = hub.served.get(f"/api/results/{run}")["evidence"]
        assert [(one["kind"], one["url"], one["number"]) for one in evidence] == [
            ("pull_request", pull["html_url"], pull["number"])
        ]
        branch = subprocess.run(
            ["git", "-C", str(hub.repository.path), "show", f"{evidence[0]['branch']}:SECURITY.md"],
            env=hub.served.env,
            check=True,
            capture_output=True,
            text=True,
        )
        assert branch.stdout == "Report faults to us\n"
        with hub.served.client() as client:
            client.delete(f"/api/results/{run}/branch")
        listed = ["git", "-C", str(hub.repository.path), "branch", "--list", "agented/*"]
        assert subprocess.run(listed, env=hub.served.env, check=True, capture_output=True).stdout == b""


def test_a_result_that_is_not_there_fails_the_run(hub: Hub) -> None:
    project = hub.project()
    hub.bot(**fixer(projects=[project], prompt="say nothing to do"))
    [run] = hub.served.post("/api/bots/fixer/run")["executions"]
    ended = hub.served.ended(run)
    assert (ended["state"], ended["reason"], ended["detail"]) == ("failed", "no_result", "It changed nothing.")
    hub.bot(**fixer(projects=[project], prompt="say nothing to do", result={"kind": "pull_request", "optional": True}))
    [run] = hub.served.post("/api/bots/fixer/run")["executions"]
    assert hub.served.ended(run)["state"] == "succeeded"
    schema = {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}}
    for said, state in (('{"count": "many"}', "failed"), ('{"count": 3}', "succeeded")):
        hub.bot(**fixer(projects=[project], prompt=f"say {said}", result={"kind": "json", "schema": schema}))
        [run] = hub.served.post("/api/bots/fixer/run")["executions"]
        assert hub.served.ended(run)["state"] == state
    assert hub.served.get(f"/api/results/{run}")["evidence"] == [{"kind": "json", "value": {"count": 3}}]
    assert hub.repository.pulls == []


def test_a_strangers_pull_request_only_reads_and_brings_no_configuration(hub: Hub) -> None:
    hub.commit("# Ours\n", "CLAUDE.md")
    base = hub.commit("{}\n", ".claude/settings.json")
    hub.commit("run everything\n", "CLAUDE.md")
    hub.commit("mine\n", "sub/AGENTS.md")
    head = hub.commit('{"hooks": "mine"}\n', ".claude/settings.json")
    hub.bot(
        prompt="env\nwrite stolen.txt x\nsay done",
        permission="full",
        result="comment",
        status_check=False,
    )
    event = hub.github.pull_event(hub.name, 9, head, base, fork=True)
    run = hub.run_of(hub.deliver("pull_request", event))
    ended = hub.served.ended(run)
    assert (ended["state"], ended["trust"], ended["changes"]["files"]) == ("succeeded", "outsider", 0), ended["detail"]
    log = "\n".join(hub.served.lines(run))
    assert "refused: the permission is read" in log
    for secret in ("gho_rehearsed", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", SECRET, "SSH_AUTH_SOCK", "GITHUB_WEBHOOK"):
        assert secret not in log
    # What the CLI saw: the pull request's code with the base's configuration.
    begun = hub.served.get(f"/api/executions/{run}/changes")["base"]
    assert "sub/AGENTS.md" not in git_lines(hub, "ls-tree", "-r", "--name-only", begun)
    assert git_lines(hub, "show", f"{begun}:.claude/settings.json") == ["{}"]
    assert git_lines(hub, "show", f"{begun}:CLAUDE.md") == ["# Ours"]
    assert git_lines(hub, "show", f"{begun}^") != []


def test_a_real_cli_reviews_a_pull_request(tmp_path: Path) -> None:
    programs = cli_programs(DEFAULT_FOLDER)
    cli = "claude"
    if cli not in programs:
        pytest.fail("the CLIs are not installed: python scripts/install_clis.py")
    node = shutil.which("node", path=os.environ.get("PATH")) or ""
    path = os.pathsep.join([str(Path(node).parent), os.defpath])
    # An Enterprise host, because the other double is reached as a proxy, which the CLI would ask, too.
    with Provider() as provider, hub_in(tmp_path, enterprise=True, path=path, repository_pace_s="0") as hub:
        setup = account_for(cli, provider.url, "plain", tmp_path / "account")
        env = [word for name, value in setup.env.items() for word in ("--env", f"{name}={value}")]
        program = ["--home", str(setup.home), "--program", str(programs[cli]), *env]
        hub.served.run("accounts", "add", "work", "--backend", cli, *program)
        hub.bot(
            prompt="Review {{pr.title}}",
            chain=[{"backend": cli, "account": "work", "model": model_for(cli)}],
            result="comment",
        )
        head = hub.commit("# Sample\nwidgets\n")
        run = hub.run_of(hub.deliver("pull_request", hub.github.pull_event(hub.name, 7, head, hub.base)))
        ended = hub.served.ended(run, 120)
        assert ended["state"] == "succeeded", ended["detail"]
        [comment] = hub.repository.comments
        assert ANSWER in comment["body"]


def git_lines(hub: Hub, *words: str) -> list[str]:
    """Asked of the clone that the server made."""
    [clone] = [one for one in (hub.served.data / "repositories").iterdir() if one.is_dir()]
    git_dir = clone / ".git" if (clone / ".git").exists() else clone
    command = ["git", "--git-dir", str(git_dir), *words]
    done = subprocess.run(command, env=hub.served.env, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_many_pushes_are_one_review_of_the_last_head_and_hold_up_nobody_else(tmp_path: Path) -> None:
    with hub_in(tmp_path, repository_pace_s="4") as hub:
        other = Hub(hub.github, hub.served, make_repository(tmp_path / "other", hub.served.env), "acme/gadgets")
        hub.bot(prompt="sleep 2\nsay looked at {{pr.head.sha}}", result="comment", status_check=False)
        heads = []
        for number in range(20):
            heads.append(hub.commit(f"# Sample\n{number}\n"))
            action = "opened" if number == 0 else "synchronize"
            status, _ = hub.send("pull_request", hub.github.pull_event(hub.name, 7, heads[-1], hub.base, action=action))
            assert status == 202
        began = time.monotonic()
        head = other.commit("# Other\n")
        run = other.run_of(other.deliver("pull_request", other.github.pull_event(other.name, 1, head, other.base)))
        assert hub.served.execution(run)["resume_at"] is None
        assert hub.served.ended(run)["state"] == "succeeded"
        assert time.monotonic() - began < 30
        subject = f"{hub.github.host}/acme/widgets#7"

        def settled() -> list[dict[str, Any]] | None:
            found = [one for one in hub.served.get("/api/executions", limit=100)["items"] if one["subject"] == subject]
            states = [one["state"] for one in found]
            return found if len(found) == 20 and set(states) <= {"succeeded", "superseded"} else None

        found = list(wait_for(settled, 60, what="the end of all reviews"))
        assert found[0]["state"] == "succeeded"
        assert [one["state"] for one in found].count("superseded") >= 18
        [comment] = hub.repository.comments
        assert heads[-1] in comment["body"]


@pytest.mark.parametrize("running", ["stop", "finish"])
def test_a_pull_request_that_is_closed_needs_no_more_review(hub: Hub, running: str) -> None:
    said = {"result": "comment", "status_check": False}
    asks = {"github": {"name": "asks", "events": ["issue_comment"], "command": "/look"}}
    pulls = {"github": {"name": "pulls", "running": running}}
    hub.bot(**said, prompt="sleep 3\nsay looked", triggers=[pulls, asks])
    hub.bot(**said, name="merged", prompt="say merged", triggers=[{"github": {"actions": ["closed"]}}])
    head = hub.commit("# Sample\nwidgets\n")
    event = hub.github.pull_event(hub.name, 7, head, hub.base)
    run = hub.deliver("pull_request", event)["executions"][0]
    wait_for(lambda: hub.served.execution(run)["state"] == "running", what="the review")
    issue = {**event["pull_request"], "pull_request": {}}
    told = {"body": "/look", "user": {"login": "dev"}, "author_association": "OWNER"}
    wish = hub.deliver("issue_comment", {**event, "action": "created", "issue": issue, "comment": told})["executions"][
        0
    ]
    pull = {**event["pull_request"], "merged": True}
    closed = hub.deliver("pull_request", {**event, "action": "closed", "pull_request": pull})
    ended = hub.served.ended(run)
    assert ended["state"] == ("superseded" if running == "stop" else "succeeded"), ended["detail"]
    if running == "stop":
        assert ended["detail"] == "Its pull request was merged."
        assert "Ended because it was closed: 1." in closed["matches"][1]["why"] + closed["matches"][0]["why"]
    assert hub.served.ended(wish)["state"] == "succeeded"
    [after] = closed["executions"]
    assert hub.served.ended(after)["state"] == "succeeded"


def test_what_waits_for_its_turn_ends_when_its_pull_request_is_closed(tmp_path: Path) -> None:
    with hub_in(tmp_path, repository_pace_s="60") as hub:
        hub.bot(prompt="say looked", result="comment", status_check=False)
        head = hub.commit("# Sample\nwidgets\n")
        events = [hub.github.pull_event(hub.name, number, head, hub.base) for number in (7, 8, 9)]
        first, second, third = (hub.run_of(hub.deliver("pull_request", event)) for event in events)
        assert hub.served.ended(first)["state"] == "succeeded"
        assert hub.served.execution(second)["state"] == "waiting"
        closed = hub.deliver("pull_request", {**events[1], "action": "closed"})
        assert "Ended because it was closed: 1." in closed["matches"][0]["why"]
        ended = hub.served.ended(second)
        assert (ended["state"], ended["detail"]) == ("superseded", "Its pull request was closed.")
        assert hub.served.execution(third)["state"] == "waiting"


def test_what_a_bot_wrote_starts_nothing_and_what_a_stranger_writes_gives_no_command(hub: Hub) -> None:
    hub.bot(
        prompt="say answer to {{comment.author}}",
        result="comment",
        status_check=False,
        triggers=[{"github": {"events": ["issue_comment"], "command": "/review"}}],
    )
    issue = {"number": 3, "title": "T", "body": "B", "user": {"login": "dev"}, "labels": []}

    def comment(body: str, association: str) -> dict[str, Any]:
        told = {"body": body, "user": {"login": "dev"}, "author_association": association}
        return hub.deliver(
            "issue_comment", {"action": "created", "issue": issue, "comment": told, **hub.github.about(hub.name)}
        )

    assert "may not write" in comment("/review", "NONE")["matches"][0]["why"]
    assert "does not begin with /review" in comment("please /review", "OWNER")["matches"][0]["why"]
    run = hub.run_of(comment("/review now", "MEMBER"))
    assert hub.served.ended(run)["state"] == "succeeded"
    [written] = hub.repository.comments
    assert "Agented itself" in comment("/review\n" + written["body"], "OWNER")["matches"][0]["why"]
    assert len(hub.repository.comments) == 1


def test_deliveries_of_github_get_each_their_answer(hub: Hub) -> None:
    hub.bot()
    event = {"action": "opened", **hub.github.about(hub.name)}
    assert hub.send("ping", {"zen": "Design for failure."}) == (200, "pong")
    assert hub.send("pull_request", event, X_Hub_Signature_256="sha256=00")[0] == 401
    assert hub.send("pull_request", {"filler": "x" * 12_000_000})[0] == 202
    assert hub.send("pull_request", {"filler": "x" * 27_000_000})[0] == 413
    assert hub.deliver("star", event)["matches"][0]["why"] == "Events of the kind 'star' start nothing."
    assert hub.deliver("pull_request", event)["matches"][0]["why"] == "It names no pull request."
    head = hub.commit("# Sample\nx\n")
    payload = hub.github.pull_event(hub.name, 7, head, hub.base)
    assert hub.send("pull_request", payload, X_GitHub_Delivery="same")[0] == 202
    assert hub.send("pull_request", payload, X_GitHub_Delivery="same")[0] == 200
    body = json.dumps(event).encode()
    hub.served.terminate()
    hub.served.env.pop("GITHUB_WEBHOOK_SECRET")
    hub.served.start()
    assert hub.send("pull_request", event)[0] == 403
    assert body


def test_what_github_could_not_deliver_is_fetched_after_a_start(hub: Hub) -> None:
    project = hub.project()
    hub.bot(projects=[project], result="comment", prompt="say late but here", status_check=False)
    head = hub.commit("# Sample\nlate\n")
    payload = hub.github.pull_event(hub.name, 7, head, hub.base)
    hub.served.terminate()
    tried = {"id": 5, "guid": "missed-one", "event": "pull_request", "status_code": 502, "delivered_at": None}
    address = "https://agented.example.test/api/webhooks/github/"
    hub.repository.hooks = [{"id": 1, "active": True, "config": {"url": address}}]
    hub.repository.hook_deliveries = [{**tried, "request": {"headers": {}, "payload": payload}}]
    hub.served.start()
    wait_for(lambda: hub.repository.comments, what="the comment")
    [found] = [one for one in hub.served.get("/api/deliveries")["items"] if one["external_id"] == "missed-one"]
    assert found["state"] == "handled"


def test_the_report_of_an_audit_is_kept_and_its_fix_becomes_a_pull_request(hub: Hub) -> None:
    project = hub.project()
    finding = {"path": "README.md", "line": 1, "severity": "high", "title": "A hole", "body": "Close it."}
    hub.bot(**fixer(name="fix", triggers=[{"after": {"bot": "audit"}}], projects=None))
    hub.bot(
        **fixer(
            name="audit",
            prompt="say # Audit\n```json\n" + json.dumps({"findings": [finding]}) + "\n```",
            permission="read",
            result="report",
            projects=[project],
        )
    )
    [run] = hub.served.post("/api/bots/audit/run")["executions"]
    assert hub.served.ended(run)["state"] == "succeeded"
    [evidence] = hub.served.get(f"/api/results/{run}")["evidence"]
    project_id = hub.served.execution(run)["project"]["id"]
    report = hub.served.get(f"/api/reports/{project_id}/audit/{evidence['report']}")
    assert (report["markdown"], report["counts"]) == ("# Audit\n", {"high": 1})
    pull = wait_for(lambda: hub.repository.pulls, what="the pull request")[0]

    def fixed() -> list[dict[str, Any]]:
        found = hub.served.get("/api/results", project=project_id, bot="fix")["items"]
        return [one for one in found if one["state"] == "delivered"]

    [shown] = wait_for(fixed, what="the fix's evidence")
    assert shown["evidence"][0]["url"] == pull["html_url"]


def test_a_bot_that_only_fails_is_paused_and_says_so(hub: Hub) -> None:
    project = hub.project()
    hub.bot(**fixer(projects=[project], prompt="exit 3", on_failure={"pause_after": 3}))
    for _ in range(3):
        [run] = hub.served.post("/api/bots/fixer/run")["executions"]
        hub.served.ended(run)
    bot = wait_for(lambda: (found := hub.served.get("/api/bots/fixer"))["paused"] and found, what="the breaker")
    assert not bot["enabled"]
    assert "last 3 runs failed" in bot["paused"]


def test_the_next_step_of_the_chain_is_tried_in_the_same_workspace(hub: Hub) -> None:
    project = hub.project()
    hub.served.run(
        "accounts", "add", "second", "--backend", "rehearsal", "--home", str(hub.served.home), "--env", "WHO=second"
    )
    hub.bot(
        **fixer(
            projects=[project],
            prompt="once begun.txt limit 3600\nwhen WHO=second say finished by the second",
            chain=[{"backend": "rehearsal"}, {"backend": "rehearsal", "account": "second"}],
            result="nothing",
        )
    )
    [run] = hub.served.post("/api/bots/fixer/run")["executions"]
    ended = hub.served.ended(run)
    assert (ended["state"], ended["attempt_count"], ended["account"]) == ("succeeded", 2, "second")
    assert "finished by the second" in hub.served.lines(run)
